"""Tables and figures of the paper, made with tiny budgets: the machinery, not the numbers."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.evaluation.evaluate import evaluate
from IrisSegmentLib.evaluation.reproduce.figure5 import Embedded, neighbors
from IrisSegmentLib.evaluation.reproduce.page import page
from IrisSegmentLib.evaluation.reproduce.request import Facts, Request, reproduce


def drawn(path):
    """A picture was drawn: a PNG of some size that is not blank."""
    pixels = np.asarray(Image.open(path).convert("L"))
    return min(pixels.shape) > 300 and 0.005 < (pixels < 200).mean() < 0.5


def numbers(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


@pytest.fixture
def request_for(samples, tiny_network, tmp_path):
    def make(**words):
        return Request(**{"data": samples, "output": tmp_path, "network": tiny_network, "device": "cpu", **words})

    return make


def test_facts_say_what_a_picture_hangs_on():
    lines = Facts("ab" * 32, "test", 12, 3, budget="each 0.1 h", short="tiny").lines()
    assert lines == ["Network abababababab; test split, 12 cases; references drawn by seed 3.", "each 0.1 h", "tiny"]


def test_table1_without_training_is_what_evaluate_measures(request_for, samples, tmp_path, capsys):
    request = request_for(data=samples / "hippocampus", limit=2, hours=0, network=None)
    reproduce("table1", request)
    found = numbers(tmp_path, "table1")
    report = evaluate(request.engine, request.sets[0], limit=2)
    ours = found["numbers"]["hippocampus"]
    assert ours["one reference"] == report["metrics"]
    assert set(ours) == {"mask copied", "one reference", "up to three"}
    assert ours["mask copied"]["dice"]["mean"] == report["copy_dice"]
    assert found["facts"]["network"] == request.engine.network.hash and found["facts"]["cases"] == 2
    assert "No U-Net" in found["facts"]["budget"] and drawn(tmp_path / "table1.png")
    assert f"{100 * report['mean_dice']:.1f}" in capsys.readouterr().out
    kept = list((tmp_path / "measured").glob("*.jsonl"))
    before = [p.read_text() for p in kept]
    reproduce("table1", request)  # nothing is measured twice
    assert [p.read_text() for p in kept] == before and numbers(tmp_path, "table1") == found


def test_figure5_is_a_picture_and_a_page_of_every_class_of_every_case(request_for, tmp_path, capsys):
    reproduce("figure5", request_for())
    found = numbers(tmp_path, "figure5")["numbers"]
    assert len(found["points"]) == 4 * 2 + 4 * 1 and drawn(tmp_path / "figure5.png")
    html = (tmp_path / "figure5.html").read_text()
    for word in ("http:", "https:", "src=", "@import", "@DATA", "@NOTES"):
        assert word not in html.replace("http://www.w3.org/2000/svg", "")
    data = json.loads(re.search(r"= (\{.*\});", html).group(1))
    assert data["points"] == found["points"] and set(data["colors"]) == {"hippocampus", "sarcoma_pet"}
    assert "anterior hippocampus" in capsys.readouterr().out


def test_a_page_is_whole_whatever_things_are_called():
    html = page("a <b> & c", [("</script><i>", "x", "case", "test", 0.0, 1.0)], {"</script><i>": "#000000"}, ["<u>"])

    class Tags(HTMLParser):
        found: list = []  # noqa: RUF012

        def handle_starttag(self, tag, attrs):
            self.found.append(tag)

    Tags().feed(html)
    assert "i" not in Tags.found and "u" not in Tags.found and Tags.found.count("script") == 1


def test_neighbors_are_counted_among_embeddings_and_never_within_a_patient():
    a, b = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)
    found = [
        Embedded("ct", "CT", "p1", "train", "tumor", a),
        Embedded("ct", "CT", "p2", "train", "bone", b),
        Embedded("mr", "MR", "p3", "train", "tumor", a),
        Embedded("mr", "MR", "p3", "test", "tumor", a),  # the scan of p3 in training does not count
        Embedded("ct", "CT", "p4", "test", "bone", a),
    ]
    rows = {tuple(r[:2]): r[2:] for r in neighbors(found, np.stack([e.vector for e in found]))}
    assert rows[("mr", "tumor")] == ["1", "1", "0", "100", "67"]
    assert rows[("ct", "bone")] == ["1", "1", "0", "0", "33"]
    assert rows[("ct", "tumor")] == ["1", "0", "", "", "67"]


def test_too_little_for_a_map_is_said(request_for, samples):
    request = request_for(data=samples / "sarcoma_pet", limit=1)
    with pytest.raises(IrisError, match="map of 2 task embeddings"):
        reproduce("figure5", request)

"""Tables and figures of the paper, made with tiny budgets: the machinery, not the numbers."""

import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.evaluation.dataset import LabelledSet
from IrisSegmentLib.evaluation.evaluate import evaluate
from IrisSegmentLib.evaluation.metrics import dice
from IrisSegmentLib.evaluation.reproduce import figure4, supervision
from IrisSegmentLib.evaluation.reproduce.anatomies import anatomies
from IrisSegmentLib.evaluation.reproduce.figure5 import Embedded, neighbors
from IrisSegmentLib.evaluation.reproduce.figure6 import growing
from IrisSegmentLib.evaluation.reproduce.page import page
from IrisSegmentLib.evaluation.reproduce.request import Facts, Request, reproduce
from IrisSegmentLib.evaluation.reproduce.supervised import Supervised, unet
from IrisSegmentLib.evaluation.reproduce.supervision import batch
from IrisSegmentLib.evaluation.reproduce.table4 import SWITCHES, small_classes
from IrisSegmentLib.training.cases import read_cases


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


TRAINING = {"hours": 0.00005, "configuration": "tiny"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One output folder for all that train: they share what is the same."""
    return tmp_path_factory.mktemp("reproduced")


def test_table1_with_a_supervised_network(request_for, ball_sets, runs):
    request = request_for(data=ball_sets / "sarcoma_pet", output=runs, limit=1, **TRAINING)
    reproduce("table1", request)
    first = numbers(runs, "table1")
    assert set(first["numbers"]["sarcoma_pet"]["supervised U-Net"]) == {"dice", "surface_dice", "hd95_mm"}
    assert "5e-05 h for each set" in first["facts"]["budget"] and drawn(runs / "table1.png")
    weights = next((runs / "runs").glob("unet*"))
    before = weights.stat().st_mtime_ns
    reproduce("table1", request)  # the network is not trained again, and comes back from its file as it was
    assert weights.stat().st_mtime_ns == before and numbers(runs, "table1") == first
    for kept in (runs / "measured").glob("unet*"):
        kept.unlink()
    reproduce("table1", request)
    assert numbers(runs, "table1") == first


def test_the_supervised_network_learns_only_from_what_was_drawn(ball_sets):
    labelled = LabelledSet.read(ball_sets / "sarcoma_pet")
    labelled = replace(labelled, classes={**labelled.classes, 2: "never drawn"})
    cases = read_cases(ball_sets, "train", ["sarcoma_pet"])["sarcoma_pet"]
    images, masks, drawn_classes = batch(cases, [1, 2], np.random.default_rng(0))
    assert images.shape == (4, 1, *masks.shape[2:]) and masks.shape[1] == 2 and drawn_classes == [[0]] * 4
    inside = [float((i[0] * m[0]).sum() / m[0].sum() - i.mean()) for i, m in zip(images, masks, strict=True)]
    assert min(inside) > 0.5, "the mask lies on the bright ball through every turn and bend"
    assert sum(p.numel() for p in unet(3).parameters()) == pytest.approx(7.06e6, rel=0.03), "as many as `small`"


@pytest.mark.parametrize("how", [KeyboardInterrupt, SystemExit], ids=["by Ctrl-C", "by force"])
def test_the_supervised_network_goes_on_where_it_was_stopped(ball_sets, tmp_path, monkeypatch, how):
    if how is SystemExit:  # what it has then is of its latest checkpoint
        monkeypatch.setattr(supervision, "CHECKPOINT_SECONDS", 0)
    labelled, path = LabelledSet.read(ball_sets / "sarcoma_pet"), tmp_path / "unet.safetensors"
    shown, hours = [], 8 / 3600

    def show(share, words):
        shown.append(share)
        if len(shown) == 3:
            raise how

    with pytest.raises(how):
        Supervised(labelled, path, hours, 0, show)
    assert [p.name for p in tmp_path.iterdir()] == ["unet.checkpoint.pt"]
    plan = supervision.Plan(labelled.name, 2 * hours, 0)
    other = supervision.Supervision(unet(1), labelled, plan, tmp_path / "unet.checkpoint.pt")
    assert other.steps == 0, "it was not asked for that"
    net = Supervised(labelled, path, hours, 0, lambda share, words: shown.append(share))
    assert shown[2] > 0 and shown[3] == pytest.approx(shown[2]) and net.steps == len(shown) - 2
    assert [p.name for p in tmp_path.iterdir()] == ["unet.safetensors"]


def test_the_supervised_network_looks_closer_as_the_engine_does(samples, tmp_path, monkeypatch):
    labelled = LabelledSet.read(samples / "hippocampus")
    net = Supervised(labelled, tmp_path / "unet.safetensors", 1e-6, 0, lambda share, words: None)
    image, truth = labelled.image(labelled.cases["test"][0]), labelled.label(labelled.cases["test"][0])
    looks = []

    def knows(window, image, intensity):
        looks.append(window)
        return 10 * (window.sample_masks(truth) - 0.5)

    monkeypatch.setattr(net, "_look", knows)
    labels = net.segment(image)
    assert min(dice(labels == n + 1, truth.mask(n)) for n in range(2)) > 0.97
    _, closer, *alone = [w.extent for w in looks]
    assert len(alone) == 2 and max(closer) > max(map(max, alone))
    monkeypatch.setattr(net, "_look", lambda *words: -knows(*words).abs() - 1)
    assert not net.segment(image).any() and len(looks) == 5, "where nothing is found nothing is looked at closer"


def test_table2_leaves_an_anatomy_out_and_tests_on_it(request_for, ball_sets, runs):
    reproduce("table2", request_for(data=ball_sets, output=runs, limit=1, **TRAINING))
    found = numbers(runs, "table2")
    assert set(found["numbers"]) == {"hippocampus", "left_atrium", "sarcoma_pet"} and drawn(runs / "table2.png")
    trained_on = {}  # by hash: two networks of one step are the same where that step met the same scans
    for done in (runs / "runs").glob("*/done.json"):
        words = json.loads(done.read_text())
        hashed = hashlib.sha256((done.parent / "average.safetensors").read_bytes()).hexdigest()
        trained_on.setdefault(hashed, []).append(words["asked"]["sets"])
    for name, row in found["numbers"].items():
        rest = sorted({"hippocampus", "left_atrium", "sarcoma_pet"} - {name})
        assert name in row["left out"] and rest in trained_on[row["networks"]["never seen"]]
        assert sorted([*rest, name]) in trained_on[row["networks"]["seen in training"]]
        assert row["networks"]["never seen"][:8] in found["facts"]["network"]
    assert "Equal budgets by the clock: 'tiny' trained 5e-05 h each" in found["facts"]["budget"]


def test_table4_and_figure6_train_each_variant_once(request_for, ball_sets, runs, capsys):
    request = request_for(data=ball_sets, output=runs, limit=1, **TRAINING)
    reproduce("table4", request)
    table4 = numbers(runs, "table4")
    assert list(table4["numbers"]) == list(SWITCHES) and drawn(runs / "table4.png")
    assert len({row["network"] for row in table4["numbers"].values()}) == 5
    assert "Unseen: heart" in table4["facts"]["short"] and table4["facts"]["cases"] == 3
    for row in table4["numbers"].values():
        assert set(row["dice"]) == {"seen", "seen, below 10 mL", "unseen"}
    capsys.readouterr()
    reproduce("figure6", request)
    figure6, said = numbers(runs, "figure6"), capsys.readouterr().out
    assert [n for n, _ in figure6["numbers"]["sets"]] == [1, 2] and drawn(runs / "figure6.png")
    assert table4["numbers"]["all parts"]["network"] in figure6["numbers"]["networks"], "ten tokens are what it has"
    assert said.count("training '") == 4, "one set; 1, 5 and 20 tokens; the rest is there"
    assert [n for n, _ in figure6["numbers"]["tokens"]["unseen"]] == [1, 5, 10, 20]


def test_what_needs_training_is_refused_without_time_for_it(request_for, ball_sets, samples):
    with pytest.raises(IrisError, match="--hours"):
        reproduce("table2", request_for(data=ball_sets, hours=0))
    for name in ("table2", "table4", "figure6"):
        with pytest.raises(IrisError, match="two anatomies"):
            reproduce(name, request_for(data=samples / "hippocampus"))
    with pytest.raises(IrisError, match="no network 'huge'"):
        reproduce("table2", request_for(data=ball_sets, configuration="huge"))


def test_sets_grow_and_those_without_images_come_last():
    nested = growing(["a", "b", "c", "d", "labels"], ["a", "b", "c", "d"], seed=1)
    assert [len(n) for n in nested] == [1, 2, 4, 5] and nested[-1][-1] == "labels"
    assert all(small == nested[-1][: len(small)] for small in nested)


def test_the_anatomies_of_known_sets(ball_sets, request_for):
    found = {a.name: a for a in anatomies(request_for(data=ball_sets))}
    assert set(found) == {"heart", "hippocampus", "tumor"}
    assert "brain_labels" in found["hippocampus"].left_out, "label maps of whole heads hold the hippocampus"
    assert "cardiac_mr" in found["heart"].left_out and [s.name for s in found["heart"].tested] == ["left_atrium"]


def test_small_structures_are_known_by_their_manual_volume(ball_sets):
    small = {n for n in ("hippocampus", "left_atrium", "sarcoma_pet")
             if small_classes(LabelledSet.read(ball_sets / n), [f"{n}_4"])}  # fmt: skip
    assert small == {"hippocampus", "sarcoma_pet"}, "balls of 0.9, 48 and 4.8 mL"


def test_table3_reads_what_the_benchmark_wrote(request_for, tmp_path, capsys):
    request = request_for()
    with pytest.raises(IrisError, match="irissegment benchmark"):
        reproduce("table3", request)
    words = {
        "encode_s": 0.1, "segment_s": 0.3, "classes_15_over_1": 1.2, "table3_s": 3.4, "peak_memory_mb": 2100,
        "gflop": 82, "conv_peak_share": 0.4, "precision": "bfloat16", "device": "2 cores",
    }  # fmt: skip
    (tmp_path / "benchmark.json").write_text(json.dumps({**words, "more": 1}))
    reproduce("table3", request)
    said = capsys.readouterr().out
    assert re.search(r"Iris tiny \(here\)\s+3\.4\s+2\.1", said) and "659.4" in said and drawn(tmp_path / "table3.png")
    del words["gflop"]
    (tmp_path / "benchmark.json").write_text(json.dumps(words))
    with pytest.raises(IrisError, match="lacks gflop"):
        reproduce("table3", request)


def test_all_makes_what_can_be_made_and_says_what_cannot(request_for, ball_sets, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(figure4, "STRATEGIES", ("ensemble", "object-retrieval"))  # the others take minutes
    reproduce("all", request_for(data=ball_sets / "sarcoma_pet", hours=0, limit=2))
    said = capsys.readouterr().out
    for name in ("table2", "table3", "table4", "figure6"):
        assert f"{name} was left out: " in said
    pictures = {p.name for p in tmp_path.glob("*.png")}
    assert pictures == {"table1.png", "figure4.png", "figure5.png"} and drawn(tmp_path / "figure4.png")
    spreads = numbers(tmp_path, "figure4")["numbers"]["strategies"]["ensemble"]
    assert [len(s["draws"]) for s in spreads] == [10, 10, 10, 10, 1]
    assert spreads[0]["deviation"] == pytest.approx(np.std(spreads[0]["draws"])) and len(set(spreads[0]["draws"])) > 1

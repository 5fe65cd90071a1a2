"""Pools, banks and tuning on the command line, on real scans with the bundled network; in this process, for speed."""

import os
import shutil

import pytest

from IrisSegmentLib.cli import main
from IrisSegmentLib.context.pool import Pool
from IrisSegmentLib.evaluation.metrics import dice
from IrisSegmentLib.imaging.files import read_segmentation


@pytest.fixture(scope="module")
def folder(samples):
    return samples / "hippocampus"


@pytest.fixture(scope="module")
def preset(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("presets") / "h.iris"
    assert iris("encode", *pair(folder, "023"), "--output", path) == 0
    return path


@pytest.fixture(scope="module")
def pool(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("pools") / "h.irispool"
    assert iris("pool", "--data", folder, "--split", "test", "--output", path) == 0
    return path


def iris(*arguments):
    return main([*map(str, arguments), *([] if "--help" in arguments else ["--device", "cpu"])])


def pair(folder, number):
    names = folder / f"hippocampus_{number}_image.nii.gz", folder / f"hippocampus_{number}_label.nii.gz"
    return "--image", names[0], "--segmentation", names[1]


def good(found, folder, number):
    found, truth = read_segmentation(found), read_segmentation(folder / f"hippocampus_{number}_label.nii.gz")
    return min(dice(found.mask(n), truth.mask(n)) for n in range(2)) > 0.5


def test_a_pool_grows_by_what_is_new_and_segments(pool, folder, tmp_path, capsys):
    path = shutil.copy(pool, tmp_path / "h.irispool")
    assert iris("pool", "--data", folder, "--split", "test", "--output", path) == 0
    assert "3 references, 0 of them new; anterior hippocampus" in capsys.readouterr().out
    (tmp_path / "pairs").mkdir()
    for ending in ("image", "label"):
        shutil.copy(folder / f"hippocampus_023_{ending}.nii.gz", tmp_path / "pairs" / f"a_{ending}.nii.gz")
    assert iris("pool", "--data", tmp_path / "pairs", "--output", path) == 0
    assert "4 references, 1 of them new" in capsys.readouterr().out and "Segment_1" in Pool.load(path).segments
    output = tmp_path / "o.nii.gz"
    assert iris(
        "segment", "--pool", path, "--strategy", "object-retrieval", "--references", "2", *pair(folder, "023")[:2],
        "--segment", "anterior hippocampus", "posterior hippocampus", "--output", output,
    ) == 0  # fmt: skip
    assert good(output, folder, "023")


def test_a_pool_that_is_stopped_keeps_what_it_has_and_goes_on(folder, tmp_path, monkeypatch, capsys):
    path, shown = tmp_path / "h.irispool", []

    def interrupted(fraction, text):
        shown.append(text)
        if len(shown) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("IrisSegmentLib.commands.pool.Bar", lambda whole: interrupted)
        assert iris("pool", "--data", folder, "--split", "test", "--output", path) == 130
    assert len(Pool.load(path)) == 2 and os.listdir(tmp_path) == ["h.irispool"]
    assert iris("pool", "--data", folder, "--split", "test", "--output", path) == 0
    assert "3 references, 1 of them new" in capsys.readouterr().out


def test_a_bank_segments_with_no_reference(folder, tmp_path, capsys):
    bank, output = tmp_path / "b.irisbank", tmp_path / "o.nii.gz"
    assert iris("bank", "--data", folder, "--split", "test", "--output", bank) == 0
    assert "hippocampus: anterior hippocampus" in capsys.readouterr().out
    assert iris("segment", "--bank", bank, *pair(folder, "023")[:2], "--output", output) == 0
    assert good(output, folder, "023")


def test_a_preset_is_tuned(tiny_network, folder, tmp_path, capsys):
    """With a network of random weights, for speed: what tuning is worth is tested with the engine."""
    network, preset = ["--network", tiny_network], tmp_path / "h.iris"
    assert iris("encode", *pair(folder, "023"), "--output", preset, *network) == 0
    images, labels = zip(*(pair(folder, n)[1::2] for n in ("035", "038")), strict=True)
    arguments = "--image", *images, "--segmentation", *labels, "--steps", "10", "--output", tmp_path / "t.iris"
    assert iris("tune", "--preset", preset, *arguments, *network) == 0
    words = capsys.readouterr().out
    assert "tuned on 2 scans" in words or "left as it was" in words
    output = tmp_path / "o.nii.gz"
    arguments = *pair(folder, "048")[:2], "--output", output
    assert iris("segment", "--preset", tmp_path / "t.iris", *arguments, *network) == 0 and output.exists()


def test_bad_input_is_one_sentence_and_changes_nothing(preset, pool, folder, tmp_path, capsys):
    image, label = pair(folder, "023")[1::2]
    out = ["--image", image, "--output", tmp_path / "o.nii.gz"]
    tune = ["tune", "--preset", preset, "--image", image, "--output", tmp_path / "t.iris"]
    for arguments, words in [
        (["segment", "--preset", preset, "--strategy", "image-retrieval", *out], "does not work with a preset"),
        (["segment", "--preset", preset, "--strategy", "tuning", *out], "has not been tuned"),
        (["segment", "--pool", preset, *out], "not a pool"),
        (["segment", "--pool", pool, "--references", "9", *out], "ask for 1 to 3"),
        (["segment", "--pool", pool, "--segment", "heart", *out], "no reference for 'heart'"),
        (["segment", "--bank", preset, *out], "not a memory bank"),
        (["pool", "--data", tmp_path, "--output", tmp_path / "p.irispool"], "no scan with a segmentation"),
        (["pool", "--data", folder, "--output", preset], "not a pool"),
        (["bank", "--data", tmp_path, "--output", tmp_path / "b.irisbank"], "No labelled set"),
        ([*tune, "--segmentation", label, label], "one for each"),
        ([*tune, "--segmentation", label], "at least two"),
        ([*tune, "--segmentation", label, "--steps", "3"], "10 steps or more"),
    ]:
        assert iris(*arguments) == 2, arguments
        sentence = capsys.readouterr().err
        assert words in sentence and len(sentence.strip().splitlines()) == 1, sentence
    assert os.listdir(tmp_path) == []

"""The command line as a person runs it: in a process of its own, on real scans, with the bundled network."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from IrisSegmentLib.context.preset import Preset
from IrisSegmentLib.evaluation.metrics import dice
from IrisSegmentLib.imaging.files import read_segmentation, read_volume, write_segmentation
from IrisSegmentLib.imaging.volume import Segment, Segmentation, same_grid


def iris(*arguments, **options):
    command = [sys.executable, "-m", "IrisSegmentLib", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


@pytest.fixture(scope="module")
def folder(samples):
    return samples / "hippocampus"


@pytest.fixture(scope="module")
def preset(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("presets") / "hippocampus.iris"
    done = iris(
        "encode", "--image", folder / "hippocampus_023_image.nii.gz",
        "--segmentation", folder / "hippocampus_023_label.nii.gz", "--output", path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return path


def test_encode_then_segment_one_and_several(preset, folder, tmp_path):
    images = [folder / f"hippocampus_{n}_image.nii.gz" for n in ("035", "038")]
    one = iris("segment", "--preset", preset, "--image", images[0], "--output", tmp_path / "one.nii.gz")
    assert one.returncode == 0, one.stderr
    several = iris("segment", "--preset", preset, "--image", *images, "--output", tmp_path / "out")
    assert several.returncode == 0, several.stderr
    assert sorted(os.listdir(tmp_path / "out")) == [f"hippocampus_{n}_image.seg.nrrd" for n in ("035", "038")]
    found = read_segmentation(tmp_path / "out" / "hippocampus_035_image.seg.nrrd")
    assert same_grid(found, read_volume(images[0])) and "mL" in several.stdout
    truth = read_segmentation(folder / "hippocampus_035_label.nii.gz")
    assert min(dice(found.mask(n), truth.mask(n)) for n in range(2)) > 0.5
    plain = read_segmentation(tmp_path / "one.nii.gz")
    assert (plain.layers == found.layers).all()


def test_encode_says_when_the_network_does_not_follow_the_mark(folder, preset, tmp_path):
    image = read_volume(folder / "hippocampus_023_image.nii.gz")
    speckle = (np.random.default_rng(0).random(image.shape) < 0.02).astype(np.uint8)
    segments = (Segment("speckle", (1.0, 0.0, 0.0), label=1),)
    write_segmentation(Segmentation(speckle[None], image.affine, segments), tmp_path / "noise.seg.nrrd")
    done = iris(
        "encode", "--image", folder / "hippocampus_023_image.nii.gz", "--segmentation", tmp_path / "noise.seg.nrrd",
        "--output", tmp_path / "noise.iris",
    )  # fmt: skip
    assert done.returncode == 0 and "only part of 'speckle'" in done.stdout, done.stderr
    assert max(Preset.load(tmp_path / "noise.iris").found_again()) < 0.3 < min(Preset.load(preset).found_again())


def test_evaluate_writes_its_report(folder, tmp_path):
    done = iris(
        "evaluate", "--data", folder, "--split", "test", "--strategy", "one-shot", "--json", tmp_path / "r.json",
        "--limit", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    fields = {"mean_dice", "per_class", "per_case", "strategy", "references", "seconds_per_target", "network"}
    assert fields <= set(report) and 0 <= report["mean_dice"] <= 1
    assert "copying the mask" in done.stdout


def test_the_public_checkpoint_becomes_a_network_file(public_checkpoint, tmp_path):
    done = iris("import-public", public_checkpoint, "--output", tmp_path / "public.safetensors")
    assert done.returncode == 0, done.stderr
    hashes = [hashlib.sha256(p.read_bytes()).hexdigest() for p in (public_checkpoint, tmp_path / "public.safetensors")]
    assert all(h in done.stdout for h in hashes) and "13,443,301 parameters" in done.stdout


def test_evaluate_goes_on_where_it_was_interrupted(folder, tmp_path):
    command = ["evaluate", "--data", folder, "--json", tmp_path / "r.json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "IrisSegmentLib", *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    partial = tmp_path / "r.json.partial"
    lines = 0
    while process.poll() is None and lines < 2:  # what the run hangs on, and its first case
        time.sleep(0.01)
        lines = len(partial.read_text().splitlines()) if partial.exists() else 0
    assert lines >= 2, process.communicate(timeout=30)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    if process.returncode == 130:  # it may have been quicker
        assert not (tmp_path / "r.json").exists()
        again = iris(*command)
        assert again.returncode == 0 and "Going on after" in again.stdout
    assert os.listdir(tmp_path) == ["r.json"]
    assert len(json.loads((tmp_path / "r.json").read_text())["per_case"]) == 3


def test_reproduce_makes_its_picture(samples, tiny_network, tmp_path):
    done = iris(
        "reproduce", "figure5", "--data", samples, "--output", tmp_path / "a" / "b", "--network", tiny_network,
        "--limit", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path / "a" / "b")) == ["figure5.html", "figure5.json", "figure5.png"]
    assert "gross tumour volume" in done.stdout


def test_help_is_quick_and_shows_the_way():
    started = time.monotonic()
    done = iris("--help")
    assert done.returncode == 0 and time.monotonic() - started < 2
    for word in ("encode", "pool", "tune", "evaluate", "reproduce", "train", "import-public", "examples:", ".seg.nrrd"):
        assert word in done.stdout


def test_bad_input_is_one_sentence_and_changes_nothing(preset, folder, tmp_path):
    image, label = folder / "hippocampus_023_image.nii.gz", folder / "hippocampus_023_label.nii.gz"
    (tmp_path / "broken.iris").write_bytes(b"no")
    encode, segment = ["encode", "--image", image, "--segmentation", label, "--output"], ["segment", "--preset", preset]
    new, out = tmp_path / "p.iris", ["--output", tmp_path / "o"]
    cases = [
        (["encode", "--image", "absent.nii.gz", "--segmentation", label, "--output", new], "absent.nii.gz"),
        ([*encode, new, "--label", "9"], "label 9"),
        ([*encode, tmp_path / "no" / "p.iris"], "does not exist"),
        (["segment", "--preset", tmp_path / "broken.iris", "--image", image, *out], "broken.iris"),
        ([*segment, "--image", image, "absent.nrrd", *out], "absent.nrrd"),
        ([*segment, "--image", image, image, *out], "same name"),
        ([*segment, "--image", image, label, "--output", tmp_path / "o.nrrd"], "give a folder"),
        (["evaluate", "--data", tmp_path, "--strategy", "one-shot"], "No labelled set"),
        (["evaluate", "--data", folder, "--strategy", "magic"], "magic"),
        (["import-public", tmp_path / "broken.iris"], "broken.iris"),
        (["import-public", tmp_path / "absent.pth"], "absent.pth"),
        (["evaluate", "--data", folder, "--tolerance", "-1"], "distance in mm"),
        (["reproduce", "table1", "--data", tmp_path, "--output", tmp_path / "r"], "No labelled set"),
        (["train", "--data", tmp_path, "--output", tmp_path / "run"], "No labelled set"),
    ]
    for arguments, words in cases:
        done = iris(*arguments)
        assert done.returncode == 2, (arguments, done.stderr)
        assert words in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert os.listdir(tmp_path) == ["broken.iris"]


def test_interrupting_leaves_nothing_half_written(preset, folder, tmp_path):
    command = [sys.executable, "-m", "IrisSegmentLib", "segment", "--preset", preset, "--output", tmp_path / "out"]
    images = sorted(folder.glob("*_image.nii.gz"))
    process = subprocess.Popen([*map(str, command), "--image", *map(str, images)], stderr=subprocess.PIPE, text=True)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    if process.returncode != 0:  # it may have been quicker
        assert process.returncode == 130 and "Traceback" not in errors
    for path in (tmp_path / "out").glob("*") if (tmp_path / "out").exists() else ():
        read_segmentation(path)

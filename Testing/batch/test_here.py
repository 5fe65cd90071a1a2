"""Batches and watches without Ray, as a person runs them: in a process of its own, with the test network."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from batch.conftest import equal
from batch.processes import below, gone
from batch.thousand import thousand

from IrisSegmentLib.batch.cases import find_cases
from IrisSegmentLib.batch.here import Here
from IrisSegmentLib.batch.identity import task_hash
from IrisSegmentLib.batch.outcome import ASIDE, DONE
from IrisSegmentLib.batch.records import Records
from IrisSegmentLib.batch.segmenting import Segmenting
from IrisSegmentLib.batch.watch import SETTLED, settled
from IrisSegmentLib.batch.work import RETRIES, Failure
from IrisSegmentLib.cli import main
from IrisSegmentLib.context.preset import Preset
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.imaging.files import read_volume, write_volume
from IrisSegmentLib.imaging.volume import Volume


@pytest.fixture
def batch(preset, tiny_network, tmp_path, capsys):
    """Runs `irissegment batch` over a folder or table into ``out``; its exit code and what it said."""

    def run(data, *more, output=tmp_path / "out"):
        arguments = ["batch", "--data", data, "--preset", preset, "--output", output, "--network", tiny_network]
        code = main([*map(str, arguments), "--device", "cpu", *map(str, more)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def written(output):
    """When each result was."""
    return {path.name: path.stat().st_mtime_ns for path in output.glob("*.seg.nrrd")}


def test_a_batch_sets_bad_cases_aside_and_goes_on_where_it_stopped(batch, archive, right, tmp_path):
    output = tmp_path / "out"
    (archive / "case_0002.nii.gz").rename(tmp_path / "kept.nii.gz")
    (archive / "case_0002.nii.gz").write_bytes(b"no scan")
    code, _, errors = batch(archive)
    assert code == 2 and "1 of 5 cases were set aside, 'case_0002' first" in errors and len(errors.splitlines()) == 1
    others = {case: layers for case, layers in right.items() if case != "case_0002"}
    assert equal(output, others)
    rows = pq.read_table(output / "results.parquet").to_pylist()
    assert [row["state"] for row in rows] == [ASIDE] + 4 * [DONE] and "could not be read" in rows[0]["reason"]
    sure = [row["confidence"] for row in rows[1:]]
    assert sure == sorted(sure) and rows[1]["volume_ml anterior hippocampus"] > 0
    page = (output / "report.html").read_text()
    shown = re.findall(r"<h2>(\w+)</h2>", page)
    assert shown == [row["case"] for row in rows] and page.count("data:image/png;base64,") == 4

    before = written(output)
    (tmp_path / "kept.nii.gz").rename(archive / "case_0002.nii.gz")
    (archive / "case_0001.nii.gz").rename(archive / "renamed.nii.gz")  # another case now, though the same scan
    (archive / "case_0003.nii.gz").touch()  # the same scan, though its file looks changed
    (output / "case_0004.seg.nrrd").unlink()
    code, said, _ = batch(archive)
    assert code == 0 and "Going on after 1 finished cases" in said and "5 of 5 cases done" in said
    after = written(output)
    assert {name for name in after if after[name] != before.get(name)} == {
        "case_0002.seg.nrrd", "case_0004.seg.nrrd", "renamed.seg.nrrd"
    }  # fmt: skip
    assert equal(output, right | {"renamed": right["case_0001"]})
    assert sorted(os.listdir(output / ".irissegment")) == ["cases", "lock"]


def test_what_is_done_again_and_what_is_a_persons(preset, tiny_network, archive, right, tmp_path):
    """The work itself, in this process."""
    output, made = tmp_path / "out", Preset.load(preset)
    output.mkdir()

    def done(made):
        """The cases that were written by going over all; and what was set aside."""
        work = Segmenting(made.to_bytes(), task_hash(made), tiny_network, "cpu", output)
        work.prepare()
        before = written(output)
        answers = [work.do(case) for case in find_cases(archive)]
        after = written(output)
        again = {name[:9] for name in after if after[name] != before.get(name)}
        return again, {answer.case: answer.reason for answer in answers if answer.state == ASIDE}

    with Records(output).held():
        assert done(made) == (set(right), {}) and equal(output, right)
        assert done(made) == (set(), {})  # known by their content, though nobody looked at the records before
        assert task_hash(made.after(made, "noted")) == task_hash(made)  # a remark changes no result
        scan = read_volume(archive / "case_0000.nii.gz")
        write_volume(Volume(scan.array[:, ::-1].copy(), scan.affine), archive / "case_0000.nii.gz")
        assert done(made) == ({"case_0000"}, {})

        two = made.with_reference(made)
        assert task_hash(two) != task_hash(made)
        shutil.copy(output / "case_0001.seg.nrrd", output / "case_0000.seg.nrrd")  # as if corrected by hand
        again, aside = done(two)
        assert again == set(right) - {"case_0000"} and "was changed by a person" in aside["case_0000"]

        record = output / ".irissegment" / "cases" / "case_0001.json"
        record.write_text(record.read_text()[:100])  # a damaged record: nobody can tell whose the result is
        again, aside = done(two)
        assert again == set() and "'case_0001.seg.nrrd'" in aside["case_0001"]
        (output / "case_0001.seg.nrrd").unlink()
        assert done(two)[0] == {"case_0001"}


def test_a_case_that_kills_its_process_is_set_aside_and_the_rest_is_done(deadly, scans, right, tmp_path):
    work, records = deadly(tmp_path / "out")
    cases = find_cases(scans)
    bad = [type(cases[0])(name, cases[0].image) for name in ("deadly", "faulty")]
    with records.held(), Here(work, 1) as place:
        answers = {case.name: answer for case, answer in place.run([bad[0], *cases[:2], bad[1], *cases[2:]])}
        deadly, faulty = answers["deadly"], answers["faulty"]
        assert isinstance(deadly, Failure) and f"{1 + RETRIES} times (exit code 9)" in deadly.reason
        assert isinstance(faulty, Failure) and "ValueError: a fault of the program" in faulty.reason
        assert all(answers[case.name].state == DONE for case in cases)
        assert equal(tmp_path / "out", right)
        with pytest.raises(IrisError, match="The disk is full"):
            list(place.run([type(cases[0])("full", cases[0].image)]))


def test_a_batch_is_told_what_is_wrong_in_one_sentence(batch, archive, tmp_path, tiny_network, preset):
    (tmp_path / "file").touch()
    for arguments, words in [
        ([tmp_path / "absent"], "no folder or table"),
        ([archive, "--preset", tmp_path / "no.iris"], "no preset file"),
        ([archive, "--output", tmp_path / "a" / "b"], "cannot be made"),
        ([archive, "--output", tmp_path / "file"], "cannot be made"),
        ([archive, "--threads", "0"], "--threads must be 1 or more"),
        ([archive, "--actors", "2"], "add --cluster local"),
        ([archive, "--network", preset], "not a network"),
    ]:
        code, _, errors = batch(*arguments)
        assert code == 2 and words in errors and len(errors.strip().splitlines()) == 1, (arguments, errors)
    code, _, errors = batch(archive, "--network", str(tmp_path / "other.safetensors"))
    assert code == 2 and "no network file" in errors


def test_only_one_run_at_a_time_writes_into_a_folder(deadly, batch, archive, tmp_path):
    _, records = deadly(tmp_path / "out")
    with records.held():
        code, _, errors = batch(archive)
    assert code == 2 and "Another run is writing" in errors


def test_a_killed_command_leaves_no_process_and_goes_on(preset, tiny_network, archive, right, tmp_path, batch):
    command = ["batch", "--data", archive, "--preset", preset, "--output", tmp_path / "out", "--network", tiny_network]
    process = subprocess.Popen(
        [sys.executable, "-m", "IrisSegmentLib", *map(str, command), "--device", "cpu"], stdout=subprocess.DEVNULL
    )
    while process.poll() is None and not list((tmp_path / "out").glob("*.seg.nrrd")):
        time.sleep(0.02)
    family = set(below(process.pid))
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert gone(family, 10)
    assert batch(archive)[0] == 0 and equal(tmp_path / "out", right)


def test_a_file_is_taken_once_it_has_not_changed_for_a_while(tmp_path):
    arriving = {}
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"1")
    assert settled(tmp_path, None, arriving, 100.0) == []
    path.write_bytes(b"12")
    assert settled(tmp_path, None, arriving, 100.0 + SETTLED) == []
    (case,) = settled(tmp_path, None, arriving, 100.0 + 2 * SETTLED)
    assert case.image == path
    path.unlink()
    assert settled(tmp_path, None, arriving, 200.0) == [] and arriving == {}


def test_a_watch_segments_what_comes_also_after_a_restart(preset, tiny_network, archive, right, tmp_path):
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    command = ["watch", folder, "--preset", preset, "--output", output, "--network", tiny_network, "--device", "cpu"]

    def start():
        return subprocess.Popen(
            [sys.executable, "-m", "IrisSegmentLib", *map(str, command)], stdout=subprocess.PIPE, text=True,
            stderr=subprocess.PIPE,
        )  # fmt: skip

    shutil.copy(archive / "case_0000.nii.gz", folder)
    (folder / "bad.nii.gz").write_bytes(b"no scan")
    process = start()
    lines = [process.stdout.readline() for _ in range(3)]
    assert "Watching" in lines[0] and "bad: set aside: " in lines[1] and "case_0000: " in lines[2] and "mL" in lines[2]
    process.kill()
    process.communicate()
    shutil.copy(archive / "case_0001.nii.gz", folder)
    process = start()
    lines = [process.stdout.readline() for _ in range(2)]
    assert "case_0001: " in lines[1]  # and neither of the others, again
    while not (output / "results.parquet").exists() or pq.read_table(output / "results.parquet").num_rows < 3:
        time.sleep(0.1)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in errors and time.monotonic() - started < 3
    assert equal(output, {case: right[case] for case in ("case_0000", "case_0001")})


def test_a_picture_is_a_png_that_shows_the_segments(hippocampi):
    import io

    from PIL import Image

    from IrisSegmentLib.batch.picture import SIDE, picture_of

    volume, segmentation = hippocampi[0]
    shown = Image.open(io.BytesIO(picture_of(volume, segmentation))).convert("RGB")
    colors = {color for _, color in shown.getcolors(100_000)}
    wanted = {tuple(round(255 * c) for c in s.color) for s in segmentation.segments}
    assert max(shown.size) == SIDE and wanted <= colors and len([c for c in colors if len(set(c)) == 1]) > 10
    turned = Volume(volume.array[::-1], volume.affine @ np.array(
        [[-1, 0, 0, volume.shape[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]
    ))  # fmt: skip
    flipped = type(segmentation)(segmentation.layers[:, ::-1], turned.affine, segmentation.segments)
    assert picture_of(turned, flipped) == picture_of(volume, segmentation)  # however its axes are stored


@pytest.mark.slow
def test_many_small_volumes_take_no_more_memory_and_stop_at_once(tmp_path):
    thousand(tmp_path, 200)

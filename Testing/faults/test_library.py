"""Two sessions on one preset library, full disks and damaged files: every preset stays whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from IrisSegmentLib.context.library import PresetLibrary
from IrisSegmentLib.context.preset import Preset
from IrisSegmentLib.engine import Engine


@pytest.fixture(scope="module")
def preset(tiny_network, hippocampi):
    return Engine(tiny_network, "cpu").encode(*hippocampi[0], name="Hippocampus")


ROOT = Path(__file__).resolve().parents[2]
# Processes of their own, not forks of this one: a fork inherits locks of torch's threads, and waits for them forever.
SAVE_SOME = """
import sys
from dataclasses import replace
from IrisSegmentLib.context.library import PresetLibrary
from IrisSegmentLib.context.preset import Preset, now

folder, file, number = sys.argv[1:]
preset = Preset.load(file)
print("ready", flush=True)
input()
for n in range(20):
    PresetLibrary(folder).save(replace(preset, notes=f"{number} {n}", created=f"{now()} {number}"))
"""
# No file may grow beyond 4 kB, which is what a full disk feels like.
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from IrisSegmentLib.context.library import PresetLibrary
from IrisSegmentLib.context.preset import Preset
from IrisSegmentLib.errors import IrisError

folder, file, _ = sys.argv[1:]
preset = Preset.load(file)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
for save in (lambda: preset.save(file), lambda: PresetLibrary(folder).save(preset)):
    try:
        save()
    except IrisError as error:
        print(error, flush=True)
"""


def session(code, folder, file, number=0):
    command = [sys.executable, "-c", code, str(folder), str(file), str(number)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_two_sessions_saving_the_same_name_lose_nothing(preset, tmp_path):
    file, folder = tmp_path / "h.iris", tmp_path / "library"
    preset.save(file)
    sessions = [session(SAVE_SOME, folder, file, number) for number in range(2)]
    for one in sessions:
        assert one.stdout.readline() == "ready\n"
    for one in sessions:
        one.stdin.write("\n")
        one.stdin.flush()
    for one in sessions:
        one.communicate(timeout=60)
        assert one.returncode == 0
    notes = {Preset.load(path).notes for path in PresetLibrary(folder).paths()}
    assert notes == {f"{number} {n}" for number in range(2) for n in range(20)}
    assert all(p.suffix == ".iris" for p in folder.iterdir())


RENAME_OR_BRING_BACK = """
import sys
from dataclasses import replace
from IrisSegmentLib.context.library import PresetLibrary
from IrisSegmentLib.context.preset import Preset, now

folder, file, number = sys.argv[1:]
preset, library = Preset.load(file), PresetLibrary(folder)
print("ready", flush=True)
input()
for n in range(10):
    path = library.save(replace(preset, name=f"{number} {n}", notes=f"{number} {n} kept", created=f"{now()} {number}"))
    library.rename(path, "liver")
    path = library.save(replace(preset, name="liver", notes=f"{number} {n} back", created=f"{now()} {number}"))
    library.delete(path)
    library.undo()
"""


def test_two_sessions_renaming_and_undoing_to_the_same_name_lose_nothing(preset, tmp_path):
    """Once a name that was free when it was looked for was written to, whatever was there by then."""
    file, folder = tmp_path / "h.iris", tmp_path / "library"
    preset.save(file)
    sessions = [session(RENAME_OR_BRING_BACK, folder, file, number) for number in range(2)]
    for one in sessions:
        assert one.stdout.readline() == "ready\n"
    for one in sessions:
        one.stdin.write("\n")
        one.stdin.flush()
    for one in sessions:
        one.communicate(timeout=60)
    files = [*folder.glob("*.iris"), *folder.glob(".deleted/*.iris")]
    notes = {Preset.load(path).notes for path in files}
    for number, one in enumerate(sessions):  # one that found nothing more to bring back has stopped there
        done = 10 if one.returncode == 0 else 1
        assert {f"{number} {n} kept" for n in range(done)} <= notes
    assert all(p.suffix == ".iris" for p in folder.rglob("*") if p.is_file())


def test_a_preset_that_changed_is_read_again_though_the_clock_was_set_back(preset, tmp_path):
    """Another Slicer writes notes as long as the old ones, and the file's time is what it was."""
    mine, other = PresetLibrary(tmp_path), PresetLibrary(tmp_path)
    path = mine.save(preset)
    for notes in ("one", "two"):
        other.annotate(path, notes)
        os.utime(path, (0, 0))
        assert mine.at(path).preset.notes == notes


def test_a_full_disk_leaves_the_preset_that_was_there(preset, tmp_path):
    path = PresetLibrary(tmp_path).save(preset)
    whole = path.read_bytes()
    told, _ = session(FULL_DISK, tmp_path, path).communicate(timeout=60)
    assert told.count("could not be written") == 2
    assert [p.name for p in tmp_path.iterdir()] == [path.name] and path.read_bytes() == whole

"""Two sessions on one preset library, full disks and damaged files: every preset stays whole."""

import multiprocessing
import resource
import signal

import pytest

from IrisSegmentLib.context.library import PresetLibrary
from IrisSegmentLib.context.preset import Preset
from IrisSegmentLib.engine import Engine
from IrisSegmentLib.errors import IrisError


@pytest.fixture(scope="module")
def preset(tiny_network, hippocampi):
    return Engine(tiny_network, "cpu").encode(*hippocampi[0], name="Hippocampus")


def save_some(folder, data, number, start):
    from dataclasses import replace

    from IrisSegmentLib.context.preset import now

    preset = Preset.from_bytes(data, "h")
    start.wait()
    for n in range(20):
        PresetLibrary(folder).save(replace(preset, notes=f"{number} {n}", created=f"{now()} {number}"))


def test_two_sessions_saving_the_same_name_lose_nothing(preset, tmp_path):
    context = multiprocessing.get_context("fork")
    start = context.Barrier(2)
    sessions = [context.Process(target=save_some, args=(tmp_path, preset.to_bytes(), n, start)) for n in range(2)]
    for session in sessions:
        session.start()
    for session in sessions:
        session.join(60)
        assert session.exitcode == 0
    notes = {Preset.load(path).notes for path in PresetLibrary(tmp_path).paths()}
    assert notes == {f"{number} {n}" for number in range(2) for n in range(20)}
    assert all(p.suffix == ".iris" for p in tmp_path.iterdir())


@pytest.fixture
def full_disk():
    """No file of this process may grow beyond 4 kB from now on: what a full disk feels like."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, heard)


def test_a_full_disk_leaves_the_preset_that_was_there(preset, tmp_path, full_disk):
    library = PresetLibrary(tmp_path)
    path = library.save(preset)
    whole = path.read_bytes()
    full_disk()
    for save in (lambda: preset.save(path), lambda: library.save(preset)):
        with pytest.raises(IrisError, match="could not be written"):
            save()
    assert [p.name for p in tmp_path.iterdir()] == [path.name] and path.read_bytes() == whole

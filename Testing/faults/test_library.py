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


def save_where_no_file_may_grow(folder, path, data):
    """In a process of its own: no file of it may grow beyond 4 kB, which is what a full disk feels like."""
    preset = Preset.from_bytes(data, "h")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    for save in (lambda: preset.save(path), lambda: PresetLibrary(folder).save(preset)):
        with pytest.raises(IrisError, match="could not be written"):
            save()


def test_a_full_disk_leaves_the_preset_that_was_there(preset, tmp_path):
    path = PresetLibrary(tmp_path).save(preset)
    whole = path.read_bytes()
    arguments = (tmp_path, path, preset.to_bytes())
    session = multiprocessing.get_context("fork").Process(target=save_where_no_file_may_grow, args=arguments)
    session.start()
    session.join(60)
    assert session.exitcode == 0
    assert [p.name for p in tmp_path.iterdir()] == [path.name] and path.read_bytes() == whole

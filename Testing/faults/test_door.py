"""The worker's door: only its parent speaks through it, and no scan stays behind it, whoever dies."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from workerbench import Bench

from IrisSegmentLib.engine import Engine, exchange
from IrisSegmentLib.engine.device import beyond_repair
from IrisSegmentLib.engine.exchange import ExchangeFolder
from IrisSegmentLib.engine.worker import _in_words

ROOT = Path(__file__).resolve().parents[2]
linux = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into /proc")


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A temporary folder of our own, so that what is left in it can be seen."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def bench(temporary, tiny_network):
    bench = Bench(tiny_network)
    yield bench
    bench.client.close()


@pytest.fixture
def job_asked(bench, tiny_network, hippocampi):
    """Asks for a target to be segmented; the worker has done one before."""
    preset = Engine(tiny_network, "cpu").encode(*hippocampi[0], name="h")
    bench.wait(bench.ask("segment", hippocampi[1][0], preset))
    return lambda: bench.ask("segment", hippocampi[1][0], preset)


@linux
def test_nobody_else_can_speak_to_the_worker_or_read_its_arrays(temporary, bench, hippocampi):
    bench.wait(bench.ask("encode", *hippocampi[0], name="h"))
    links = [os.readlink(p) for p in Path(f"/proc/{bench.transport._process.pid}/fd").iterdir()]
    assert not [link for link in links if link.startswith("socket:")] and [n for n in links if n.startswith("pipe:")]
    (folder,) = temporary.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    bench.client.close()
    assert not list(temporary.iterdir())


PARENT = """
import sys, time
import numpy as np
from IrisSegmentLib.engine.client import EngineClient
from IrisSegmentLib.engine.transport import ProcessTransport
from IrisSegmentLib.imaging.volume import Segment, Segmentation, Volume

transport = ProcessTransport()
client = EngineClient(transport, network=sys.argv[1], device="cpu")
array = np.random.default_rng(0).normal(size=(64, 64, 64)).astype(np.float32)
mask = (array > 1).astype(np.uint8)
client.encode(Volume(array, np.eye(4)), Segmentation(mask[None], np.eye(4), (Segment("a", (1, 0, 0)),)), name="a",
              on_progress=lambda fraction, text: print(transport._process.pid, flush=True))
while True:
    transport.pump(0.1)
"""


@linux
def test_a_killed_parent_leaves_no_worker_and_no_scan(temporary, tiny_network):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tiny_network], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    assert list(temporary.glob("irissegment-*/*.npy"))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until = time.monotonic() + 20
    while Path(f"/proc/{worker}").exists() or list(temporary.iterdir()):
        assert time.monotonic() < until, "the worker or its arrays outlived the parent"
        time.sleep(0.05)


def test_what_a_crash_of_both_left_is_removed_by_the_next(temporary):
    pytest.importorskip("fcntl")
    left, foreign = (Path(tempfile.mkdtemp(prefix=exchange.PREFIX)) for _ in range(2))
    (left / "1-image.npy").write_bytes(b"a scan")
    (foreign / "letter.txt").write_bytes(b"not ours")
    other, own = ExchangeFolder(), ExchangeFolder()
    in_use = other.path()
    assert own.path() != in_use
    assert not left.exists() and in_use.is_dir() and (foreign / "letter.txt").exists()
    own.remove()
    other.remove()


def test_after_the_folder_was_cleaned_away_the_next_click_works(temporary, bench, job_asked):
    (folder,) = temporary.iterdir()
    shutil.rmtree(folder, ignore_errors=True)  # the client may be removing a file of it
    job = job_asked()
    bench.wait(job)
    assert job.state == "done"


def test_a_job_asked_for_while_a_worker_dies_is_done_by_a_new_one(bench, job_asked):
    """A worker that does not heed a cancel is killed; the job behind it was once written to the dying one."""
    os.kill(bench.transport._process.pid, signal.SIGSTOP)
    first, second = job_asked(), job_asked()
    bench.transport.pump(0.2)
    first.cancel()
    bench.wait(first, second)
    assert first.state == "cancelled" and second.state == "done"


def test_a_worker_that_was_killed_while_idle_costs_no_click(bench, job_asked):
    os.kill(bench.transport._process.pid, signal.SIGKILL)
    job = job_asked()
    bench.wait(job)
    assert job.state == "done", bench.errors


def test_lack_of_memory_and_lost_devices_are_known_by_their_words():
    cpu = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
    for words in ("CUDA out of memory. Tried to allocate 2 GiB", "std::bad_alloc", cpu):
        assert "not enough memory" in _in_words(RuntimeError(words)) and not beyond_repair(RuntimeError(words))
    assert "not enough memory" in _in_words(MemoryError())
    assert beyond_repair(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert beyond_repair(RuntimeError("could not create a primitive"))


NO_ROOM = """
import resource, sys
from pathlib import Path
import numpy as np
from IrisSegmentLib.engine.messages import get_array

np.save(Path(sys.argv[1]) / "a.npy", np.zeros(2**26, np.uint8))
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 2**22, resource.getrlimit(resource.RLIMIT_AS)[1]))
try:
    get_array(Path(sys.argv[1]), "a.npy")
except Exception as error:
    print(type(error).__name__)
"""


@linux
def test_a_scan_that_memory_has_no_room_for_is_not_called_damaged(tmp_path):
    told = subprocess.run([sys.executable, "-c", NO_ROOM, tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert told.stdout == "MemoryError\n", told.stderr

"""The processes of a run, by Linux's own listing."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path


def below(pid: int) -> dict[int, str]:
    """All processes that a process started, and those that they did, with their command lines."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        above = waiting.pop()
        for child in [child for child, parent in parents.items() if parent == above]:
            waiting.append(child)
            with contextlib.suppress(OSError):
                found[child] = (Path("/proc") / str(child) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def alive(pids: set[int]) -> set[int]:
    """Those that still run; one that has ended but was not collected does not."""
    running = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            if (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                running.add(pid)
    return running


def gone(pids: set[int], seconds: float) -> bool:
    """Whether all have ended in time; those that have not are ended, so that they disturb nothing else."""
    until = time.monotonic() + seconds
    while alive(pids) and time.monotonic() < until:
        time.sleep(0.1)
    left = alive(pids)
    for pid in left:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return not left


def memory(pid: int) -> int:
    """Bytes that a process holds of its own."""
    return int((Path("/proc") / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

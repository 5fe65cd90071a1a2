"""What every fault is judged by: no hang, no orphan, nothing left, and a sentence that helps."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

HANG = 10.0  # seconds after a fault in which its job must end, on a machine that has nothing else to do
START = 60.0  # seconds that a worker may take to start, and to answer the next click
# A sentence that says what to do has one of these.
WAY_OUT = re.compile(
    r"\b(try|choose|make|close|check|encode|load|correct|draw|tick|untick|type|free|segment|start|restart|put|add|resample|save|get|give|update|rename|switch|crop|use|name|install|agree|ask|tune|"
    r"write|split|cut|convert|run|fill|leave|"
    r"the log has the details|computes from now on)\b",
    re.IGNORECASE,
)


@dataclass
class Outcome:
    """
    :param ended: how the work ended that was hit, in a word; said: sentences that a person read; wrong: findings.
    """

    ended: str
    said: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def patience(seconds: float) -> float:
    """So many seconds of a machine that has nothing else to do: as many times more as processes wait for each core."""
    return seconds * max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))


def unhelpful(sentences: Iterable[str]) -> list[str]:
    """Findings about sentences that are none, or say not what to do."""
    wrong = []
    for sentence in sentences:
        if not sentence.endswith(".") or "\n" in sentence or len(sentence) > 1000:
            wrong.append(f"not a sentence: {sentence!r}")
        elif not WAY_OUT.search(sentence):
            wrong.append(f"says not what to do: {sentence!r}")
    return wrong


def hashes(folder: Path) -> dict[str, str]:
    """Of every file below a folder."""
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def workers(folder: Path) -> set[int]:
    """Living processes that were started for a folder below this one."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z" and b"--folder" in command and os.fsencode(folder) in command[command.index(b"--folder") + 1]:
            found.add(int(entry.name))
    return found


class SmallDisk:
    """A disk of its own of some megabytes, where that is allowed: inside a mount namespace that goes with this process.

    Example::

        disk = SmallDisk(folder, megabytes=8)
        with disk.full():
            ...
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        self.real = ALONE in sys.argv
        if self.real:
            size = f"size={megabytes}m,mode=0700"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)

    def fill(self, leave: int = 0) -> None:
        """Until nothing but some bytes fits any more; nothing happens on a disk that is not our own."""
        if self.real:
            path = self.folder / "ballast"
            with path.open("wb", buffering=0) as file:
                with suppress(OSError):
                    while file.write(bytes(4096)):
                        pass
                file.truncate(max(0, path.stat().st_size - leave))

    def empty(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)


ALONE = "--alone"  # among the arguments of a process in a mount namespace of its own


def go_alone() -> None:
    """Start this program once more, where disks can be made that no one else sees; not where that is not allowed."""
    if ALONE not in sys.argv and sys.platform == "linux":
        allowed = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True)
        if allowed.returncode == 0:
            os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv, ALONE])

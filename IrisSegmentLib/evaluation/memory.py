"""The most memory that a process ever held."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_mb() -> float:
    """Of this process, in MB. Linux hands the peak that ``getrusage`` tells down from the process that started this
    one, so there the kernel's own record of it is read.

    :raises ImportError: on Windows, which tells neither.
    """
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith("VmHWM:")).split()[1]) / 2**10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)

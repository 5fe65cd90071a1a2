"""What a server lets its clients do, and how often."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

REMEMBERED = 1000  # addresses


@dataclass(frozen=True)
class Limits:
    """
    :param largest: bytes of one job; together: of all jobs that are on their way or wait.
    :param spare: bytes that stay free on the disk.
    :param jobs: of all clients; of_one: of one of them.
    :param silence: seconds in which a client must say or take something.
    :param slowest: bytes per second that a job must come with, after a first ``silence``.
    :param longest: seconds that one job may compute.
    :param beat: seconds after which a client that waits is told that it is not forgotten.
    :param rate: requests per second of one address; burst: of them at once.
    """

    largest: int = 4 * 2**30
    together: int = 16 * 2**30
    spare: int = 2**30
    jobs: int = 64
    of_one: int = 8
    silence: float = 20.0
    slowest: float = 20e3
    longest: float = 3600.0
    beat: float = 5.0
    rate: float = 20.0
    burst: float = 100.0


class Pace:
    """How often an address may ask: ``burst`` times at once, and ``rate`` times a second in the long run."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests left, and when they were counted

    def allows(self, address: str) -> bool:
        """Whether it may ask now; counts as asking if so."""
        now, limits = time.monotonic(), self._limits
        left, counted = self._left.pop(address, (limits.burst, now))
        left = min(limits.burst, left + limits.rate * (now - counted))
        allowed = left >= 1
        self._left[address] = (left - allowed, now)
        while len(self._left) > REMEMBERED:
            self._left.popitem(last=False)
        return allowed

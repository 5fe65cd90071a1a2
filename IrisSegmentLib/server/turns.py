"""Whose turn it is: one job at a time, and the clients one after the other, however many jobs each has waiting."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from .limits import Limits


class Full(Exception):
    """No more jobs can wait."""


@dataclass(eq=False)
class Turn:
    """One job's place among those of all clients.

    :param moved: set whenever it may have come nearer.
    """

    client: str
    moved: asyncio.Event = field(default_factory=asyncio.Event)


class Turns:
    """Used on one event loop.

    Example::

        turn = turns.enter("a client")
        try:
            while turns.before(turn):
                await turn.moved.wait()
                turn.moved.clear()
            ...
        finally:
            turns.leave(turn)
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: OrderedDict[str, deque[Turn]] = OrderedDict()  # the next client first
        self._running: Turn | None = None

    def __len__(self) -> int:
        """How many jobs run or wait."""
        return (self._running is not None) + sum(map(len, self._waiting.values()))

    def enter(self, client: str) -> Turn:
        """
        :raises Full: when too many jobs wait, of all clients or of this one.
        """
        own = len(self._waiting.get(client, ()))
        if len(self) >= self._limits.jobs or own >= self._limits.of_one:
            raise Full
        turn = Turn(client)
        self._waiting.setdefault(client, deque()).append(turn)
        self._next()
        return turn

    def leave(self, turn: Turn) -> None:
        """It is done, or nobody waits for it any more."""
        if turn is self._running:
            self._running = None
        elif turn in (own := self._waiting.get(turn.client, deque())):
            own.remove(turn)
            if not own:
                del self._waiting[turn.client]
        self._next()
        for turns in self._waiting.values():
            for other in turns:
                other.moved.set()

    def before(self, turn: Turn) -> int:
        """How many jobs come before it; 0 when it is its turn."""
        if turn is self._running:
            return 0
        place = self._waiting[turn.client].index(turn)  # as many rounds pass before its own
        clients = list(self._waiting)
        own = clients.index(turn.client)
        others = sum(min(len(self._waiting[c]), place + (n < own)) for n, c in enumerate(clients) if n != own)
        return 1 + place + others

    def _next(self) -> None:
        if self._running is not None or not self._waiting:
            return
        client, turns = self._waiting.popitem(last=False)
        self._running = turns.popleft()
        if turns:
            self._waiting[client] = turns  # behind all others
        self._running.moved.set()

"""Connections that say nothing are closed: uvicorn waits for a first request, or the rest of a head, for ever."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

IDLE = 10.0  # seconds


class Connection(H11Protocol):
    """One on which no request is being served at two looks, or that is to close and does not get rid of its last
    bytes, is ended."""

    _watch: asyncio.TimerHandle | None = None
    _idle = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _look_again(self) -> None:
        self._watch = self.loop.call_later(IDLE, self._look)

    def _look(self) -> None:
        was_idle = self._idle
        self._idle = self.cycle is None or self.cycle.response_complete or self.transport.is_closing()
        if was_idle and self._idle:
            self.transport.abort()
        else:
            self._look_again()

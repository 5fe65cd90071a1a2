"""The engine of a server, for programs that wait for their answers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from ..context.bank import MemoryBank
from ..context.pool import Pool
from ..context.preset import Preset
from ..errors import IrisError
from ..imaging.volume import Segmentation, Volume
from .client import EngineClient, Job
from .elsewhere import Server
from .engine import Engine
from .progress import Progress
from .result import Result
from .strategies import choose
from .transport import ProcessTransport


class ServedEngine:
    """What the command line asks of an `Engine`, done by a server.

    Example::

        engine = ServedEngine(Server("https://gpu.example:8765", token))
        preset = engine.encode(volume, segmentation, name="liver")
    """

    def __init__(self, server: Server) -> None:
        self._transport = ProcessTransport()
        self._client = EngineClient(self._transport, server=server)
        weakref.finalize(self, self._client.close)

    def encode(
        self, image: Volume, segmentation: Segmentation, *, name: str, progress: Progress | None = None
    ) -> Preset:
        """As `Engine.encode`."""
        return cast(Preset, self._waited(partial(self._client.encode, image, segmentation, name=name), progress))

    def segment(self, image: Volume, preset: Preset, *, progress: Progress | None = None) -> Result:
        """As `Engine.segment`."""
        return cast(Result, self._waited(partial(self._client.segment, image, preset), progress))

    def check(self, made: Preset | Pool | MemoryBank) -> None:
        """Whether it was made by the server's network shows when the server is asked."""

    def choose(
        self,
        source: Preset | Pool | MemoryBank,
        strategy: str,
        *,
        image: Volume | None = None,
        segments: Sequence[str] | None = None,
        count: int | None = None,
        seed: int | str = 0,
        progress: Progress | None = None,
    ) -> Preset:
        """As `Engine.choose`, for what can be chosen without a network.

        :raises IrisError: for a strategy that looks at the target before it chooses, too.
        """
        if isinstance(source, Pool) and strategy.endswith("retrieval"):
            raise IrisError(
                f"The strategy '{strategy}' looks at a scan before it chooses, which a server does not do; "
                "choose ensemble, or leave --server out."
            )
        return choose(cast(Engine, self), source, strategy, image, segments, count, seed, progress or Progress())

    def _waited(self, ask: Callable[..., Job], progress: Progress | None) -> Any:
        """What a job comes to.

        :raises IrisError: when it fails.
        """
        answers: list[Any] = []
        progress = progress or Progress()
        job = ask(on_progress=progress.report, on_done=answers.append)
        while not job.ended:
            self._transport.pump(0.1)
        if job.state == "failed":
            raise IrisError(job.error)
        return answers[0]


"""Another network, fetched and converted by a worker of its own, so that scans can be segmented meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..engine.client import EngineClient
from ..engine.networks import NetworkFile
from .process import QtTransport
from .session import OnError, OnProgress, workerPython


class NetworkFetcher:
    """
    Example::

        fetcher = NetworkFetcher()
        fetcher.fetch(PUBLIC_ADDRESS, folder, "", onProgress, onDone, onError)
    """

    def __init__(self) -> None:
        self._transport = QtTransport()
        self._client = EngineClient(self._transport, python=workerPython())

    @property
    def busy(self) -> bool:
        return self._client.busy

    def fetch(
        self,
        source: str,
        folder: Path,
        sha256: str,
        onProgress: OnProgress,
        onDone: Callable[[NetworkFile], None],
        onError: OnError,
    ) -> None:
        """As `engine.networks.get_network`, in the background; a cancelled one ends in an empty error."""
        self._client.get_network(
            source, folder, sha256=sha256, on_progress=onProgress, on_done=onDone, on_error=onError,
            on_cancelled=lambda: onError(""),
        )  # fmt: skip

    def cancel(self) -> None:
        self._client.cancel_all()

    def close(self) -> None:
        """End the worker; what came of a download is kept."""
        self._client.close()
        self._transport.close()

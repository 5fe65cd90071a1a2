"""On Ray: one actor per GPU, or per so many CPUs, each with the network loaded once; Ray places, restarts and retries
them. Memory is bounded by their number: an actor has one case at a time, and no case waits in memory."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import IrisError
from .cases import Case
from .extras import needs
from .work import RETRIES, Stop, Work, Worker, died

MEMORY = 3 * 2**30  # bytes that an actor may need: a large CT
STORE = 256 * 2**20  # bytes of shared memory for what actors are sent and answer
HEARD = 0.2  # seconds in which Ctrl-C is heard: Ray itself looks for it once a second
CHECKED = 2.0  # seconds between looks whether the cluster lives, while no answer comes
PATIENT = 60.0  # seconds before a person is told that a cluster is full
LOST = "The Ray cluster was lost; start it again, then run the same command to go on where it stopped."


class Cluster:
    """
    :param address: ``local`` starts Ray on this machine, for this process only; else of a cluster that runs.
    :param actors: how many; None for as many as GPUs, or else CPUs and memory, allow.
    :param threads: of each actor.
    :param gpus: whether actors may use GPUs.

    Example::

        with Cluster(work, "local", None, 1) as place:
            for case, answer in place.run(cases): ...
    """

    def __init__(self, work: Work, address: str, actors: int | None, threads: int, gpus: bool = True) -> None:
        needs("ray")
        self._work, self._address, self._wanted, self._threads = work, address, actors, threads
        self._gpus = gpus
        self._ray: Any = None
        self._folder: Path | None = None
        self._doors: list[tuple[str, int]] = []  # that are open as long as the cluster lives
        self._starting: dict[Any, Any] = {}  # actors by the answer that they are ready
        self._free: list[Any] = []
        self._checked = 0.0  # when the cluster was last seen to live
        self._sent: list[Any] = []

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        if self._ray is None:
            return
        with contextlib.suppress(KeyboardInterrupt):  # a second one must not leave processes behind
            self._ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, cases: Iterable[Case]) -> Iterator[tuple[Case, Any]]:
        """As `Place.run`. No more cases are taken than there are actors that are ready for one."""
        waiting, busy = iter(cases), dict[Any, tuple[Any, Case]]()
        case = next(waiting, None)
        if case is not None and self._ray is None:
            self._start()
        started, told = time.monotonic(), False
        while case is not None or busy:
            while case is not None and self._free:
                actor = self._free.pop()
                busy[actor.do.remote(case, self._sent)] = actor, case
                case = next(waiting, None)
            done, _ = self._ray.wait([*busy, *self._starting], timeout=HEARD)
            if not done and time.monotonic() - self._checked > CHECKED:
                self._check()
                if not busy and not told and time.monotonic() - started > PATIENT:
                    told = True
                    print("The cluster has no room for an actor yet; waiting.", file=sys.stderr, flush=True)
            for answered in done:
                if answered in self._starting:
                    self._free.append(self._starting.pop(answered))
                    self._answer(answered)
                    continue
                actor, its = busy.pop(answered)
                self._free.append(actor)
                yield its, self._answer(answered)

    def _answer(self, answered: Any) -> Any:
        try:
            answer = self._ray.get(answered)
        except self._ray.exceptions.RayError as error:
            self._check()
            return died(type(error).__name__)
        if isinstance(answer, Stop):
            raise IrisError(answer.reason)
        return answer

    def _start(self) -> None:
        local = self._address == "local"
        # Read when Ray is imported: nothing is reported to anyone, and what runs here is open to this machine only.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        if local:
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
            # Ray would first start a worker per CPU, and wait forever for one that was killed while it started.
            os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
            # A head that dies while it starts is not missed by us, and by Ray only after a minute.
            os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "20")
        import ray

        self._ray = ray
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        if local:
            self._folder = _folder()
            cpus = max(_cpus(), (self._wanted or 1) * self._threads)
            quiet |= {
                "num_cpus": cpus, "num_gpus": None if self._gpus else 0, "object_store_memory": STORE,
                "include_dashboard": False, "_temp_dir": str(self._folder),
            }  # fmt: skip
        try:
            ray.init(address=self._address, **quiet)
        except Exception as error:  # Ray has many ways to say so
            away = f"There is no cluster at '{self._address}', or it wants a token"
            words = "Ray could not be started on this machine" if local else away
            raise IrisError(f"{words} ({type(error).__name__}); check what Ray itself says, then try again.") from error
        self._doors = self._open_doors()
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if self._gpus else 0
        room = min(int(resources["CPU"]) // self._threads, int(resources.get("memory", MEMORY) // MEMORY))
        count = self._wanted or gpus or max(1, room)
        share = 1 / math.ceil(count / gpus) if gpus else 0
        kind: Any = ray.remote(Actor)
        kind = kind.options(
            num_cpus=self._threads, num_gpus=share, max_restarts=-1, max_task_retries=RETRIES
        )
        actors = [kind.remote(self._threads) for _ in range(count)]
        self._sent = [ray.put(self._work)]  # once, however many actors read it
        self._starting = {actor.prepare.remote(self._sent): actor for actor in actors}

    def _open_doors(self) -> list[tuple[str, int]]:
        """Where the head and this machine's part of the cluster listen."""
        if self._address.startswith("ray://"):  # there a proxy stands between, which says itself when it is lost
            return []
        here = self._ray.get_runtime_context()
        host, _, port = here.gcs_address.rpartition(":")
        node = next(n for n in self._ray.nodes() if n["NodeID"] == here.get_node_id())
        return [(host.strip("[]"), int(port)), (node["NodeManagerAddress"], node["NodeManagerPort"])]

    def _check(self) -> None:
        """Ray itself waits a minute for a head that died, and then ends this process.

        :raises IrisError: when the cluster is lost.
        """
        self._checked = time.monotonic()
        for door in self._doors:
            try:
                socket.create_connection(door, timeout=5).close()
            except OSError as error:
                raise IrisError(LOST) from error


class Actor:
    """A `Worker` in a process of Ray's. It is given the work with every case, for it may be new in a dead one's place.

    :param threads: of torch.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._worker: Worker | None = None

    def prepare(self, sent: list[Any]) -> Stop | None:
        """As `Worker.prepare`; ``sent`` is the work, in Ray's store."""
        return self._ready(sent).prepare()

    def do(self, case: Case, sent: list[Any]) -> Any:
        """As `Worker.do`."""
        return self._ready(sent).do(case)

    def _ready(self, sent: list[Any]) -> Worker:
        if self._worker is None:
            import ray

            self._worker = Worker(ray.get(sent[0]), self._threads)
        return self._worker


def _folder() -> Path:
    """One for Ray's own files, where those of commands that were killed are cleared away. Its path has few letters: the
    system bounds those of the sockets in it."""
    place = Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir())
    for left in place.glob("iris-ray-*-*") if os.name == "posix" else ():
        try:
            os.kill(int(left.name.split("-")[2]), 0)  # asks whether it lives
        except ProcessLookupError:
            shutil.rmtree(left, ignore_errors=True)
        except (ValueError, PermissionError):  # not ours
            continue
    return Path(tempfile.mkdtemp(prefix=f"iris-ray-{os.getpid()}-", dir=place))


def _cpus() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

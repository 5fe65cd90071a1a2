"""One target on its way through the worker: a volume is one job, a sequence one for each of its frames."""

from __future__ import annotations

from collections.abc import Callable

from ..engine.client import Job

OnTarget = Callable[[str, str, float, str], None]  # node ID, state, share done, words
ENDS = ("failed", "cancelled", "done")  # what comes first is what a target with several jobs is called


class TargetRun:
    """
    :param onTarget: told how it fares: waiting, running, done, failed, cancelled.
    :param onEnded: called when the last of its jobs has ended.
    """

    def __init__(self, nodeID: str, count: int, onTarget: OnTarget, onEnded: Callable[[], None]) -> None:
        self.nodeID, self.count = nodeID, count
        self._onTarget, self._onEnded = onTarget, onEnded
        self._jobs: list[Job] = []
        self._outcomes: list[tuple[str, str]] = []
        onTarget(nodeID, "waiting", 0.0, "")

    @property
    def ended(self) -> bool:
        return len(self._outcomes) == self.count

    def add(self, job: Job) -> None:
        self._jobs.append(job)

    def cancel(self) -> None:
        """Stop what runs and what waits of it; within a second."""
        for job in reversed(self._jobs):
            job.cancel()

    def tell(self, fraction: float, words: str) -> None:
        """How far the running job is, 0..1."""
        self._onTarget(self.nodeID, "running", (len(self._outcomes) + fraction) / self.count, words)

    def end(self, outcome: str, words: str) -> None:
        """One job has ended."""
        self._outcomes.append((outcome, words))
        if self.ended:
            state, words = min(self._outcomes, key=lambda ended: ENDS.index(ended[0]))
            self._onTarget(self.nodeID, state, 1.0 if state == "done" else 0.0, words)
            self._onEnded()

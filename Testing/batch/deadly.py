"""The real work on each case, and some cases that are the death of who works on them."""

from __future__ import annotations

import os

from IrisSegmentLib.batch.cases import Case
from IrisSegmentLib.batch.outcome import Outcome
from IrisSegmentLib.batch.segmenting import Segmenting
from IrisSegmentLib.errors import IrisError


class Deadly(Segmenting):
    def do(self, case: Case) -> Outcome:
        if case.name.startswith("deadly"):
            os._exit(9)
        if case.name.startswith("faulty"):
            raise ValueError("a fault of the program")
        if case.name.startswith("full"):
            raise IrisError("The disk is full.")
        return super().do(case)

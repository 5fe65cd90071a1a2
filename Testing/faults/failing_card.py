"""Runs a worker as on a graphics card that fails: `python failing_card.py FILE -m MODULE ...`.

The card is that of `small_card`, with room enough; while FILE says "full" it has no memory left, and while FILE says
"lost" it is gone, each in PyTorch's own words.
"""

import runpy
import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "engine"))
from small_card import Card


class FailingCard(Card):
    """
    :param fate: the file that says how the card is.
    """

    def __init__(self, fate: Path) -> None:
        super().__init__(2**60)
        self._fate = fate

    def _take(self, count: int) -> None:
        try:
            fate = self._fate.read_text()
        except OSError:
            fate = ""
        if fate == "full":
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {count} bytes.")
        if fate == "lost":
            raise RuntimeError("CUDA error: unspecified launch failure")
        super()._take(count)


if __name__ == "__main__":
    script, file, flag, module, *arguments = sys.argv
    FailingCard(Path(file)).install()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)

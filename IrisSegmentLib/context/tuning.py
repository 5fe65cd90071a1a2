"""In-context tuning: the tokens of a preset are moved to suit scans whose segmentation is known; nothing else is.

Affinity keys and values stay, and so does the network. What is learned is one shift of the tokens per scale and class,
held near zero, and it is kept only when scans that it was not learned from gain by it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..network import Iris, Precision, TaskEmbeddings
from .preset import Reference

# Adam's rate grows by a constant factor from step to step: networks differ by orders of magnitude in how far a token
# must move to matter, and the looks in between tell when it is far enough.
RATES = (3e-3, 3e-1)
ANCHOR = 1e-2  # weight of the shift's mean square
GAIN = 0.001  # Dice: what scans held back must gain at least
EVERY = 10  # steps between two looks at what was held back

Shift = dict[str, tuple[Tensor, ...]]  # by level, per scale (K, m + 1, C)


@dataclass(frozen=True)
class View:
    """A scan as one level sees it.

    :param features: of the encoder, computed once.
    :param masks: (1, K, D, H, W), what its segmentation says.
    :param embeddings: what the preset says of the task without this very scan.
    """

    features: list[Tensor]
    masks: Tensor
    embeddings: TaskEmbeddings


Scan = Mapping[str, View]  # by level


@dataclass(frozen=True)
class Outcome:
    """
    :param shift: of the tokens; None when the scans held back did not gain.
    :param before, after: Dice of scans while they were held back, 0..1, mean over scans, levels and classes; after the
        number of steps that was best for it, which flatters it a little.
    :param steps: that number; scans: that were learned from.
    :param curve: that Dice every `EVERY` steps, from before the first.
    """

    shift: Shift | None
    before: float
    after: float
    steps: int
    scans: int
    curve: tuple[float, ...] = ()

    @property
    def words(self) -> str:
        """For the person, in one sentence."""
        if self.shift is None:
            return f"left as it was: scans held back did not gain by tuning ({self.before:.3f} Dice without)."
        return (
            f"tuned on {self.scans} scans in {self.steps} steps; "
            f"Dice of scans held back rose from {self.before:.3f} to {self.after:.3f}."
        )


def tuned(
    network: Iris,
    precision: Precision,
    scans: Sequence[Scan],
    steps: int,
    report: Callable[[float, str], None],
    watch: Callable[[Sequence[float]], None] = lambda curve: None,
) -> Outcome:
    """Learn a shift. Each half of the scans is held back once while the other is learned from; how long it is best to
    learn is read off both, then all scans are learned from for so long.

    :param scans: at least two.
    :param report: told the share done and what is being done; may raise to stop.
    :param watch: told the curve of each half as it grows: Dice of its scans held back, `EVERY` steps apart.
    """
    curves = torch.zeros(steps // EVERY + 1)
    for half in range(2):
        learned, held = scans[half::2], scans[1 - half :: 2]
        scores: list[float] = []

        def look(shift: Shift, step: int, held: Sequence[Scan] = held, scores: list[float] = scores) -> None:
            if step % EVERY == 0:
                scores.append(sum(_dice(network, precision, scan, shift) for scan in held))
                watch([score / len(held) for score in scores])

        def told(share: float, half: int = half, held: Sequence[Scan] = held, scores: list[float] = scores) -> None:
            words = f"Tuning, with {len(held)} of {len(scans)} scans held back: Dice {scores[-1] / len(held):.3f}"
            report((half + share) / 3, words)

        _learn(network, precision, learned, steps, steps, look, told)
        curves += torch.tensor(scores) / len(scans)
    best = int(curves.argmax())
    before, after, curve = float(curves[0]), float(curves[best]), tuple(curves.tolist())
    if after < before + GAIN:
        return Outcome(None, before, after, 0, len(scans), curve)
    last = best * EVERY
    words = f"Tuning with all {len(scans)} scans"
    shift = _learn(
        network, precision, scans, steps, last,
        lambda shift, step: None, lambda share: report((2 + share) / 3, words),
    )  # fmt: skip
    return Outcome(shift, before, after, last, len(scans), curve)


def same_scan(a: Reference, b: Reference) -> bool:
    """Whether two references are of one scan: what the network keeps of its cells, or of the task, is the same."""
    ours, theirs = a.levels["coarse"], b.levels["coarse"]
    pairs = [(ours.keys, theirs.keys)] if ours.keys is not None else list(zip(ours.tokens, theirs.tokens, strict=True))
    return all(
        x is not None and y is not None and x.shape == y.shape and torch.allclose(x.float(), y.float(), atol=1e-2)
        for x, y in pairs
    )


def moved(reference: Reference, shift: Shift) -> Reference:
    """A reference with its tokens shifted."""
    levels = dict(reference.levels) | {
        level: replace(kept, tokens=tuple((t + s.cpu()).half() for t, s in zip(kept.tokens, shift[level], strict=True)))
        for level, kept in reference.levels.items() if level in shift
    }  # fmt: skip
    return replace(reference, levels=levels)


def _learn(
    network: Iris,
    precision: Precision,
    scans: Sequence[Scan],
    steps: int,
    stop: int,
    look: Callable[[Shift, int], None],
    report: Callable[[float], None],
) -> Shift:
    """``stop`` of ``steps`` steps, one scan at both levels in each; ``look`` sees the shift before, between, after."""
    shift = {
        level: tuple(torch.zeros_like(t, requires_grad=True) for t in view.embeddings.tokens)
        for level, view in scans[0].items()
    }
    everything = [t for tensors in shift.values() for t in tensors]
    optimizer = torch.optim.Adam(everything, lr=RATES[0])
    order: list[int] = []
    drawn = random.Random(0)
    look(shift, 0)
    for step in range(stop):
        report(step / stop)
        if not order:
            order = list(range(len(scans)))
            drawn.shuffle(order)
        for group in optimizer.param_groups:
            group["lr"] = RATES[0] * (RATES[1] / RATES[0]) ** (step / steps)
        optimizer.zero_grad()
        scan = scans[order.pop()]
        for level, view in scan.items():
            _loss(_logits(network, precision, view, shift[level]), view.masks).backward()
        (ANCHOR * torch.stack([t.square().mean() for t in everything]).mean()).backward()
        optimizer.step()
        look(shift, step + 1)
    return {level: tuple(t.detach() for t in tensors) for level, tensors in shift.items()}


def _logits(network: Iris, precision: Precision, view: View, shift: Sequence[Tensor]) -> Tensor:
    own = view.embeddings
    tokens = [(t + s)[None] for t, s in zip(own.tokens, shift, strict=True)]
    with precision.autocast():
        logits = network.decode(
            view.features,
            tokens,
            None if own.keys is None else own.keys[None],
            None if own.values is None else own.values[None],
        )
    return logits.float()


def _loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy and 1 - Dice, mean over classes, of (1, K, D, H, W)."""
    return F.binary_cross_entropy_with_logits(logits, masks) + 1 - _overlap(logits.sigmoid(), masks).mean()


def _overlap(found: Tensor, masks: Tensor) -> Tensor:
    return (2 * (found * masks).sum((2, 3, 4)) + 1) / (found.sum((2, 3, 4)) + masks.sum((2, 3, 4)) + 1)


def _dice(network: Iris, precision: Precision, scan: Scan, shift: Shift) -> float:
    with torch.no_grad():
        found = [
            _overlap((_logits(network, precision, view, shift[level]) > 0).float(), (view.masks > 0.5).float()).mean()
            for level, view in scan.items()
        ]
    return float(torch.stack(found).mean())

"""The paper's inference strategies: each yields the preset that a target is segmented with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..context.bank import MemoryBank
from ..context.pool import Pool
from ..context.preset import Preset
from ..errors import IrisError
from ..imaging.volume import Volume
from .progress import Progress

if TYPE_CHECKING:
    from .engine import Engine

# References per class, where nothing else is asked for.
STRATEGIES = {
    "one-shot": 1,
    "ensemble": 3,
    "memory-bank": 0,
    "object-retrieval": 3,
    "image-retrieval": 3,
    "tuning": 5,
}


def check_strategy(strategy: str) -> None:
    """:raises IrisError: for a strategy that does not exist."""
    if strategy not in STRATEGIES:
        raise IrisError(f"There is no strategy '{strategy}'; choose one of {', '.join(STRATEGIES)}.")


def choose(
    engine: Engine,
    source: Preset | Pool | MemoryBank,
    strategy: str,
    image: Volume | None,
    segments: Sequence[str] | None,
    count: int | None,
    seed: int | str,
    progress: Progress,
) -> Preset:
    """As `Engine.choose`."""
    check_strategy(strategy)
    if isinstance(source, Preset):
        return _of_preset(source, strategy)
    if isinstance(source, MemoryBank):
        if strategy != "memory-bank":
            raise IrisError(f"The strategy '{strategy}' does not work with a memory bank; choose memory-bank.")
        return source.preset(segments)
    names = list(segments or source.segments)
    count = STRATEGIES[strategy] if count is None else count
    if not names:
        raise IrisError("The pool is empty; add references to it first.")
    if strategy in ("one-shot", "ensemble"):
        chosen = source.drawn(names, count, seed)
    elif strategy in ("object-retrieval", "image-retrieval"):
        assert image is not None, "retrieval is for a target"
        chosen = retrieved(engine, source, strategy, image, names, count, seed, progress)
    else:
        raise IrisError(f"The strategy '{strategy}' does not work with a pool of references; choose another.")
    return source.preset(chosen, names[0] if len(names) == 1 else f"{len(names)} segments")


def retrieved(
    engine: Engine,
    pool: Pool,
    strategy: str,
    image: Volume,
    names: Sequence[str],
    count: int,
    seed: int | str,
    progress: Progress | None = None,
) -> dict[str, list[int]]:
    """Per class, the entries of a pool that resemble a target most: ``object-retrieval`` or ``image-retrieval``.

    :raises IrisError: when the pool has too little.
    """
    by_class = strategy == "object-retrieval"
    return (_by_class if by_class else _by_scan)(engine, pool, image, names, count, seed, progress or Progress())


def _of_preset(preset: Preset, strategy: str) -> Preset:
    if strategy == "one-shot":
        return replace(preset, references=preset.enabled()[:1])
    if strategy == "ensemble" or (strategy == "tuning" and preset.tuning is not None):
        return preset
    if strategy == "tuning":
        raise IrisError(f"The preset '{preset.name}' has not been tuned; tune it first.")
    raise IrisError(f"The strategy '{strategy}' does not work with a preset; give it a pool or a bank.")


def _by_class(
    engine: Engine, pool: Pool, image: Volume, names: Sequence[str], count: int, seed: int | str, progress: Progress
) -> dict[str, list[int]]:
    """Per class its own references: the first answer, by a random one, is encoded as if it were a reference itself and
    compared with the pool class by class. A class that the first answer lacks goes by the whole scan."""
    first = pool.preset(pool.drawn(names, 1, seed), "the first answer")
    found = engine.segment(image, first, progress=progress.part(0.0, 0.5))
    shown = [n for n, volume in enumerate(found.volumes_ml) if volume > 0]
    vectors = {}
    if shown:
        progress.report(0.5, "Looking at the first answer")
        own = engine.class_vectors(image, found.segmentation.only(shown))
        vectors = {names[n]: own[place] for place, n in enumerate(shown)}
    progress.report(0.9, "Choosing the references that resemble it")
    return {
        name: pool.nearest(name, vectors[name], count)
        if name in vectors
        else pool.nearest_scans(name, engine.scan_vector(image), count)
        for name in names
    }


def _by_scan(
    engine: Engine, pool: Pool, image: Volume, names: Sequence[str], count: int, seed: int | str, progress: Progress
) -> dict[str, list[int]]:
    """Those whose whole scan resembles the target's: the same for all classes, as far as they show them."""
    progress.report(0.1, "Choosing the references that resemble it")
    vector = engine.scan_vector(image)
    return {name: pool.nearest_scans(name, vector, count) for name in names}

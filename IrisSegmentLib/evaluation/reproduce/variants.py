"""Networks trained for a comparison: the same budget by the clock, the same seed, and one thing different.

They are trained by the training loop itself, each in a folder that is named by what was asked of it: an interrupted
training goes on, and results that need the same network share it. From random weights plain tasks and rough looks teach
faster (Testing/records), so that a short run says more.
"""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...context.preset import write_whole
from ...engine import Engine
from ...errors import IrisError
from ...network import CONFIGS, NetworkConfig
from ...training.arguments import add_train_arguments
from ...training.loop import Trainer
from ...training.mixture import SHARES, SOURCES
from .measure import digest
from .request import Request

LEARNING = ("--rough", "0.8", "--without", *SHARES)


@dataclass(frozen=True)
class Variant:
    """
    :param name: what a picture calls it.
    :param config: with a name of its own.
    :param sets: folder names of the sets to train on.
    """

    name: str
    config: NetworkConfig
    sets: tuple[str, ...]


@dataclass(frozen=True)
class Trained:
    variant: Variant
    engine: Engine
    steps: int


def varied(request: Request, name: str, sets: Sequence[str], **switches: object) -> Variant:
    """The request's configuration with some switches set otherwise.

    :raises IrisError: for a configuration that does not exist.
    """
    if request.configuration not in CONFIGS:
        raise IrisError(f"There is no network '{request.configuration}'; choose one of {', '.join(CONFIGS)}.")
    config = replace(CONFIGS[request.configuration], **switches)  # type: ignore[arg-type]
    if config != CONFIGS[request.configuration]:
        config = replace(config, name=f"{request.configuration} {' '.join(f'{k}={v}' for k, v in switches.items())}")
    return Variant(name, config, tuple(sets))


def trained(request: Request, variant: Variant) -> Trained:
    """The variant after ``request.hours`` of training, from its folder if it is there already.

    :raises IrisError: when no hours were given, or no set is left to train on.
    """
    if request.hours <= 0:
        raise IrisError("This compares networks trained for it; give each some time, such as --hours 0.25.")
    if not variant.sets:
        raise IrisError(f"No set is left to train '{variant.name}' on; give --data with sets of several anatomies.")
    asked = {
        "config": variant.config.to_json(), "sets": sorted(variant.sets), "hours": request.hours, "seed": request.seed,
        "learning": LEARNING,
    }  # fmt: skip
    folder = request.output / "runs" / f"{variant.config.name} {len(variant.sets)} sets {digest(asked)}"
    done = folder / "done.json"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(done, json.dumps({"asked": asked, "steps": _train(request, variant, folder)}).encode())
    steps = int(json.loads(done.read_text())["steps"])
    return Trained(variant, Engine(folder / "average.safetensors", request.device), steps)


def training_sets(request: Request, without: Sequence[str] = ()) -> list[str]:
    """Folder names of the sets that the training loop knows, also those without images, which come last."""
    known = {s.folder.name: True for s in request.sets}
    known.update({p.parent.name: False for p in request.data.glob("*/dataset.json") if p.parent.name not in known})
    names = [n for n in sorted(known, key=lambda n: (not known[n], n)) if n in SOURCES and n not in without]
    return names if any(known[n] for n in names) else []


def budget_of(request: Request, networks: Sequence[Trained]) -> str:
    """For a picture's words: what each got, and that one run each says nothing of the next."""
    steps = [t.steps for t in networks]
    return (
        f"Equal budgets by the clock: '{request.configuration}' trained {request.hours:g} h each on one machine "
        f"({min(steps)} to {max(steps)} steps), seed {request.seed}, by plain tasks and first by rough looks; one run "
        "each: bars know nothing of other runs. The paper: 80,000 iterations of 32."
    )


def hashes_of(networks: Sequence[Trained]) -> str:
    """For a picture's words: which networks, in the order in which it shows them."""
    return ", ".join(t.engine.network.hash[:8] for t in networks)


def _train(request: Request, variant: Variant, folder: Path) -> int:
    """Train in ``folder``; gives the number of steps.

    :raises KeyboardInterrupt: when the training was stopped before its time; its checkpoint was written.
    """
    CONFIGS[variant.config.name] = variant.config  # the loop builds networks by name
    parser = argparse.ArgumentParser()
    add_train_arguments(parser)
    arguments = parser.parse_args([
        "--data", str(request.data), "--output", str(folder), "--hours", str(request.hours),
        "--network", variant.config.name, "--seed", str(request.seed), *LEARNING, "--sets", *variant.sets,
    ])  # fmt: skip
    print(f"training '{variant.name}' on {', '.join(variant.sets)} for {request.hours:g} h", flush=True)
    before = signal.getsignal(signal.SIGTERM)
    trainer = Trainer(arguments)
    try:
        trainer.train()
    finally:
        signal.signal(signal.SIGTERM, before)
    if trainer.seconds < request.hours * 3600:
        raise KeyboardInterrupt
    return trainer.step

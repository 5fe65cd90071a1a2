"""What several commands have in common."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import IrisError

if TYPE_CHECKING:
    from ..engine import Engine
    from ..engine.served import ServedEngine

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
STRATEGIES = "one-shot, ensemble, memory-bank, object-retrieval, image-retrieval or tuning"


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """What computes."""
    parser.add_argument("--network", type=Path, metavar="FILE", help="a network file (default: the bundled one)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="(default: auto)")


def add_measuring_arguments(parser: argparse.ArgumentParser) -> None:
    """What is measured on, and where the report goes: `check_report` before it is made, `write_report` after."""
    parser.add_argument("--data", type=Path, required=True, help="a folder with a dataset.json, or a folder of such")
    parser.add_argument("--split", default="test", help="which cases are targets: train, val or test (default: test)")
    parser.add_argument("--limit", type=int, help="only the first cases of the split")
    parser.add_argument("--json", type=Path, help="write every number here")


def check_report(path: Path | None) -> None:
    """:raises IrisError: when the folder that it would lie in is not there."""
    if path is not None:
        must_be_folder(path.parent)


def write_report(path: Path | None, words: dict[str, Any]) -> None:
    """:raises IrisError: when it cannot be written."""
    if path is not None:
        from ..context.preset import write_whole

        write_whole(path, json.dumps(words, indent=1).encode())


def engine_of(options: argparse.Namespace) -> Engine | ServedEngine:
    """Of this computer, or of the server that was named: naming it is the consent to send scans there."""
    from ..engine import Engine

    if options.server is None:
        return Engine(options.network, options.device)
    if options.network is not None or options.device != "auto":
        raise IrisError("A server has a network and a device of its own; leave --network and --device out.")
    from ..engine.elsewhere import Server, token_of
    from ..engine.served import ServedEngine

    return ServedEngine(Server(options.server, token_of(options.token_file), options.server_certificate))


def must_be_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise IrisError(f"The folder '{folder}' does not exist; make it first.")

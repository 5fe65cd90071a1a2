"""The authors' public checkpoint becomes a network file."""

from __future__ import annotations

import argparse
from pathlib import Path

from .shared import Verbs, must_be_folder


def add(verbs: Verbs) -> None:
    parser = verbs.add_parser("import-public", help="make a network file of the authors' public checkpoint")
    parser.add_argument("checkpoint", type=Path, help="mass_base.pth, from the authors' page")
    parser.add_argument("--output", type=Path, metavar="FILE", help="(default: beside it, NAME.safetensors)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..network.public import import_public
    from ..network.weights import file_hash

    output = options.output or options.checkpoint.with_suffix(".safetensors")
    must_be_folder(output.parent)
    network = import_public(options.checkpoint, output)
    print(f"{output}: {sum(p.numel() for p in network.parameters()):,} parameters ({network.config.name})")
    print(f"sha256 of {options.checkpoint.name}: {file_hash(options.checkpoint)}")
    print(f"sha256 of {output.name}: {file_hash(output)}")
    print(f"Use it with --network {output}; it needs a GPU to be quick.")

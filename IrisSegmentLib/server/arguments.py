"""The arguments of `irissegment serve` and of its users, apart from the work so that asking for help needs nothing."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `irissegment serve`, without those that every verb has."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this computer alone)")
    parser.add_argument("--port", type=int, default=8765, help="(default: 8765)")
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="for TLS, needed for other computers (PEM)")
    parser.add_argument("--key", type=Path, metavar="FILE", help="of the certificate (PEM)")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE",
        help="what clients must know (default: from IRISSEGMENT_TOKEN, else one is made and shown)",
    )  # fmt: skip
    parser.add_argument(
        "--largest", type=float, default=4.0, metavar="GB", help="that the scans of one job take (default: 4)"
    )


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Where a verb computes instead of here."""
    parser.add_argument("--server", metavar="ADDRESS", help="compute there: sends voxels, never names; https://HOST:PORT")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="of the server (default: IRISSEGMENT_TOKEN)")
    parser.add_argument("--server-certificate", type=Path, metavar="FILE", help="of the server, if it made its own")

"""Packages that only archives need, and how to come by them."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import IrisError


def needs(package: str) -> None:
    """:raises IrisError: when a package is not installed."""
    if find_spec(package) is None:
        raise IrisError(f"This needs the package '{package}'; install it with: pip install {package}.")

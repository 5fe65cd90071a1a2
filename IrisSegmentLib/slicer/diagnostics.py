"""What helps to find a fault on another computer: versions, device, network, late failures. No names, no paths."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from importlib import metadata

import slicer

from .. import __version__
from . import settings

PACKAGES = ("torch", "monai", "safetensors", "numpy", "SimpleITK", "vtk")


def diagnostics(failures: Iterable[str]) -> str:
    """A text for a report.

    :param failures: sentences that told of failures; what they quote is left out, for it may name a patient.
    """
    lines = [
        f"IrisSegment {__version__}",
        f"{slicer.app.applicationName} {slicer.app.majorVersion}.{slicer.app.minorVersion}",
        f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} processors",
        f"Python {platform.python_version()}",
        *(f"{name} {_version(name)}" for name in PACKAGES),
        f"Network: {settings.networkWords() or 'bundled'}",
        f"Device: {settings.device() if settings.server() is None else 'a server'}",
        f"Strategy: {settings.strategy()}",
        "Failures, the latest last:",
        *(f"  {_withoutNames(sentence)}" for sentence in failures),
    ]
    return "\n".join(lines)


def _version(package: str) -> str:
    """Asked of the installer's records: importing a large package takes seconds."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _withoutNames(sentence: str) -> str:
    """All from the first quote to the last goes: a name may hold a quote itself."""
    return re.sub("'.*'", "'...'", sentence)

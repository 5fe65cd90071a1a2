"""What the module needs besides Slicer, installed only when a person agrees."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import slicer

from ..errors import IrisError

REQUESTER = "IrisSegment"
TORCH = ">=2.10"  # older ones let a checkpoint run code: CVE-2026-24747


def missingPackages() -> list[str]:
    """Names of the needed packages that are not there; looks, but imports nothing."""
    return [name for name in ("torch", "monai", "safetensors") if importlib.util.find_spec(name) is None]


def ensurePackages(requirements: Path) -> None:
    """Ask, then install what is missing: torch by the PyTorch extension, which knows the computer's GPU, the rest by
    Slicer's own packaging.

    :raises IrisError: when the person declines or the installation fails.
    """
    if not missingPackages():
        return
    if "torch" in missingPackages():
        _installTorch()
    try:
        _installOthers(requirements)
    except RuntimeError as error:
        raise IrisError("IrisSegment needs a few Python packages to compute; agree to install them.") from error
    if missing := ", ".join(missingPackages()):
        raise IrisError(f"These packages could not be installed: {missing}; see the log and try again.")


def _installTorch() -> None:
    try:
        import PyTorchUtils
    except ModuleNotFoundError as error:
        raise IrisError(
            "IrisSegment computes with PyTorch; install the extension 'PyTorch' in the Extensions Manager, "
            "restart Slicer and try again."
        ) from error
    if PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=TORCH) is None:
        raise IrisError("IrisSegment cannot compute without PyTorch; click again and agree to install it.")


def _installOthers(requirements: Path) -> None:
    try:
        import slicer.packaging
    except ModuleNotFoundError:
        _installByHand(requirements)
        return
    slicer.packaging.pip_ensure(slicer.packaging.load_requirements(str(requirements)), requester=REQUESTER)


def _installByHand(requirements: Path) -> None:
    """For Slicer before 5.11, which has no packaging module."""
    names = [line.strip() for line in requirements.read_text().splitlines() if line.strip() and line[0] != "#"]
    if not slicer.util.confirmOkCancelDisplay(f"IrisSegment needs to install: {', '.join(names)}. Install now?"):
        raise IrisError("IrisSegment needs these packages to compute; click again and agree to install them.")
    slicer.util.pip_install(" ".join(f'"{name}"' for name in names))

"""What a person chose for this computer, in Slicer's settings: the network, and the device or server that computes.

Imports nothing heavy: the panel shows these before anything was installed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import qt
import slicer

from ..errors import IrisError

GROUP = "IrisSegment/"
DEVICES = ("auto", "cpu", "cuda")
STRATEGIES = ("ensemble", "one-shot", "object-retrieval", "image-retrieval", "memory-bank")


def personalFolder() -> Path:
    """The person's own folder, beside Slicer's settings; it survives upgrades."""
    return Path(slicer.app.slicerUserSettingsFilePath).parent / "IrisSegment"


def networkFolder() -> Path:
    """Where downloaded and converted networks are kept."""
    return personalFolder() / "Networks"


def presetFolder() -> Path:
    """Where presets are kept; it is made when it is not there."""
    folder = personalFolder() / "Presets"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def hasPresets() -> bool:
    """Whether presets are kept, or were deleted and may be wanted back."""
    return (personalFolder() / "Presets").is_dir() and any((personalFolder() / "Presets").iterdir())


def network() -> Path | None:
    """The file of the chosen network, or None for the bundled one."""
    path = str(qt.QSettings().value(GROUP + "network", "") or "")
    return Path(path) if path else None


def networkWords() -> str:
    """What the panel calls the chosen network; empty for the bundled one."""
    return str(qt.QSettings().value(GROUP + "networkWords", "") or "")


def useNetwork(path: Path | None, words: str = "") -> None:
    """Choose a network from the next click on; None for the bundled one."""
    qt.QSettings().setValue(GROUP + "network", str(path) if path else "")
    qt.QSettings().setValue(GROUP + "networkWords", words)


def device() -> str:
    """``auto``, ``cpu`` or ``cuda``."""
    chosen = str(qt.QSettings().value(GROUP + "device", "auto"))
    return chosen if chosen in DEVICES else "auto"


def useDevice(chosen: str) -> None:
    """Compute on this computer."""
    qt.QSettings().setValue(GROUP + "device", chosen)
    qt.QSettings().setValue(GROUP + "place", "here")


def knownServer() -> tuple[str, str, Path | None] | None:
    """Address, token and certificate file of the server that scans may be sent to, or None when there is none."""
    address = str(qt.QSettings().value(GROUP + "server", "") or "")
    certificate = str(qt.QSettings().value(GROUP + "serverCertificate", "") or "")
    try:
        token = _tokenFile().read_text().strip()
    except OSError:
        token = ""
    return (address, token, Path(certificate) if certificate else None) if address and token else None


def server() -> tuple[str, str, Path | None] | None:
    """As `knownServer`, when it is to compute; None for this computer."""
    return knownServer() if qt.QSettings().value(GROUP + "place", "here") == "server" else None


def useServer() -> None:
    """Compute on the known server."""
    qt.QSettings().setValue(GROUP + "place", "server")


def keepServer(address: str, token: str, certificate: Path | None) -> None:
    """Of which a person said that scans may be sent there. The token is kept in a file that only this user can read.

    :raises IrisError: when it cannot be written.
    """
    path = _tokenFile()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # it may be there for others to read
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token)
    except OSError as error:
        raise IrisError(f"'{path}' could not be written ({error.strerror}); make room there.") from error
    qt.QSettings().setValue(GROUP + "server", address)
    qt.QSettings().setValue(GROUP + "serverCertificate", str(certificate) if certificate else "")


def _tokenFile() -> Path:
    return personalFolder() / "server.token"


def strategy() -> str:
    """How references are put to use, one of `engine.strategies.STRATEGIES`."""
    chosen = str(qt.QSettings().value(GROUP + "strategy", "ensemble"))
    return chosen if chosen in STRATEGIES else "ensemble"


def useStrategy(chosen: str) -> None:
    qt.QSettings().setValue(GROUP + "strategy", chosen)


def strategySource() -> Path | None:
    """The pool or memory bank that some strategies take their references from, or None."""
    path = str(qt.QSettings().value(GROUP + "strategySource", "") or "")
    return Path(path) if path else None


def useStrategySource(path: Path) -> None:
    qt.QSettings().setValue(GROUP + "strategySource", str(path))


def hasDownloads() -> bool:
    return networkFolder().is_dir() and any(networkFolder().iterdir())


def removeDownloads() -> None:
    """Remove every downloaded network; when it was in use, the bundled one is from now on.

    :raises IrisError: when a file cannot be removed.
    """
    chosen = network()
    if chosen is not None and networkFolder() in chosen.parents:
        useNetwork(None)
    try:
        shutil.rmtree(networkFolder())
    except FileNotFoundError:
        pass
    except OSError as error:
        raise IrisError(f"'{networkFolder()}' could not be removed ({error.strerror}); try again.") from error

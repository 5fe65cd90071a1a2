"""The private folder through which scans pass to the worker, gone when it is no longer needed, even after a crash."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

try:
    import fcntl
except ImportError:  # on Windows, where the person's temporary folder is private already, and is left as it is
    fcntl = None  # type: ignore[assignment]

PREFIX = "irissegment-"
FRESH = "irissegment."  # begins the name of a folder until its owner's lock is on it


class ExchangeFolder:
    """Made at the first use, readable by this user alone, and locked as long as this process lives."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._lock: int | None = None

    @property
    def gone(self) -> bool:
        """Whether it was made, and someone else removed it."""
        return self._path is not None and not self._path.is_dir()

    def path(self) -> Path:
        """
        :raises OSError: when it cannot be made.
        """
        if self._path is None or self.gone:
            self.remove()
            _remove_abandoned()
            made = Path(tempfile.mkdtemp(prefix=FRESH))
            self._lock = _locked(made)
            self._path = made.rename(made.with_name(PREFIX + made.name.removeprefix(FRESH)))
        return self._path

    def clear(self, pattern: str) -> None:
        """Remove the files of one job."""
        for path in self._path.glob(pattern) if self._path is not None else ():
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """With all that is in it."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            self._path = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _locked(folder: Path) -> int | None:
    """A handle that holds a folder's lock until it is closed or its process ends; None when another has it."""
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _remove_abandoned() -> None:
    """Folders of this user whose process ended without removing them: a patient's scan must not stay behind."""
    if fcntl is None:
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            found = folder.lstat()
            if not folder.is_dir() or folder.is_symlink() or found.st_uid != os.getuid():
                continue
            if not _ours(folder):
                continue
            lock = _locked(folder)
        except OSError:
            continue
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _ours(folder: Path) -> bool:
    """Whether it holds what passes through an exchange folder, and nothing else."""
    return all(path.suffix in (".npy", ".iris", ".part") for path in folder.iterdir())

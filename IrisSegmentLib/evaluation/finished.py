"""Cases that are done, one JSON line each in a file beside the report, so that an interrupted run goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..context.preset import write_whole
from ..errors import IrisError

Found = dict[str, Any]  # what one case gave, ready for JSON


class Finished:
    """
    :param path: the file; None keeps nothing beyond this process.
    :param run: what the numbers hang on (network, split, strategy, seed, ...). The file's first line says it.
    :raises IrisError: when the file was written by another run: its cases must not be mixed with these, and hours of
        work are not thrown away unasked.
    """

    def __init__(self, path: Path | None, run: dict[str, Any]) -> None:
        self._path, self._run = path, run
        self._found: dict[tuple[str, str], Found] = {}
        if path is not None and path.exists():
            self._read(path)

    def __len__(self) -> int:
        return len(self._found)

    def get(self, name: str, case: str) -> Found | None:
        """What a case of a set gave, or None when it is still to be done."""
        return self._found.get((name, case))

    def add(self, name: str, case: str, found: Found) -> None:
        """:raises IrisError: when the file cannot be written to."""
        self._found[name, case] = found
        if self._path is None:
            return
        try:
            new = not self._path.exists()
            with self._path.open("a") as file:
                if new:
                    file.write(json.dumps(self._run) + "\n")
                file.write(json.dumps({"set": name, "case": case, **found}) + "\n")
        except OSError as error:
            raise IrisError(f"'{self._path}' could not be written ({error.strerror}); choose another.") from error

    def remove(self) -> None:
        """The report is written: the file is no longer needed."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _read(self, path: Path) -> None:
        lines = path.read_text().splitlines(keepends=True)
        if not "".join(lines[:1]).endswith("\n"):  # the process died before its first case was done
            path.unlink()
            return
        if _parsed(lines[0]) != self._run:
            raise IrisError(
                f"'{path}' holds an interrupted run of another network, split, strategy, seed or tolerance; "
                "finish that run with the arguments it was started with, or delete the file."
            )
        whole = [lines[0]]
        for line in lines[1:]:
            words = _parsed(line)
            if words is None:  # the process died while it wrote its last line
                break
            whole.append(line)
            self._found[words.pop("set"), words.pop("case")] = words
        if len(whole) < len(lines):
            write_whole(path, "".join(whole).encode())


def _parsed(line: str) -> Any:
    """The line's JSON, or None for a line that was cut short."""
    try:
        return json.loads(line) if line.endswith("\n") else None
    except ValueError:
        return None

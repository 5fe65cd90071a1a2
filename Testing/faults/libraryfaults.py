"""Faults around files that a person keeps: the preset library, and every kind of file that we read."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from faults.fuzz import kinds as kinds_of_files
from faults.fuzz import mutated
from faults.judging import HANG, Outcome, SmallDisk, hashes, patience, unhelpful

from IrisSegmentLib.context.library import PresetLibrary
from IrisSegmentLib.context.preset import Preset, now
from IrisSegmentLib.errors import IrisError

ROOT = Path(__file__).resolve().parents[2]
YEARS = 3e7  # seconds, about one


class LibraryWorld:
    """A person's folder of presets and scans, and a second Slicer on it, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "made").mkdir()
        self.files = kinds_of_files(folder / "made")
        self.outside = folder / "outside.bin"
        self.outside.write_bytes(b"\x07" * 16)
        self.preset = Preset.load(folder / "made" / "good.iris")
        self.disk = SmallDisk(folder / "disk", 2)
        self.library = folder / "library"
        self.other: subprocess.Popen[str] | None = None
        self.kinds: dict[str, Callable[[random.Random], Outcome]] = {
            f"{kind.name} cut or forged": lambda drawn, kind=kind: self.damaged(kind, drawn) for kind in self.files
        } | {
            "two Slicers on a library": self.two, "library in a file's place": self.blocked,
            "library's disk full": self.full, "library's clock changed": self.clock,
            "library's folder removed": self.removed, "preset of the library damaged": self.spoiled,
        }  # fmt: skip

    def damaged(self, kind, drawn: random.Random) -> Outcome:
        """A file that a person opens; what is wrong with it must not spread."""
        inside = self.folder / "inside"
        inside.mkdir(exist_ok=True)
        path = inside / kind.name
        path.write_bytes(mutated(kind.good, drawn))
        before = hashes(inside)
        outcome = Outcome("taken")
        started = time.process_time()
        try:
            kind.read(path, drawn)
        except IrisError as error:
            outcome.ended, outcome.said = "refused", [str(error)]
        except Exception as error:
            outcome.wrong.append(f"{type(error).__name__}: {error}")
        if time.process_time() - started > HANG:
            outcome.wrong.append(f"took {time.process_time() - started:.0f} s")
        if hashes(inside) != before or self.outside.read_bytes() != b"\x07" * 16:
            outcome.wrong.append("files changed")
        if kind.name != "dataset.json":  # the next click, on a good one
            path.write_bytes(kind.good)
            with suppress(IrisError) if kind.name in ("x.nhdr", "x.mhd") else _nothing():  # these point outside
                kind.read(path, drawn)
        path.unlink()
        outcome.wrong += unhelpful(outcome.said)
        return outcome

    def two(self, drawn: random.Random) -> Outcome:
        """Both act at once; what was not deleted is there and whole."""
        if self.other is None:
            command = [sys.executable, str(Path(__file__)), str(self.folder)]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "Testing")])}
            self.other = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
            assert self.other.stdout is not None and self.other.stdout.readline() == "ready\n"
        assert self.other.stdin is not None and self.other.stdout is not None
        seed, together = drawn.random(), self.folder / f"together-{drawn.random()}"
        print(seed, together, file=self.other.stdin, flush=True)
        made, said = act(self.preset, together, random.Random(f"{seed} own"), "own")
        others, told = json.loads(self.other.stdout.readline())
        there = len(list(together.glob("*.iris"))) + len(list(together.glob(".deleted/*.iris")))
        outcome = Outcome("done", [*said, *told])
        outcome.wrong = [*unhelpful(outcome.said), *_unclean(together)]
        if there < made + others:  # what one renames while the other deletes it may be there twice
            outcome.wrong.append(f"{made + others - there} of {made + others} presets were lost")
        shutil.rmtree(together)
        return outcome

    def blocked(self, drawn: random.Random) -> Outcome:
        """A file lies where the folder should be: what a folder that cannot be written to is like to anyone."""
        shutil.rmtree(self.library, ignore_errors=True)
        self.library.write_bytes(b"a letter")
        outcome = self._refused(drawn)
        if self.library.read_bytes() != b"a letter":
            outcome.wrong.append("the file was harmed")
        self.library.unlink()
        return self._next(outcome)

    def removed(self, drawn: random.Random) -> Outcome:
        """The folder goes away between two steps."""
        library = PresetLibrary(self.library)
        path = library.save(self._new())
        shutil.rmtree(self.library)
        return self._next(_tried(lambda: drawn.choice(_steps(library, path))()))

    def full(self, drawn: random.Random) -> Outcome:
        """No room for one more preset, or for none at all."""
        if not self.disk.real:
            return Outcome("not possible here")
        folder = self.disk.folder / "library"
        library = PresetLibrary(folder)
        path = library.save(self._new())
        self.disk.fill(drawn.choice([0, 4096, path.stat().st_size // 2 // 4096 * 4096]))
        before = hashes(folder)
        outcome = _tried(lambda: drawn.choice(_steps(library, path)[:4])())
        if outcome.ended != "done" and hashes(folder) != before:
            outcome.wrong.append("presets changed")
        outcome.wrong += _unclean(folder)
        self.disk.empty()
        outcome = _also(outcome, _tried(lambda: library.save(self._new())))
        shutil.rmtree(folder)
        return outcome

    def clock(self, drawn: random.Random) -> Outcome:
        """Years forth and back between steps: what is kept, and which comes back first, hangs on no clock."""
        shutil.rmtree(self.library, ignore_errors=True)
        library, real = PresetLibrary(self.library), time.time
        outcome = Outcome("done")
        try:
            names = []
            for number in range(3):
                jump = drawn.choice([-50, -1, 0, 1, 50]) * YEARS
                time.time = lambda jump=jump: real() + jump
                path = library.save(replace(self._new(), name=f"preset {number}"))
                os.utime(path, (drawn.choice([0, 2**31]),) * 2)
                if Preset.load(path).notes != library.at(path).preset.notes:
                    outcome.wrong.append("an older state is shown")
                path = library.annotate(path, _word(drawn))
                os.utime(path, (0, 0))
                if Preset.load(path).notes != library.at(path).preset.notes:
                    outcome.wrong.append("an older state is shown")
                path = library.annotate(path, _word(drawn))
                os.utime(path, (0, 0))
                if Preset.load(path).notes != library.at(path).preset.notes:
                    outcome.wrong.append("an older state is shown")
                library.delete(path)
                names.append(path.name)
            back = [library.undo().name for _ in names]
            if back != names[::-1]:
                outcome.wrong.append(f"deleted {names}, came back {back}")
        finally:
            time.time = real
        return self._next(outcome)

    def spoiled(self, drawn: random.Random) -> Outcome:
        """One preset of the library is damaged on disk; the others are shown, and it is left as it is."""
        shutil.rmtree(self.library, ignore_errors=True)
        library = PresetLibrary(self.library)
        path, whole = library.save(self._new()), library.save(replace(self._new(), name="another"))
        path.write_bytes(mutated(path.read_bytes(), drawn))
        spoiled = path.read_bytes()
        if not any(kept.path == whole for kept in library.presets()):
            path.unlink()
            return Outcome("hidden", wrong=["one damaged preset hides the others"])
        outcome = _tried(lambda: library.at(path))
        if path.read_bytes() != spoiled:
            outcome.wrong.append("it was changed")
        path.unlink()
        return self._next(outcome)

    def close(self) -> list[str]:
        if self.other is None:
            return []
        assert self.other.stdin is not None
        self.other.stdin.close()
        return [] if self.other.wait(patience(HANG)) == 0 else ["the second Slicer ended with an error"]

    def _refused(self, drawn: random.Random) -> Outcome:
        library = PresetLibrary(self.library)
        save, take = lambda: library.save(self.preset), lambda: library.take(self.folder / "made" / "good.iris")
        outcome = _tried(drawn.choice([save, take]))
        if outcome.ended != "refused":
            outcome.wrong.append("it was not refused")
        if library.presets() or library.can_undo:
            outcome.wrong.append("there are presets where there is no folder")
        return outcome

    def _next(self, outcome: Outcome) -> Outcome:
        """The next click."""
        new, library = self._new(), PresetLibrary(self.library)
        outcome = _also(outcome, _tried(lambda: library.save(new)))
        if new.notes not in [kept.preset.notes for kept in library.presets()]:
            outcome.wrong.append("the next click kept nothing")
        outcome.wrong += _unclean(self.library)
        return outcome

    def _new(self) -> Preset:
        """One that is no earlier state of another."""
        return replace(self.preset, created=f"{now()} {time.monotonic_ns()}", notes=_word(random.Random()))


def act(preset: Preset, folder: Path, drawn: random.Random, who: str) -> tuple[int, list[str]]:
    """Ten steps of one Slicer on a library that another uses as well; how many presets it made, and what a person
    read."""
    library, made, said = PresetLibrary(folder), 0, []
    for number in range(10):
        paths = library.paths()
        name = drawn.choice(["liver", "spleen", "left kidney"])
        new = replace(preset, name=name, created=f"{now()} {who} {number}")
        steps: list[tuple[int, Callable[[], object]]] = [(1, lambda new=new: library.save(new))] * 2
        if paths:
            path = drawn.choice(paths)
            steps += [
                (0, lambda path=path, name=name: library.rename(path, name)),
                (0, lambda path=path, number=number: library.annotate(path, f"{who} {number}")),
                (0, lambda path=path: library.delete(path)),
                (1, lambda path=path: library.duplicate(path)),
            ]
        if library.can_undo:
            steps += [(0, library.undo)]
        count, step = drawn.choice(steps)
        try:
            step()
            made += count
        except IrisError as error:
            said.append(str(error))
    return made, said


def _word(drawn: random.Random) -> str:
    """Always as long, so that no file's size tells one from another."""
    return "".join(drawn.choices("abcdefghijklmnopqrstuvwxyz", k=12))


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _steps(library: PresetLibrary, path: Path) -> list[Callable[[], object]]:
    """What a person may do with a preset; the first four write a file."""
    preset = Preset.load(path)
    return [
        lambda: library.save(replace(preset, created="another time")), lambda: library.duplicate(path),
        lambda: library.annotate(path, "note"), lambda: library.rename(path, "other"), lambda: library.delete(path),
        library.undo,
    ]  # fmt: skip


def _tried(step: Callable[[], object]) -> Outcome:
    try:
        step()
    except IrisError as error:
        return Outcome("refused", [str(error)], unhelpful([str(error)]))
    except Exception as error:
        return Outcome("failed", wrong=[f"{type(error).__name__}: {error}"])
    return Outcome("done")


def _also(outcome: Outcome, after: Outcome) -> Outcome:
    """With the next click, which must work."""
    if after.ended != "done":
        outcome.wrong += [f"the next click failed: {after.said}", *after.wrong]
    return outcome


def _unclean(folder: Path) -> list[str]:
    """Half-written files, and presets that are not whole."""
    wrong = []
    for path in (p for p in folder.rglob("*") if p.is_file()):
        if path.suffix != ".iris":
            wrong.append(f"left behind: {path.name}")
            continue
        try:
            Preset.load(path)
        except IrisError as error:
            wrong.append(f"half-written: {error}")
    return wrong


if __name__ == "__main__":
    kept = Preset.load(Path(sys.argv[1]) / "made" / "good.iris")
    print("ready", flush=True)
    for line in sys.stdin:
        seed, together = line.rstrip("\n").split(" ", 1)
        print(json.dumps(act(kept, Path(together), random.Random(f"{seed} other"), "other")), flush=True)

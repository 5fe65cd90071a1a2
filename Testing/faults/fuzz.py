"""Files from strangers, damaged and forged in random ways, into everything that reads files.

    python Testing/faults/fuzz.py --count 100000 --json runs/fuzz.json

Every input starts from a real file that this program wrote: a preset, a memory bank, a pool, a network, scans and
segmentations of every format, DICOM too, a labelled set's description, arrays and lines between client and worker. A
reader may take it or refuse it with one sentence of an `IrisError`; anything else is a finding: another exception, a
sentence of several lines or without end, more than `SLOW` seconds, more than `MEMORY` beyond what was held at the
start, and any file that appears. What a reader takes is used: a preset segments a scan, a pool is searched, a network
encodes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

sys.path.insert(0, str(Path(__file__).parents[1]))
from dicommaker import write_contours, write_multiframe, write_series

from IrisSegmentLib.context.bank import Average, MemoryBank
from IrisSegmentLib.context.pool import Pool
from IrisSegmentLib.context.preset import Preset
from IrisSegmentLib.engine import Engine
from IrisSegmentLib.engine.messages import from_line, get_array, put_array, segmentation_out, to_line, volume_out
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.evaluation.dataset import LabelledSet
from IrisSegmentLib.evaluation.memory import peak_mb
from IrisSegmentLib.imaging.files import read_segmentation, read_volume, write_segmentation, write_volume
from IrisSegmentLib.imaging.volume import Segment, Segmentation, Volume
from IrisSegmentLib.imaging.window import PREPROCESSING
from IrisSegmentLib.network import build, load_network, save_network

SLOW = 5.0  # seconds
MEMORY = 500 * 2**20  # bytes
LONGEST = 1000  # letters of a sentence
PART = 2000  # inputs of one process
USED = 0.05  # share of the presets taken that also segment a scan, which takes longest

# What a JSON value is replaced by.
VALUES: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 10**400, 1e308, float("nan"), float("inf"), "", "a\nb", "\x1b[2J", "\ud800",
    "../../etc/passwd", "/etc/passwd", "x" * 20_000, [], {}, [[]], [1, 2, 3], [-1], {"a": 1},
    ["a"] * 300, "<b>bold</b>",
]  # fmt: skip
DEEP = "[" * 100_000  # JSON that has no end
SECRET = "outside.bin"  # a file beside the folder, which no forged header may reach


@dataclass(frozen=True)
class Kind:
    """
    :param good: a real file of the kind; name: what it is called.
    :param read: a reader, which also uses what it read.
    """

    name: str
    good: bytes
    read: Callable[[Path, random.Random], object]


@dataclass
class Report:
    taken: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest: float = 0.0
    memory_mb: float = 0.0

    def to_json(self) -> dict[str, Any]:
        count = sum(self.taken.values()) + sum(self.refused.values()) + len(self.findings)
        return {
            "inputs": count, "taken": dict(self.taken), "refused": dict(self.refused), "findings": self.findings,
            "slowest_s": round(self.slowest, 3), "memory_mb": round(self.memory_mb, 1),
        }  # fmt: skip


def scan(number: int, size: tuple[int, int, int] = (20, 18, 16)) -> tuple[Volume, Segmentation]:
    """A scan with two blocks to find, made up."""
    drawn = np.random.default_rng(number)
    layers = np.zeros((1, *size), np.uint8)
    layers[0, 4:9, 4:9, 4:9], layers[0, 10:15, 8:13, 5:12] = 1, 2
    array = (drawn.normal(0, 20, size) + 100 * layers[0]).astype(np.int16)
    segments = (Segment("Left", (1.0, 0.5, 0.0)), Segment("Right", (0.0, 0.5, 1.0), label=2))
    return Volume(array, np.eye(4), f"scan{number}"), Segmentation(layers, np.eye(4), segments, "blocks")


def kinds(folder: Path) -> list[Kind]:
    """Real files of every kind, made in a folder."""
    save_network(build("tiny"), folder / "tiny.safetensors")
    engine = Engine(folder / "tiny.safetensors", "cpu")
    target = scan(9)[0]
    presets = [engine.encode(*scan(n), name="Blocks") for n in range(2)]
    presets[0].with_reference(presets[1]).save(folder / "good.iris")
    average = Average()
    for preset in presets:
        average.update(preset)
    tasks = {"blocks": average.preset("blocks"), "cubes": average.preset("cubes")}
    MemoryBank(engine.network.hash, PREPROCESSING, tasks).save(folder / "good.irisbank")
    pool = Pool(engine.network.hash, PREPROCESSING)
    for n in range(3):
        engine.add(pool, *scan(n))
    pool.save(folder / "good.irispool")

    def use(preset: Preset, drawn: random.Random) -> None:
        if drawn.random() < USED:
            with contextlib.suppress(IrisError):
                engine.segment(target, preset)

    def preset(path: Path, drawn: random.Random) -> None:
        use(Preset.load(path), drawn)

    def bank(path: Path, drawn: random.Random) -> None:
        use(MemoryBank.load(path).preset(["blocks/Left", "cubes/Right"]), drawn)

    def pooled(path: Path, drawn: random.Random) -> None:
        strategy = "object-retrieval" if drawn.random() < USED else "ensemble"
        use(engine.choose(Pool.load(path), strategy, image=target, count=2), drawn)

    def array(path: Path, drawn: random.Random) -> None:
        np.array(get_array(path.parent, path.name))

    def line(path: Path, drawn: random.Random) -> None:
        from_line(path.read_bytes().decode("utf-8", "replace"))

    def labelled(path: Path, drawn: random.Random) -> None:
        found = LabelledSet.read(path.parent)
        for cases in found.cases.values():
            for case in cases:
                assert (found.folder / f"{case}_image.nii.gz").parent == found.folder, "a case outside its folder"

    made = [
        Kind("x.iris", (folder / "good.iris").read_bytes(), preset),
        Kind("x.irisbank", (folder / "good.irisbank").read_bytes(), bank),
        Kind("x.irispool", (folder / "good.irispool").read_bytes(), pooled),
        Kind("x.safetensors", (folder / "tiny.safetensors").read_bytes(), lambda path, drawn: load_network(path)),
    ]
    image, segmentation = scan(0)
    for name in ("x.nii.gz", "x.nii", "x.nrrd", "x.mha"):
        write_volume(image, folder / name)
        made.append(Kind(name, (folder / name).read_bytes(), lambda path, drawn: read_volume(path)))
    write_segmentation(segmentation, folder / "x.seg.nrrd")
    made.append(Kind("x.seg.nrrd", (folder / "x.seg.nrrd").read_bytes(), lambda path, drawn: read_segmentation(path)))
    head = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 2\nencoding: raw\nendian: little\n"
    made.append(Kind("x.nhdr", head + b"data file: ../outside.bin\n", lambda path, drawn: read_volume(path)))
    head = b"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_SHORT\n"
    made.append(Kind("x.mhd", head + b"ElementDataFile = ../outside.bin\n", lambda path, drawn: read_volume(path)))
    (slice_file,) = write_series(folder / "series", image.array[:, :, :1], image.affine)
    write_multiframe(folder / "frames.dcm", [image.array, image.array + 1], image.affine)
    write_segmentation(segmentation, folder / "seg.dcm", folder / "frames.dcm#2")
    square = np.array([[-2.0, -2, 3], [-9, -2, 3], [-9, -9, 3], [-2, -9, 3]])
    write_contours(folder / "contours.dcm", {"a": [square, square + 1], "b": [square - 1]})
    for name, file, read in [
        ("slice.dcm", slice_file, read_volume),
        ("frames.dcm", folder / "frames.dcm", lambda path: read_volume(f"{path}#2")),
        ("seg.dcm", folder / "seg.dcm", lambda path: read_segmentation(path, image=image)),
        ("contours.dcm", folder / "contours.dcm", lambda path: read_segmentation(path, image=image)),
    ]:
        made.append(Kind(name, file.read_bytes(), lambda path, drawn, read=read: read(path)))
    put_array(image.array, folder, "x")
    made.append(Kind("x.npy", (folder / "x.npy").read_bytes(), array))
    message = {"job": 1, "verb": "encode", "name": "x", "image": volume_out(image, folder, "image"),
               "segmentation": segmentation_out(segmentation, folder, "segmentation")}  # fmt: skip
    made.append(Kind("line.json", to_line(message).encode(), line))
    words = {"name": "blocks", "modality": "CT", "classes": {"1": "Left"}, "cases": {"train": ["a"], "test": ["b"]}}
    made.append(Kind("dataset.json", json.dumps(words).encode(), labelled))
    return made


def mutated(good: bytes, drawn: random.Random) -> bytes:
    """A file damaged by chance, or forged with knowledge of its form."""
    forged = _forged(good, drawn) if drawn.random() < 0.5 else None
    data = bytearray(good if forged is None else forged)
    if forged is not None and drawn.random() < 0.8:
        return bytes(data)
    for _ in range(drawn.choice([1, 1, 1, 2, 8])):
        place = drawn.randrange(drawn.choice([16, 400, max(1, len(data))])) % max(1, len(data))
        how = drawn.randrange(6)
        if how == 0 and data:
            data[place] ^= 1 << drawn.randrange(8)
        elif how == 1:
            del data[place:]
        elif how == 2:
            data[place : place + 8] = drawn.choice([b"\xff" * 8, b"\0" * 8, struct.pack("<Q", drawn.getrandbits(40))])
        elif how == 3:
            del data[place : place + drawn.randrange(1, 64)]
        elif how == 4:
            data[place:place] = drawn.randbytes(drawn.randrange(1, 64))
        else:
            other = drawn.randrange(len(data)) if data else 0
            data[place : place + 32] = data[other : other + 32]
    return bytes(data)


def _forged(good: bytes, drawn: random.Random) -> bytes | None:
    """With one value of its JSON, or one number or line of its text, replaced; None for a file that has neither."""
    if good[128:132] == b"DICM":
        return _changed_dicom(good, drawn)
    if good[:1] == b"{":
        return _json(_changed(json.loads(good), drawn), drawn)
    (length,) = struct.unpack("<Q", good[:8])
    if 2 < length < len(good) and good[8:9] == b"{":
        header = json.loads(good[8 : 8 + length])
        inner = [k for k in header["__metadata__"] if header["__metadata__"][k][:1] == "{"]
        if inner and drawn.random() < 0.7:  # the words, or the configuration
            words = json.loads(header["__metadata__"][inner[0]])
            header["__metadata__"][inner[0]] = _json(_changed(words, drawn), drawn).decode()
        else:
            header = _changed(header, drawn)
        encoded = _json(header, drawn)
        return struct.pack("<Q", len(encoded)) + encoded + good[8 + length :]
    head, blank, rest = good.partition(b"\n\n")
    lines = head.split(b"\n")
    if len(lines) < 3 or not head.isascii():
        return None
    n = drawn.randrange(len(lines))
    outside = drawn.choice([b"../outside.bin", b"/etc/passwd", b"LIST", b"sub/../../outside.bin", b"..\\outside.bin"])
    numbers = drawn.choice([b"99999 99999 99999", b"-1 0 1", b"0", b"nan nan nan", b"1e400", b"9" * 500])
    key = lines[n].split(b":")[0].split(b"=")[0]
    lines[n] = drawn.choice([key + b": " + numbers, key + b" = " + numbers, b"data file: " + outside,
                             b"ElementDataFile = " + outside, b"", b"x" * 5000])  # fmt: skip
    return b"\n".join(lines) + blank + rest


def _changed_dicom(good: bytes, drawn: random.Random) -> bytes:
    """With one or two elements, at any depth, replaced by others that their kind allows or not, or removed."""
    data = pydicom.dcmread(io.BytesIO(good))
    for _ in range(drawn.choice([1, 1, 2])):
        inside = data
        element = drawn.choice(list(inside))
        while element.VR == "SQ" and element.value and drawn.random() < 0.9 and len(drawn.choice(element.value)):
            inside = drawn.choice([item for item in element.value if len(item)])
            element = drawn.choice(list(inside))
        if drawn.random() < 0.15:
            del inside[element.tag]
        elif element.VR == "SQ":
            element.value = drawn.choice([[], list(element.value) * 2])
        else:
            numbers = ["0", "-1", "1e-9", "1e30", "nan", "2147483647", "3.25", ""]
            texts = ["", "x", "x" * 3000, "LABELMAP", "FRACTIONAL", "1.2.3", "A\\B", "LOCALIZER"]
            value = {
                "US": struct.pack("<H", drawn.choice([0, 1, 7, 4096, 65535])),
                "UL": struct.pack("<I", drawn.choice([0, 1, 2**32 - 1])),
                "DS": "\\".join(drawn.choice(numbers) for _ in range(drawn.choice([1, 2, 3, 6]))).encode(),
                "OB": good[: 2 * drawn.randrange(len(good) // 2)],
            }
            same = {"IS": "DS", "OW": "OB"}.get(element.VR, element.VR)
            raw = value.get(same, drawn.choice(texts).encode())
            raw += b" " * (len(raw) % 2)
            inside[element.tag] = pydicom.dataelem.RawDataElement(
                element.tag, element.VR, len(raw), raw, 0, False, True
            )
    out = io.BytesIO()
    data.save_as(out)
    return out.getvalue()


def _json(words: Any, drawn: random.Random) -> bytes:
    if drawn.random() < 0.01:
        return DEEP.encode()
    return json.dumps(words).encode("utf-8", "replace")


def _changed(words: Any, drawn: random.Random) -> Any:
    """A copy with one value somewhere inside replaced, removed or repeated."""
    if isinstance(words, dict | list) and words and drawn.random() < 0.85:
        copy = words.copy()
        key = drawn.choice(list(words)) if isinstance(words, dict) else drawn.randrange(len(words))
        if drawn.random() < 0.1:
            del copy[key]
        elif drawn.random() < 0.1 and isinstance(copy, list):
            copy.insert(0, copy[key])
        else:
            copy[key] = _changed(copy[key], drawn)
        return copy
    return drawn.choice(VALUES)


class Slow(BaseException):
    """Raised into a reader that takes too long; not an `Exception`, so that none mistakes it for bad input."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Slow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fuzz(count: int, seed: int, first: int = 0, latest: Path | None = None) -> Report:
    """Try ``count`` inputs from the ``first`` of a seed on, the same each time.

    :param latest: where each input is named before it is tried, for one that ends the process.
    """
    whole = Path(tempfile.mkdtemp(prefix="iris-fuzz-"))
    report = Report()
    try:
        (whole / "made").mkdir()
        all_kinds = kinds(whole / "made")
        inside = whole / "inside"
        inside.mkdir()
        (whole / SECRET).write_bytes(b"\x07" * 16)
        expected = _listing(whole)
        start = peak_mb()
        for number in range(first, first + count):
            drawn = random.Random(f"{seed} {number}")
            kind = all_kinds[number % len(all_kinds)]
            path = inside / kind.name
            path.write_bytes(mutated(kind.good, drawn))
            words = f"{kind.name} seed {seed} number {number}"
            if latest is not None:
                latest.write_text(words)
            _try(kind, path, drawn, words, report)
            path.unlink(missing_ok=True)
            if any(inside.iterdir()) or (number % 500 == 0 and _listing(whole) != expected):
                report.findings.append(f"{kind.name} number {number}: files appeared: {sorted(inside.iterdir())}")
                break
            report.memory_mb = max(report.memory_mb, peak_mb() - start)
        if _listing(whole) != expected:
            report.findings.append("files appeared or changed outside")
        if report.memory_mb * 2**20 > MEMORY:
            report.findings.append(f"memory grew by {report.memory_mb:.0f} MB")
    finally:
        shutil.rmtree(whole, ignore_errors=True)
    return report


def _try(kind: Kind, path: Path, drawn: random.Random, words: str, report: Report) -> None:
    started = time.process_time()  # of this process: a busy machine is no finding
    try:
        with limited(SLOW * 12):
            kind.read(path, drawn)
        report.taken[kind.name] += 1
    except IrisError as error:
        report.refused[kind.name] += 1
        if "\n" in str(error) or len(str(error)) > LONGEST:
            report.findings.append(f"{words}: not one sentence: {str(error)[:200]!r}")
    except Slow:
        report.findings.append(f"{words}: never ended")
    except Exception:
        report.findings.append(f"{words}: {traceback.format_exc(limit=-3)}")
    passed = time.process_time() - started
    report.slowest = max(report.slowest, passed)
    if passed > SLOW:
        report.findings.append(f"{words}: took {passed:.1f} s")


def _listing(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def in_parts(count: int, seed: int) -> Report:
    """As `fuzz`, in processes of its own, one after the other, so that one that crashes is a finding as well."""
    whole = Report()
    for first in range(0, count, PART):
        with tempfile.TemporaryDirectory(prefix="iris-fuzz-") as folder:
            latest, answer = Path(folder) / "latest", Path(folder) / "answer"
            code = (
                "import sys, json; from pathlib import Path; sys.path[:0] = [sys.argv[1], '.']; import fuzz; "
                "count, seed, first = map(int, sys.argv[2:5]); latest, answer = map(Path, sys.argv[5:7]); "
                "answer.write_text(json.dumps(vars(fuzz.fuzz(count, seed, first, latest))))"
            )
            numbers = [str(n) for n in (min(PART, count - first), seed, first)]
            ran = subprocess.run(  # what the image library prints of each damaged file would hide everything else
                [sys.executable, "-c", code, str(Path(__file__).parent), *numbers, str(latest), str(answer)],
                stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2],
            )  # fmt: skip
            if answer.exists():
                part = json.loads(answer.read_text())
                whole.taken.update(part["taken"])
                whole.refused.update(part["refused"])
                whole.findings += part["findings"]
                whole.slowest = max(whole.slowest, part["slowest"])
                whole.memory_mb = max(whole.memory_mb, part["memory_mb"])
            else:
                words = latest.read_text() if latest.exists() else f"number {first}"
                whole.findings.append(f"{words}: the process ended with {ran.returncode}")
        print(f"{min(first + PART, count)} inputs, {len(whole.findings)} findings", *whole.findings[-3:], flush=True)
    return whole


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    report = in_parts(options.count, options.seed)
    words = report.to_json()
    if options.json is not None:
        options.json.write_text(json.dumps(words, indent=1))
    print(json.dumps(words, indent=1))
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())

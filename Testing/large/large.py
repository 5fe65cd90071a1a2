"""A 512x512x600 CT with 40 classes on 8 GB: encode a reference, segment a target, write the result.

    python Testing/large/large.py [--json FILE] [--shape I J K] [--classes N] [--limit GB]      (make large)

Each verb of the command line runs in a process that can have no more than 8 GB (RLIMIT_DATA: all memory that is
private and written to, which nothing but its process can give back; what is over it is refused at once). RLIMIT_AS
would also count libraries and address space that is never touched, gigabytes that no machine needs to have; a cgroup
asks for rights that a test has not. The scans are made up, 40 ellipsoids of several sizes in a body, since what they
show has no part in the memory and little in the time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

ROOT = Path(__file__).resolve().parents[2]
SHAPE, CLASSES = (512, 512, 600), 40
SPACING = (0.75, 0.75, 1.0)  # mm
LIMIT = 8 * 2**30  # bytes
CHILD = """
import sys
from pathlib import Path
from IrisSegmentLib.cli import main
from IrisSegmentLib.evaluation.memory import peak_mb

failed = main(sys.argv[2:])
Path(sys.argv[1]).write_text(str(peak_mb()))
sys.exit(failed)
"""  # tells its own peak: what the kernel tells of a process that ended begins with that of the one that started it


def make(folder: Path, name: str, shape: tuple[int, int, int], classes: int, shift: float) -> None:
    """Write NAME_image.nii and NAME_label.nii, uncompressed.

    :param shift: of everything in the scan, as a share of its size.
    """
    random = np.random.default_rng(0)
    image = np.empty(shape, np.int16)
    noise = random.normal(0, 20, (shape[0], shape[1], 8)).astype(np.int16)
    for k in range(shape[2]):
        image[:, :, k] = noise[:, :, k % 8] - 1000
    labels = np.zeros(shape, np.uint8)
    fill(image, None, (0.5, 0.5, 0.5), (0.42, 0.35, 0.6), 1050)
    for n in range(classes):
        center = random.uniform(0.25, 0.75, 3) + shift
        fill(image, labels, center, random.uniform(0.02, 0.12, 3), int(random.integers(-100, 300)), n + 1)
    for what, array in (("image", image), ("label", labels)):
        written = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
        written.SetSpacing(SPACING)
        sitk.WriteImage(written, str(folder / f"{name}_{what}.nii"))


def fill(image, labels, center, radii, more: int, label: int = 0) -> None:  # type: ignore[no-untyped-def]
    """Add to an ellipsoid of the image, and label it; center and radii as shares of the size."""
    size = np.array(image.shape)
    low = np.clip(((np.array(center) - radii) * size).astype(int), 0, size)
    high = np.clip(((np.array(center) + radii) * size).astype(int) + 1, 0, size)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    axes = [
        ((np.arange(a, b) / n - c) / r) ** 2
        for a, b, n, c, r in zip(low, high, size, center, radii, strict=True)
    ]
    inside = axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :] < 1
    image[box][inside] += more
    if labels is not None:
        labels[box][inside] = label


def limited(arguments: list[str], limit: int) -> tuple[float, float]:
    """Run the command line on so many bytes; seconds, and peak memory in MB.

    :raises SystemExit: when it fails.
    """
    def held() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    with tempfile.NamedTemporaryFile("r", prefix="iris-large-") as told:
        started = time.perf_counter()
        child = subprocess.run([sys.executable, "-c", CHILD, told.name, *arguments], cwd=ROOT, preexec_fn=held)
        if child.returncode != 0:
            sys.exit(f"'{arguments[0]}' failed on {limit / 2**30:g} GB")
        return time.perf_counter() - started, float(told.read())


def run(
    folder: Path, shape: tuple[int, int, int] = SHAPE, classes: int = CLASSES, limit: int = LIMIT
) -> dict[str, float]:
    """Seconds of encoding and segmenting, start of the program and files included, and the peak of both in MB."""
    for name, shift in (("reference", 0.0), ("target", 0.02)):
        make(folder, name, shape, classes, shift)
    of = {what: str(folder / what) for what in ("reference_image.nii", "reference_label.nii", "target_image.nii")}
    preset, result = str(folder / "large.iris"), str(folder / "result.seg.nrrd")
    reference = ["--image", of["reference_image.nii"], "--segmentation", of["reference_label.nii"]]
    encode = limited(["encode", *reference, "--output", preset, "--device", "cpu"], limit)
    wanted = ["--preset", preset, "--image", of["target_image.nii"], "--output", result, "--device", "cpu"]
    segment = limited(["segment", *wanted], limit)
    found = sitk.ReadImage(result)
    assert found.GetSize() == shape and found.HasMetaDataKey(f"Segment{classes - 1}_Name")
    return {
        "large_encode_s": encode[0], "large_segment_s": segment[0], "large_s": encode[0] + segment[0],
        "large_encode_peak_mb": encode[1], "large_segment_peak_mb": segment[1],
        "large_peak_mb": max(encode[1], segment[1]),
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Time and memory of a large scan on 8 GB.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE)
    parser.add_argument("--classes", type=int, default=CLASSES)
    parser.add_argument("--limit", type=float, default=LIMIT / 2**30, help="GB of each process")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        numbers = run(Path(scratch), tuple(options.shape), options.classes, int(options.limit * 2**30))
    numbers = {key: round(value, 1) for key, value in numbers.items()}
    print("\n".join(f"{key:24} {value:10.1f}" for key, value in numbers.items()))
    if options.json is not None:
        options.json.write_text(json.dumps(numbers, indent=1))

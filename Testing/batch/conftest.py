"""A small archive, a preset of the test network, and the work that goes with them."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from batch.archive import make
from batch.deadly import Deadly

from IrisSegmentLib.batch.cases import find_cases
from IrisSegmentLib.batch.identity import task_hash
from IrisSegmentLib.batch.records import Records
from IrisSegmentLib.engine import Engine
from IrisSegmentLib.imaging.files import read_segmentation

TESTING = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """Here and in all that the tests start: two threads share out sums otherwise, and a voxel may fall otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def scans(samples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    make(samples, folder, 5, smallest=32)
    return folder


@pytest.fixture(scope="package")
def preset(one_thread, tiny_network, hippocampi, tmp_path_factory):
    path = tmp_path_factory.mktemp("presets") / "h.iris"
    image, segmentation = hippocampi[0]
    Engine(tiny_network, "cpu").encode(image, segmentation, name="hippocampus").save(path)
    return path


@pytest.fixture(scope="package")
def right(one_thread, scans, preset, tiny_network):
    """What the engine says of each scan of the archive, by case."""
    from IrisSegmentLib.context.preset import Preset
    from IrisSegmentLib.imaging.files import read_volume

    engine, made = Engine(tiny_network, "cpu"), Preset.load(preset)
    return {
        case.name: engine.segment(read_volume(case.image), made).segmentation.layers for case in find_cases(scans)
    }


@pytest.fixture
def archive(scans, tmp_path):
    """One of the test's own, which it may change."""
    return Path(shutil.copytree(scans, tmp_path / "archive"))


@pytest.fixture(scope="package")
def deadly(preset, tiny_network):
    """Makes the work for an output folder, and the records that it writes."""
    from IrisSegmentLib.context.preset import Preset

    # Processes that are started by the tests find the work where the tests do.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTING.parent), str(TESTING)])
    made = Preset.load(preset)

    def of(output: Path):
        output.mkdir(exist_ok=True)
        return Deadly(made.to_bytes(), task_hash(made), tiny_network, "cpu", output), Records(output)

    return of


def equal(output: Path, right) -> bool:
    """Whether an output folder holds exactly the right results."""
    found = {p.name.removesuffix(".seg.nrrd"): read_segmentation(p).layers for p in output.glob("*.seg.nrrd")}
    return set(found) == set(right) and all(np.array_equal(found[case], right[case]) for case in right)

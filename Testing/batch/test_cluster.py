"""On Ray, started once for all tests of this process; and once more by the command itself."""

import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from batch.attack import attack
from batch.conftest import equal
from batch.processes import below, gone
from safetensors import safe_open

from IrisSegmentLib.batch.cases import Case, find_cases
from IrisSegmentLib.batch.cluster import Cluster
from IrisSegmentLib.batch.outcome import DONE
from IrisSegmentLib.batch.work import RETRIES, Failure
from IrisSegmentLib.context.pool import Pool
from IrisSegmentLib.engine import Engine
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.evaluation.dataset import LabelledSet
from IrisSegmentLib.imaging.window import PREPROCESSING


@pytest.fixture(scope="module")
def place(deadly, tmp_path_factory):
    """Two actors of one thread, their records, and their output."""
    output = tmp_path_factory.mktemp("cluster")
    work, records = deadly(output)
    with records.held(), Cluster(work, "local", 2, 1, gpus=False) as cluster:
        yield cluster, output


def listening(pids: set[int]) -> set[str]:
    """Addresses at which processes take connections, in the hexadecimal of Linux's own table."""
    sockets = set()
    for pid in pids:
        for handle in os.listdir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{handle}")
            except OSError:
                continue
            sockets |= {target[8:-1]} if target.startswith("socket:[") else set()
    found = set()
    for table in ("tcp", "tcp6"):
        with open(f"/proc/self/net/{table}") as lines:
            rows = [line.split() for line in lines][1:]
        found |= {row[1].split(":")[0] for row in rows if row[3] == "0A" and row[9] in sockets}
    return found


def contents(path) -> dict[str, np.ndarray]:
    """The numbers of a pool; without the class vectors of single references, which a pool that was saved on the way
    keeps in one place only."""
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys() if not re.fullmatch(r"\d+\.classes", name)}  # noqa: SIM118


def test_actors_give_what_one_process_gives_and_outlive_deadly_cases(place, scans, right):
    cluster, output = place
    cases = find_cases(scans)
    bad = [Case(name, cases[0].image) for name in ("deadly", "faulty")]
    answers = {case.name: answer for case, answer in cluster.run([cases[0], *bad, *cases[1:]])}
    assert set(answers) == {case.name for case in cases} | {"deadly", "faulty"}
    assert isinstance(answers["deadly"], Failure) and f"{1 + RETRIES} times" in answers["deadly"].reason
    assert isinstance(answers["faulty"], Failure) and "ValueError" in answers["faulty"].reason
    assert all(answers[case.name].state == DONE for case in cases) and equal(output, right)
    again = [answer for _, answer in cluster.run(cases)]  # nothing is computed twice
    assert {a.case: a.result for a in again} == {case.name: answers[case.name].result for case in cases}


def test_a_fault_that_every_case_would_meet_ends_the_run(place, scans):
    cluster, _ = place
    with pytest.raises(IrisError, match="The disk is full"):
        list(cluster.run([Case("full", find_cases(scans)[0].image)]))


def test_ray_is_open_to_this_machine_only_and_tells_nobody(place, scans):
    cluster, _ = place
    list(cluster.run(find_cases(scans)[:1]))
    mine = below(os.getpid())
    assert any("gcs_server" in line for line in mine.values())
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert listening(set(mine)) and listening(set(mine)) <= loopback
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_the_command_makes_a_pool_on_ray_and_leaves_no_process(samples, tiny_network, tmp_path):
    """The pool is, to the last number and in the same order, that of one engine that takes case after case."""
    labelled, engine = LabelledSet.read(samples / "hippocampus"), Engine(tiny_network, "cpu")
    pool = Pool(engine.network.hash, PREPROCESSING)
    for case in labelled.cases["test"]:
        engine.add(pool, labelled.image(case), labelled.label(case))
    pool.save(tmp_path / "right.irispool")
    output = tmp_path / "h.irispool"
    command = ["pool", "--data", labelled.folder, "--split", "test", "--network", tiny_network, "--output", output]
    process = subprocess.Popen(
        [sys.executable, "-m", "IrisSegmentLib", *map(str, command), "--cluster", "local", "--actors", "2"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    family: set[int] = set()
    while process.poll() is None:
        family |= set(below(process.pid))
        time.sleep(0.1)
    assert process.returncode == 0 and "3 references, 3 of them new" in process.stdout.read()
    assert gone(family, 10) and len(family) > 5
    found, right = contents(output), contents(tmp_path / "right.irispool")
    assert [e.hash for e in Pool.load(output).entries] == [e.hash for e in pool.entries]
    assert set(found) == set(right) and all(np.array_equal(found[name], right[name]) for name in right)


@pytest.mark.slow
def test_kills_at_random_moments_cost_nothing_but_time(tiny_network, tmp_path):
    assert attack(tmp_path, 3, seed=0, count=16, network=tiny_network) == 0

import os
import signal
import stat
import time
from dataclasses import replace

import numpy as np
import pytest
from webserver import Server
from workerbench import Bench

from IrisSegmentLib.context.pool import Pool
from IrisSegmentLib.engine import Engine
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.imaging.volume import Volume
from IrisSegmentLib.imaging.window import PREPROCESSING


@pytest.fixture
def bench(tiny_network):
    bench = Bench(tiny_network)
    yield bench
    bench.client.close()


@pytest.fixture
def preset(tiny_network, hippocampi):
    return Engine(tiny_network, "cpu").encode(*hippocampi[0], name="h")


def test_the_worker_answers_as_the_engine_does(bench, tiny_network, hippocampi):
    bench.wait(bench.ask("encode", *hippocampi[0], name="h"))
    preset = bench.answer
    bench.wait(bench.ask("segment", hippocampi[1][0], preset))
    engine = Engine(tiny_network, "cpu")
    same = engine.segment(hippocampi[1][0], engine.encode(*hippocampi[0], name="h"))
    assert np.array_equal(bench.answer.segmentation.layers, same.segmentation.layers)
    assert bench.answer.volumes_ml == same.volumes_ml and bench.answer.confidence == same.confidence
    assert [t for t in bench.told if t[0] == "progress"]


def test_what_the_engine_leaves_empty_comes_with_a_sentence(wary_network, hippocampi):
    bench = Bench(wary_network)
    try:
        bench.wait(bench.ask("encode", *hippocampi[0], name="h"))
        bench.wait(bench.ask("segment", hippocampi[1][0], bench.answer))
    finally:
        bench.client.close()
    assert bench.answer.left_empty == (True, True) and not bench.answer.segmentation.layers.any()
    assert bench.answer.confidence == bench.answer.volumes_ml == (0, 0)
    assert all("check that it is not there" in bench.answer.words(n) for n in range(2))


def test_a_strategy_and_a_pool_are_heeded(bench, tiny_network, hippocampi, tmp_path):
    engine = Engine(tiny_network, "cpu")
    presets = [engine.encode(*hippocampus, name="h") for hippocampus in hippocampi[:2]]
    both, target = presets[0].with_reference(presets[1]), hippocampi[3][0]
    pool = Pool(engine.network.hash, PREPROCESSING)
    for hippocampus in hippocampi[:3]:
        engine.add(pool, *hippocampus)
    pool.save(tmp_path / "three.irispool")
    answers = []
    retrieval = {"strategy": "object-retrieval", "source": tmp_path / "three.irispool"}
    for words in ({}, {"strategy": "one-shot"}, retrieval):
        bench.wait(bench.ask("segment", target, both, **words))
        assert not bench.errors
        answers.append(bench.answer.segmentation)
    assert np.array_equal(answers[0].layers, engine.segment(target, both).segmentation.layers)
    assert np.array_equal(answers[1].layers, engine.segment(target, presets[0]).segmentation.layers)
    chosen = engine.choose(pool, "object-retrieval", image=target, segments=[s.name for s in both.segments])
    assert np.array_equal(answers[2].layers, engine.segment(target, chosen).segmentation.layers)
    bench.wait(bench.ask("segment", target, both, strategy="object-retrieval"))
    assert "does not work with a preset" in bench.errors[0]


def test_bad_input_comes_back_as_its_sentence(bench, hippocampi):
    image, truth = hippocampi[0]
    bench.wait(bench.ask("encode", image, truth.only([]), name="h"))
    assert bench.errors == [f"No segment of '{truth.name}' was chosen; tick at least one."]


def test_a_killed_worker_costs_one_job_and_the_next_click_works(bench, preset, hippocampi):
    job = bench.ask("segment", hippocampi[1][0], preset)
    bench.until_progress()
    os.kill(bench.transport._process.pid, signal.SIGKILL)
    bench.wait(job, seconds=5)
    assert job.state == "failed" and len(bench.errors) == 1 and "try again" in bench.errors[0]
    bench.wait(bench.ask("segment", hippocampi[1][0], preset))
    assert bench.answer.segmentation.shape == hippocampi[1][0].shape


@pytest.mark.parametrize("moment", ["at once", "while computing"])
def test_cancel_takes_less_than_a_second(bench, preset, moment):
    large = Volume(np.random.default_rng(0).normal(size=(300, 300, 200)).astype(np.float32), np.eye(4), "large")
    first, second = bench.ask("segment", large, preset), bench.ask("segment", large, preset)
    if moment == "while computing":
        bench.until_progress()
    started = time.monotonic()
    bench.client.cancel_all()
    bench.wait(first, second, seconds=2)
    assert time.monotonic() - started < 1.0
    assert first.state == second.state == "cancelled" and not bench.errors and not bench.client.busy


def test_what_was_all_but_done_when_it_was_cancelled_leaves_nothing(bench, preset, hippocampi):
    """The worker has nothing more to ask when the click comes, and its answer is on the way."""
    job = bench.ask("segment", hippocampi[1][0], preset)
    hear = job.on_progress
    job.on_progress = lambda share, words: (hear(share, words), job.cancel() if share >= 1 else None)
    bench.wait(job)
    assert job.state == "cancelled" and not bench.errors and not any(t[0] == "done" for t in bench.told)
    bench.wait(bench.ask("segment", hippocampi[1][0], preset))
    assert bench.answer.segmentation.shape == hippocampi[1][0].shape


def test_jobs_wait_their_turn_and_all_come(bench, preset, hippocampi):
    jobs = [bench.ask("segment", image, preset) for image, _ in hippocampi]
    jobs[1].cancel()
    bench.wait(*jobs)
    assert [job.state for job in jobs] == ["done", "cancelled", "done", "done"]


def test_arrays_pass_in_a_private_folder_that_is_gone_afterwards(bench, preset, hippocampi):
    job = bench.ask("segment", hippocampi[1][0], preset)
    bench.until_progress()
    folder = bench.client._exchange.path()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    bench.wait(job)
    process = bench.transport._process
    bench.client.close()
    assert not folder.exists() and process.wait(timeout=5) is not None


def test_a_missing_network_is_told_in_its_sentence(tmp_path, preset, hippocampi):
    bench = Bench(tmp_path / "absent.safetensors")
    bench.wait(bench.ask("segment", hippocampi[1][0], preset))
    assert len(bench.errors) == 1 and "absent.safetensors" in bench.errors[0]
    bench.client.close()


def test_the_worker_ends_when_its_parent_does(bench, preset, hippocampi):
    bench.wait(bench.ask("segment", hippocampi[1][0], preset))
    process = bench.transport._process
    process.stdin.close()
    assert process.wait(timeout=5) == 0


def test_a_network_is_fetched_by_a_worker_and_used_by_another(bench, public_checkpoint, tmp_path):
    bench.wait(bench.ask("get_network", str(public_checkpoint), tmp_path / "kept"))
    found = bench.answer
    assert found.path == tmp_path / "kept" / "public.safetensors" and found.parameters == 13443301
    with Server(public_checkpoint.read_bytes()) as server:
        server.pause = 0.2
        job = bench.ask("get_network", server.address, tmp_path / "slow")
        bench.until_progress()
        while not any(t[0] == "progress" and t[1] > 0 for t in bench.told[-1:]):
            bench.transport.pump(0.05)
        started = time.monotonic()
        job.cancel()
        bench.wait(job, seconds=2)
        assert job.state == "cancelled" and time.monotonic() - started < 1.0
        assert len(list((tmp_path / "slow").glob("*.part"))) == 1
        server.pause = 0.0
        bench.wait(bench.ask("get_network", server.address, tmp_path / "slow"))
        assert bench.answer.source_sha256 == found.source_sha256 and server.asked[-1].startswith("bytes=")


def test_doubt_looks_and_tuning_come_through_the_worker(bench, preset, hippocampi, tiny_network):
    image = hippocampi[1][0]
    bench.wait(bench.ask("encode", *hippocampi[0], name="h"))
    made = bench.answer
    assert made.references[0].volumes_ml == hippocampi[0][1].volumes_ml() and len(made.appearances()) == 1
    bench.wait(bench.ask("segment", image, preset))
    engine = Engine(tiny_network, "cpu")
    ours, theirs = bench.answer.doubt, engine.segment(image, preset).doubt
    assert np.array_equal(ours.values, theirs.values) and ours.places == theirs.places
    bench.wait(bench.ask("look", image))
    assert np.array_equal(bench.answer.vector, engine.scan_vector(image)) and bench.answer.network == made.network
    bench.wait(bench.ask("tune", made, hippocampi[1:3], steps=10))
    assert len(bench.answer.curve) == 2 and bench.answer.preset.segments == made.segments
    bench.wait(bench.ask("tune", made, hippocampi[1:2]))
    assert "at least two segmented scans" in bench.errors[0]


def test_numbers_that_are_not_the_networks_are_refused_though_the_preset_says_so(tiny_network, preset, hippocampi):
    (reference,) = preset.references
    levels = {
        level: replace(kept, tokens=tuple(tokens[:, :, :-1] for tokens in kept.tokens))
        for level, kept in reference.levels.items()
    }
    forged = replace(preset, references=(replace(reference, levels=levels),))
    with pytest.raises(IrisError, match="tampered with"):
        Engine(tiny_network, "cpu").segment(hippocampi[1][0], forged)


def test_an_answer_that_was_damaged_ends_its_job_in_a_sentence(bench, preset, hippocampi):
    job = bench.ask("segment", hippocampi[1][0], preset)
    answer = job.answer

    def damaged(done, folder):
        (folder / done["labels"]).write_bytes(b"")
        return answer(done, folder)

    job.answer = damaged
    bench.wait(job, seconds=60)
    assert job.state == "failed" and "damaged" in bench.errors[0]
    bench.wait(bench.ask("segment", hippocampi[1][0], preset))
    assert bench.answer.segmentation.shape == hippocampi[1][0].shape

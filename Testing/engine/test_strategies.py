"""The strategies with the trained network on real scans."""

import hashlib
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from IrisSegmentLib.context.bank import Average, MemoryBank
from IrisSegmentLib.context.pool import Pool
from IrisSegmentLib.context.preset import Preset
from IrisSegmentLib.context.tuning import GAIN
from IrisSegmentLib.engine import STRATEGIES, Cancelled, Engine, Progress
from IrisSegmentLib.engine.strategies import retrieved
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.evaluation.dataset import LabelledSet
from IrisSegmentLib.evaluation.evaluate import evaluate
from IrisSegmentLib.evaluation.metrics import dice
from IrisSegmentLib.imaging.window import PREPROCESSING
from IrisSegmentLib.network import Precision, build, load_network, save_network


@pytest.fixture(scope="module")
def engine():
    return Engine(device="cpu")


@pytest.fixture(scope="module")
def singles(engine, hippocampi):
    return [engine.encode(*pair, name="hippocampus") for pair in hippocampi]


@pytest.fixture(scope="module")
def pool(engine, hippocampi):
    found = Pool(engine.network.hash, PREPROCESSING)
    for image, segmentation in hippocampi[:3]:
        engine.add(found, image, segmentation)
    return found


def together(singles):
    preset = singles[0]
    for other in singles[1:]:
        preset = preset.with_reference(other)
    return preset


def test_the_order_of_an_ensemble_does_not_matter(engine, singles, hippocampi):
    target = hippocampi[3][0]
    answers = [engine.segment(target, together(order)).segmentation for order in itertools.permutations(singles[:3])]
    for other in answers[1:]:
        assert min(dice(answers[0].mask(n), other.mask(n)) for n in range(2)) > 0.99


def test_a_reference_switched_off_is_as_if_it_had_never_been_added(engine, singles, hippocampi):
    target = hippocampi[3][0]
    off = engine.segment(target, together(singles[:3]).with_enabled(1, False))
    never = engine.segment(target, together([singles[0], singles[2]]))
    assert np.array_equal(off.segmentation.layers, never.segmentation.layers)


def test_nothing_is_encoded_into_a_pool_twice(engine, pool, hippocampi, tmp_path, monkeypatch):
    pool.save(tmp_path / "h.irispool")
    again = Pool.load(tmp_path / "h.irispool")
    monkeypatch.setattr(engine, "encode", lambda *a, **k: pytest.fail("encoded again"))
    assert [engine.add(again, *pair) for pair in hippocampi[:3]] == [e.hash for e in pool.entries]
    assert len(again) == 3


def test_one_reference_of_a_pool_is_that_reference(engine, pool, singles, hippocampi):
    """Whatever way a preset comes about, the voxels are those of its references."""
    target = hippocampi[3][0]
    for row, preset in enumerate(singles[:3]):
        chosen = pool.preset({s.name: [row] for s in preset.segments}, "one")
        here, there = engine.segment(target, chosen), engine.segment(target, preset)
        assert np.array_equal(here.segmentation.layers, there.segmentation.layers)


def test_a_target_that_is_in_the_pool_finds_itself(engine, pool, hippocampi):
    """By its scan and by its own masks always; by the masks of a first answer mostly."""
    names, by_answer = list(pool.segments), 0
    for row, (image, truth) in enumerate(hippocampi[:3]):
        assert retrieved(engine, pool, "image-retrieval", image, names, 1, 0) == {name: [row] for name in names}
        vectors = engine.class_vectors(image, truth)
        assert [pool.nearest(name, vectors[n], 1) for n, name in enumerate(names)] == [[row], [row]]
        by_answer += list(retrieved(engine, pool, "object-retrieval", image, names, 1, row).values()).count([row])
    assert by_answer >= 4, "of 6, and 2 by chance"


def test_a_class_that_the_first_answer_lacks_goes_by_the_whole_scan(engine, pool, hippocampi, monkeypatch):
    names, segment = list(pool.segments), Engine.segment

    def without_the_first(self, *arguments, **options):
        found = segment(self, *arguments, **options)
        layers = np.where(found.segmentation.layers == 1, 0, found.segmentation.layers)
        return replace(
            found, segmentation=replace(found.segmentation, layers=layers), volumes_ml=(0.0, *found.volumes_ml[1:])
        )

    monkeypatch.setattr(Engine, "segment", without_the_first)
    image = hippocampi[1][0]
    found = retrieved(engine, pool, "object-retrieval", image, names, 2, 0)
    assert found[names[0]] == retrieved(engine, pool, "image-retrieval", image, names, 2, 0)[names[0]]
    assert len(found[names[1]]) == 2


def test_retrieval_gives_each_class_its_own_references_and_an_answer(engine, pool, hippocampi):
    image, truth = hippocampi[3]
    for strategy in ("one-shot", "ensemble", "object-retrieval", "image-retrieval"):
        result = engine.segment(image, engine.choose(pool, strategy, image=image, count=1 + (strategy != "one-shot")))
        assert min(dice(result.segmentation.mask(n), truth.mask(n)) for n in range(2)) > 0.5
    only = engine.choose(pool, "object-retrieval", image=image, segments=["posterior hippocampus"], count=1)
    assert [s.name for s in only.segments] == ["posterior hippocampus"]


def test_what_one_class_is_given_does_not_change_another(pool, hippocampi):
    """The masks that affinity carries over for a class are those of its own references, whatever was chosen for the
    others."""
    exact = Engine(device="cpu")
    exact.sight = replace(exact.sight, network=load_network(), precision=Precision("cpu", False))
    names, whole = list(pool.segments), exact.sight.overview(hippocampi[3][0])
    features = exact.sight.meeting(whole.features)
    one, two = [0], [1, 2]
    carried = []
    for chosen in [{names[0]: one, names[1]: two}, {names[0]: one}, {names[1]: two}]:
        kept = pool.preset(chosen, "x").embeddings("coarse")
        with torch.no_grad():
            carried.append(exact.network.carry(features, kept.keys[None], kept.values[None]))
    assert torch.allclose(carried[0][:, 0], carried[1][:, 0], atol=1e-5)
    assert torch.allclose(carried[0][:, 1], carried[2][:, 0], atol=1e-5)


def state(engine):
    digest = hashlib.sha256()
    for name, tensor in sorted(engine.network.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def test_tuning_repairs_tokens_that_were_spoilt(engine, singles, hippocampi, tmp_path):
    """A few steps win some Dice back for scans that were held back, and move tokens only. The network is untouched, the
    preset remembers. Tokens of the opposite sign cost most of the Dice; random ones, or another class's, cost weights
    that lean on their affinity next to nothing.
    """
    before = state(engine)
    kept = singles[0].references[0]
    levels = {level: replace(e, tokens=tuple(-t for t in e.tokens)) for level, e in kept.levels.items()}
    spoilt = replace(singles[0], references=(replace(kept, levels=levels),))
    preset, outcome = engine.tune(spoilt, hippocampi[1:3], steps=10)
    assert outcome.after >= outcome.before + GAIN and "rose from" in outcome.words
    assert state(engine) == before, "tuning touched the network"
    ours, theirs = preset.references[0].levels["fine"], levels["fine"]
    assert torch.equal(ours.keys, theirs.keys) and torch.equal(ours.values, theirs.values)
    assert not torch.equal(ours.tokens[0], theirs.tokens[0])
    preset.save(tmp_path / "t.iris")
    back = Preset.load(tmp_path / "t.iris")
    assert back.tuning == preset.tuning and (back.tuning.references, back.tuning.steps) == (2, 10)
    assert back.tuning.after == outcome.after and engine.choose(back, "tuning") is back
    signs = engine.segment(hippocampi[3][0], back).signs
    assert all(s.promised > 0 for s in signs), "something is found, though too little is won back for it to stay"


@pytest.fixture(scope="module")
def quick(tiny_network):
    return Engine(tiny_network, "cpu")


def test_tuning_that_gains_nothing_leaves_the_preset_as_it_was(quick, hippocampi, monkeypatch):
    monkeypatch.setattr("IrisSegmentLib.context.tuning.GAIN", 1.0)
    single = quick.encode(*hippocampi[0], name="h")
    preset, outcome = quick.tune(single, hippocampi[1:3], steps=10)
    assert preset is single and outcome.shift is None and "left as it was" in outcome.words


def test_a_scan_of_the_preset_itself_is_not_learned_from_with_its_own_cells(engine, singles, hippocampi):
    scan = engine._scan(together(singles[:2]), *hippocampi[0], Progress())
    assert torch.equal(scan["fine"].embeddings.keys.half(), singles[1].references[0].levels["fine"].keys)
    assert engine._scan(singles[0], *hippocampi[0], Progress()) is None
    with pytest.raises(IrisError, match="at least two segmented scans"):
        engine.tune(singles[0], hippocampi[:2])


def test_tuning_can_be_cancelled_and_asks_for_all_segments(quick, hippocampi):
    single = quick.encode(*hippocampi[0], name="h")
    seen = []

    def show(fraction, text):
        seen.append(text)
        if text.startswith("Tuning") and len(seen) > 12:
            progress.cancel()

    progress = Progress(show)
    with pytest.raises(Cancelled):
        quick.tune(single, hippocampi[1:], progress=progress)
    assert len(seen) == 13, "it went on after it was told to stop"
    image, truth = hippocampi[1]
    with pytest.raises(IrisError, match="has no segment 'posterior hippocampus'"):
        quick.tune(single, [(image, truth.only([0])), hippocampi[2]])


@pytest.fixture(scope="module")
def bank(engine, singles):
    average = Average()
    for single in singles[:3]:
        average.update(single)
    return MemoryBank(engine.network.hash, PREPROCESSING, {"hippocampus": average.preset("hippocampus")})


def test_the_bank_segments_classes_it_has_seen_with_no_reference(engine, bank, hippocampi, tmp_path):
    image, truth = hippocampi[3]
    bank.save(tmp_path / "b.irisbank")
    preset = engine.choose(MemoryBank.load(tmp_path / "b.irisbank"), "memory-bank")
    result = engine.segment(image, preset)
    assert min(dice(result.segmentation.mask(n), truth.mask(n)) for n in range(2)) > 0.5
    alone = engine.choose(bank, "memory-bank", segments=["posterior hippocampus"])
    assert dice(engine.segment(image, alone).segmentation.mask(0), truth.mask(1)) > 0.5


def test_strategies_that_do_not_fit_are_refused_in_one_sentence(engine, pool, bank, singles, hippocampi, tmp_path):
    image = hippocampi[3][0]
    save_network(build("tiny", seed=3), tmp_path / "other.safetensors")
    other = Engine(tmp_path / "other.safetensors", "cpu")
    empty = Pool(engine.network.hash, PREPROCESSING)
    for ask, words in [
        (lambda: engine.choose(pool, "magic"), "no strategy 'magic'"),
        (lambda: engine.choose(singles[0], "object-retrieval", image=image), "does not work with a preset"),
        (lambda: engine.choose(singles[0], "tuning"), "has not been tuned"),
        (lambda: engine.choose(pool, "tuning"), "does not work with a pool"),
        (lambda: engine.choose(bank, "ensemble"), "does not work with a memory bank"),
        (lambda: engine.choose(bank, "memory-bank", segments=["heart"]), "no segment 'heart'"),
        (lambda: other.choose(bank, "memory-bank"), "another network"),
        (lambda: engine.choose(pool, "object-retrieval", image=image, count=4), "the pool has 3"),
        (lambda: engine.choose(pool, "ensemble", count=0), "ask for 1 to 3"),
        (lambda: engine.choose(pool, "ensemble", segments=["heart"]), "no reference for 'heart'"),
        (lambda: engine.choose(empty, "one-shot"), "pool is empty"),
        (lambda: other.choose(pool, "one-shot"), "another network"),
        (lambda: other.add(pool, *hippocampi[3]), "another network"),
    ]:
        with pytest.raises(IrisError, match=words) as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_every_strategy_can_be_evaluated(engine, samples, monkeypatch):
    """The sample set has one train case: enough for all but tuning, which says so."""
    labelled = LabelledSet.read(samples / "hippocampus")
    for strategy in STRATEGIES:
        if strategy == "tuning":
            with pytest.raises(IrisError, match="at least two"):
                evaluate(engine, labelled, strategy=strategy, limit=1)
            continue
        report = evaluate(engine, labelled, strategy=strategy, limit=1)
        assert report["strategy"] == strategy and report["mean_dice"] > 0.5

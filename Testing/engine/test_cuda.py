"""On a CUDA card the same answers as on the processor. Skipped where there is none."""

import numpy as np
import pytest
import torch

from IrisSegmentLib.context.pool import Pool
from IrisSegmentLib.engine import Engine
from IrisSegmentLib.evaluation.benchmark import benchmark
from IrisSegmentLib.evaluation.metrics import dice
from IrisSegmentLib.imaging.window import PREPROCESSING

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA card")


def test_the_card_finds_what_the_processor_finds(hippocampi):
    """In bfloat16 on either, so alike and not equal: a voxel at the surface here and there."""
    card, processor = Engine(device="cuda"), Engine(device="cpu")
    ours, theirs = (e.encode(*hippocampi[0], name="hippocampus") for e in (card, processor))
    assert np.allclose(ours.found_again(), theirs.found_again(), atol=0.03)
    for image, _ in hippocampi[1:]:
        found, expected = (e.segment(image, p).segmentation for e, p in ((card, ours), (processor, theirs)))
        assert min(dice(found.mask(n), expected.mask(n)) for n in range(2)) > 0.97
        again = card.segment(image, theirs).segmentation  # a preset that was made on the processor
        assert min(dice(again.mask(n), expected.mask(n)) for n in range(2)) > 0.97


def test_a_pool_and_tuning_work_on_the_card(hippocampi):
    """Tuning needs gradients, whose norms once refused what the card computes with."""
    card, (target, truth) = Engine(device="cuda"), hippocampi[3]
    pool = Pool(card.network.hash, PREPROCESSING)
    for image, segmentation in hippocampi[:3]:
        card.add(pool, image, segmentation)
    for strategy in ("image-retrieval", "object-retrieval"):
        found = card.segment(target, card.choose(pool, strategy, image=target, count=2)).segmentation
        assert min(dice(found.mask(n), truth.mask(n)) for n in range(2)) > 0.6
    preset, outcome = card.tune(card.encode(*hippocampi[0], name="hippocampus"), hippocampi[1:3], steps=10)
    assert outcome.after >= outcome.before > 0.6
    found = card.segment(target, preset).segmentation
    assert min(dice(found.mask(n), truth.mask(n)) for n in range(2)) > 0.6


def test_a_benchmark_names_the_card():
    measured = benchmark("tiny", torch.device("cuda"), size=64, classes=(1, 15))
    assert measured.device == torch.cuda.get_device_name() and measured.precision in ("bfloat16", "float32")
    assert measured.segment_s > 0 and measured.peak_memory_mb > 0

"""A graphics card that is too small for a scan, or wrong: the processor computes, and a sentence says so."""

import sys
from pathlib import Path

import numpy as np
import pytest
from workerbench import Bench

from IrisSegmentLib.engine import Engine
from IrisSegmentLib.network import load_network

CARD = Path(__file__).with_name("small_card.py")


class CardBench(Bench):
    """As `Bench`, on a simulated graphics card of some bytes, or a ``wrong`` one."""

    def __init__(self, network, size, device="auto", **options):
        super().__init__(network, python=(sys.executable, str(CARD), str(size)), device=device, **options)
        self.notes = []

    def ask(self, verb, *arguments, **words):
        return super().ask(verb, *arguments, **words, on_note=self.notes.append)


@pytest.mark.parametrize("room", ["not for the network", "not for a scan", "enough"])
def test_the_processor_goes_on_where_the_graphics_card_has_no_memory(tiny_network, hippocampi, room):
    network = sum(p.nbytes for p in load_network(tiny_network).parameters())
    size = {"not for the network": network // 2, "not for a scan": network + 2**19, "enough": 2**40}[room]
    bench = CardBench(tiny_network, size)
    try:
        bench.wait(bench.ask("encode", *hippocampi[0], name="h"))
        preset = bench.answer
        bench.wait(bench.ask("segment", hippocampi[1][0], preset))
        engine = Engine(tiny_network, "cpu")
        same = engine.segment(hippocampi[1][0], engine.encode(*hippocampi[0], name="h"))
        overlap = np.mean(bench.answer.segmentation.layers == same.segmentation.layers)
        assert overlap == 1 or room == "enough", "a card may round otherwise than the processor"
        assert len(bench.notes) == (0 if room == "enough" else 1), "said once, then the processor computes"
        assert all("processor computes from now on" in note for note in bench.notes)
    finally:
        bench.client.close()


def test_a_worker_of_several_people_forgets_that_ones_scan_was_too_large(tiny_network, hippocampi):
    network = sum(p.nbytes for p in load_network(tiny_network).parameters())
    bench = CardBench(tiny_network, network // 2, shared=True)
    try:
        for _ in range(2):
            bench.wait(bench.ask("look", hippocampi[0][0]))
        assert len(bench.notes) == 2, "the card was tried again"
    finally:
        bench.client.close()


def test_a_card_that_answers_otherwise_than_the_processor_is_not_trusted(tiny_network, hippocampi):
    """As one did by a fault of ours: it drew shifted by a voxel, and nothing failed."""
    bench = CardBench(tiny_network, "wrong")
    try:
        bench.wait(bench.ask("describe"))
        assert bench.answer.device == "processor"
        bench.wait(bench.ask("encode", *hippocampi[0], name="h"))
        bench.wait(bench.ask("segment", hippocampi[1][0], bench.answer))
        engine = Engine(tiny_network, "cpu")
        same = engine.segment(hippocampi[1][0], engine.encode(*hippocampi[0], name="h"))
        assert np.array_equal(bench.answer.segmentation.layers, same.segmentation.layers)
        assert len(bench.notes) == 1 and "answers otherwise than the processor" in bench.notes[0]
    finally:
        bench.client.close()


def test_a_wrong_card_that_was_asked_for_is_refused_in_one_sentence(tiny_network, hippocampi):
    bench = CardBench(tiny_network, "wrong", device="cuda")
    try:
        bench.wait(bench.ask("encode", *hippocampi[0], name="h"))
        (error,) = bench.errors
        assert "it answers otherwise than the processor" in error and not bench.notes
    finally:
        bench.client.close()

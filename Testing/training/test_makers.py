from itertools import count, islice

import pytest
import torch
from training.test_loop import arguments

from IrisSegmentLib.training import loop
from IrisSegmentLib.training.cases import read_cases
from IrisSegmentLib.training.episodes import Episodes
from IrisSegmentLib.training.loop import Trainer
from IrisSegmentLib.training.makers import Asked, made, makers_beside


@pytest.fixture(autouse=True)
def one_thread():
    """As makers have; two would add in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_episodes_come_as_they_were_asked_for_whoever_makes_them(small_set):
    episodes = Episodes(read_cases(small_set, "train"), seed=3)
    asked = [Asked(n, n // 2, n < 3) for n in range(6)]
    for makers in (0, 2):
        found = list(made(episodes, asked, makers))
        assert len(found) == len(asked)
        for episode, wanted in zip(found, asked, strict=True):
            drawn = episodes.draw(*wanted)
            assert torch.equal(episode.images, drawn.images) and torch.equal(episode.masks, drawn.masks)
            assert (episode.source, episode.empty) == (drawn.source, drawn.empty)


def test_they_are_asked_for_without_end_and_no_further_ahead_than_needed(small_set):
    episodes, read = Episodes(read_cases(small_set, "train"), seed=3), []

    def asked():
        for n in count():
            read.append(n)
            yield Asked(n, n, True)

    assert len(list(islice(made(episodes, asked(), 2), 3))) == 3
    assert len(read) <= 3 + 2 * 4


def test_a_run_learns_the_same_whoever_makes_its_episodes(small_set, tmp_path, monkeypatch):
    runs = []
    for makers in (0, 2):
        monkeypatch.setattr(loop, "makers_beside", lambda device, learners, n=makers: n)
        runs.append(Trainer(arguments(small_set, tmp_path / str(makers), 1, "--steps", "3", "--rough", "0.5")))
        runs[-1].train()
    alone, helped = (run.network.state_dict() for run in runs)
    assert all(torch.equal(alone[name], helped[name]) for name in alone)


def test_a_processor_makes_its_own_and_a_card_is_kept_busy(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    assert makers_beside(torch.device("cpu"), 2) == 0
    assert [makers_beside(torch.device("cuda"), n) for n in (1, 4, 16)] == [15, 3, 1]

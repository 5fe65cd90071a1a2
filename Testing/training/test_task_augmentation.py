import numpy as np
import pytest
import torch

from IrisSegmentLib.training.task_augmentation import TaskAugmentation


def scans(count=3):
    """Views (1, 8, 6, 4) of the same grays, each beyond its scan in the first two planes."""
    grays = torch.linspace(-1, 3, 192).reshape(1, 8, 6, 4)
    inside = torch.ones(8, 6, 4, dtype=torch.bool)
    inside[:2] = False
    return [grays.clone() for _ in range(count)], [inside] * count


def test_all_views_are_given_the_same_contrast():
    ways = set()
    for seed in range(30):
        images, inside = scans()
        changed = TaskAugmentation(np.random.default_rng(seed), 1, 1).of_grays(images, inside)
        assert all(torch.equal(changed[0], c) for c in changed) and torch.isfinite(changed[0]).all()
        shown = changed[0][0, 2:].flatten()
        assert abs(float(shown.mean())) < 1e-4 and float(shown.std()) == pytest.approx(1, abs=0.01), "as scans are"
        assert torch.equal(changed[0][0, :2], shown.amin().expand(2, 6, 4)), "around a scan is its lowest"
        step = shown.diff()
        ways.add("up" if bool((step >= 0).all()) else "down" if bool((step <= 0).all()) else "both")
    assert ways == {"up", "down", "both"}


def test_images_and_masks_are_turned_alike():
    sizes = set()
    for seed in range(30):
        change = TaskAugmentation(np.random.default_rng(seed), 1, 1)
        images = torch.arange(2 * 192.0).reshape(2, 1, 8, 6, 4)
        turned, masks = change.of_pose(images), change.of_pose((images % 5 == 0).float())
        assert torch.equal(masks, (turned % 5 == 0).float())
        assert torch.equal(turned[1] - turned[0], torch.full_like(turned[0], 192)), "both views in the same way"
        sizes.add((turned.shape[2:], bool(turned[0, 0, 0, 0, 0] == 0)))
    assert len(sizes) > 6, "each of the six orders of axes, flipped and not"


def test_contrast_and_pose_are_drawn_each_for_itself():
    random = np.random.default_rng(0)
    changes = [TaskAugmentation(random, 0.4, 0.4) for _ in range(600)]
    images, inside = scans(1)
    volume = torch.arange(192.0).reshape(1, 1, 8, 6, 4)
    plain = np.array([c.of_grays(images, inside)[0] is images[0] for c in changes])
    upright = np.array([torch.equal(c.of_pose(volume), volume) for c in changes])
    assert 0.54 < plain.mean() < 0.66 and 0.54 < upright.mean() < 0.66
    assert 0.3 < (plain & upright).mean() < 0.42

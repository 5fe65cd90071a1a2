"""The affinity goes by looks and by where what looks alike lies."""

import pytest
import torch
import torch.nn.functional as F

from IrisSegmentLib.context.ensemble import joined
from IrisSegmentLib.network import Precision, build
from IrisSegmentLib.network.affinity import Affinity
from IrisSegmentLib.network.alignment import NEAR, beside, placed, places_of

SIZE = (10, 12, 8)
TURNED = torch.tensor([[0.95, 0.15, 0.0], [-0.15, 0.95, 0.05], [0.0, -0.05, 1.1]])


def smooth(size, seed):
    """Keys of a scan that changes slowly from place to place: a volume (1, E, D, H, W)."""
    few = torch.randn(1, 64, 7, 7, 7, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(few, size=size, mode="trilinear")


def seen_at(volume, places):
    """What a volume shows at places (N, 3): keys (1, N, E)."""
    half = torch.tensor([(n - 1) / max(volume.shape[2:]) for n in volume.shape[2:]])
    found = F.grid_sample(volume, (places / half).flip(1)[None, None, None], align_corners=True, padding_mode="border")
    return F.normalize(found[0, :, 0, 0].T, dim=-1)[None]


@pytest.fixture
def affinity():
    torch.manual_seed(0)
    return Affinity(8, 8, 64)


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (0.15, -0.1, 0.1)])
def test_a_patient_who_lies_otherwise_is_found_by_what_looks_alike(shift):
    """Turned, larger and moved: each cell of the reference is put where the target shows the same."""
    places, moved = places_of(SIZE), torch.tensor(shift)
    volume = smooth(SIZE, 0)
    target = seen_at(volume, places[0] @ TURNED + moved)
    lie = placed(20 * target, places, seen_at(volume, places[0]), places, (places.shape[1],))
    expected = (places[0] - moved) @ torch.linalg.inv(TURNED)
    inside = (places[0].abs().amax(1) < 0.6).nonzero().flatten()
    off = (lie[0] - expected).norm(dim=1)[inside].mean()
    before = (places[0] - expected).norm(dim=1)[inside].mean()
    assert off < 0.05 and off < before / 2, "a third of a cell"


def test_what_looks_the_same_is_told_apart_by_place(affinity):
    """Left and right are alike cell by cell; one of them is marked."""
    left = smooth((4, 8, 8), 1)
    volume = torch.cat([left, left.flip(2)], 2)
    places = places_of((8, 8, 8))
    keys = torch.cat([seen_at(volume, places[0]), places], -1)
    masks = torch.zeros(1, 1, 64, 64, 64)
    masks[:, :, :32] = 1
    affinity.log_sharpness.data.fill_(5.0)
    with torch.inference_mode():
        looks = affinity(keys, keys, affinity.values(masks), (8, 8, 8))
        lie = affinity.placed(keys, keys, (512,))
        both = affinity(keys, keys, affinity.values(masks), (8, 8, 8), lie)
    truth = F.avg_pool3d(masks, 4)
    assert (looks - 0.5).abs().mean() < 0.05, "by looks alone it is either"
    assert (both - truth).abs().mean() < 0.1, "the marked one"


def test_a_cell_is_read_by_likeness_less_the_squared_distance():
    """The products of what is asked and what is told are that, up to a number that all keys share."""
    places, volume = places_of(SIZE), smooth(SIZE, 2)
    keys = seen_at(volume, places[0])
    target = seen_at(volume, places[0] @ TURNED)
    lie = placed(20 * target, places, keys, places, (places.shape[1],))
    asked, told = beside(20 * target, places, keys, lie)
    expected = 20 * target @ keys.mT - torch.cdist(places, lie).square() / (2 * NEAR**2)
    assert torch.allclose((asked @ told.mT).softmax(-1), expected.softmax(-1), atol=1e-4)


def test_each_reference_has_its_own_place():
    """Two references that lie otherwise: joined, each is put where it would be alone."""
    places, volume = places_of(SIZE), smooth(SIZE, 3)
    target = 20 * seen_at(volume, places[0])
    one = seen_at(volume, places[0] @ TURNED)
    other = seen_at(volume, places[0] - torch.tensor([0.2, 0.1, 0.0]))
    counts = (places.shape[1],) * 2
    both = placed(target, places, torch.cat([one, other], 1), torch.cat([places] * 2, 1), counts)
    alone = [placed(target, places, keys, places, counts[:1]) for keys in (one, other)]
    assert torch.allclose(both, torch.cat(alone, 1), atol=1e-5)


def test_a_preset_of_several_references_knows_of_how_many_cells_each_is():
    network = build("tiny", seed=1)
    masks = (torch.rand(2, 32, 32, 32) > 0.8).float()
    with torch.inference_mode():
        one = network.encode(torch.randn(1, 1, 32, 32, 32), masks)
        references = [one, network.encode(torch.randn(1, 1, 32, 32, 16), masks[..., :16])]
    both = joined(references, by_place=True)
    assert joined(references).by_place == (), "by looks alone"
    assert both.by_place == (64, 32) and both.keys.shape == (96, 67) and both.half().by_place == (64, 32)


def test_in_bfloat16_places_are_still_exact(affinity):
    """Distances are differences of large numbers, which half as many digits would blur."""
    places, volume = places_of(SIZE), smooth(SIZE, 4)
    queries, keys = (torch.cat([seen_at(volume, at), places], -1) for at in (places[0], places[0] @ TURNED))
    values = torch.rand(1, 2, places.shape[1], 8)
    with torch.inference_mode():
        lie = affinity.placed(queries, keys, (places.shape[1],))
        exact = affinity(queries, keys, values, SIZE, lie)
        with Precision("cpu", True).autocast():
            again = affinity.placed(queries, keys, (places.shape[1],))
            found = affinity(queries, keys, values, SIZE, lie)
    assert torch.equal(again, lie) and torch.equal(found, exact)

"""The low-resolution forms against the naive ones they replace, for whatever features, masks, strides and sizes."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from IrisSegmentLib.network.blocks import cells, raising, shuffle, unshuffle
from IrisSegmentLib.network.decoder import _spread
from IrisSegmentLib.network.iris import build
from IrisSegmentLib.network.task_encoder import LinearMaskFusion, pooled_foreground

sizes = st.tuples(*[st.integers(1, 5)] * 3)
seeds = st.integers(0, 2**31)


def near(found, naive):
    """To 1e-4 of the largest number."""
    return (found - naive).abs().max() <= 1e-4 * naive.abs().max().clamp_min(1e-6)


def soft_masks(seed, *shape):
    """Random, soft, mostly empty in one class and all but full in another."""
    masks = torch.rand(*shape, generator=torch.Generator().manual_seed(seed))
    masks[:, 0] *= masks[:, 0] > 0.9
    return masks


@settings(max_examples=60, deadline=None)
@given(seeds, sizes, st.sampled_from([1, 2, 4, 8, 16]), st.integers(0, 3), st.booleans())
def test_eq_2_pools_raised_features_without_raising_them(seed, size, stride, odd, align_corners):
    """``odd`` voxels more than the stride says: the full grid need not be a multiple of the cells."""
    torch.manual_seed(seed)
    features, full = torch.randn(2, 3, *size), [n * stride + odd for n in size]
    masks = soft_masks(seed, 2, 2, *full)
    raised = F.interpolate(features, size=full, mode="trilinear", align_corners=align_corners)
    naive = torch.einsum("bcdhw,bkdhw->bkc", raised, masks) / masks.sum((2, 3, 4)).clamp_min(1)[..., None]
    assert near(pooled_foreground(features, masks, align_corners), naive)


@settings(max_examples=40, deadline=None)
@given(seeds, sizes, st.sampled_from([1, 2, 4]), st.integers(1, 3), st.sampled_from([1, 2]))
def test_eq_3_and_4_shuffle_concatenate_convolve_unshuffle_as_two_matrices(seed, size, stride, kept, average):
    """The naive form at full resolution; ``average`` is what a wide cell's mask is averaged by first."""
    torch.manual_seed(seed)
    features = torch.randn(1, kept * stride**3, *size)
    masks = soft_masks(seed, 1, 2, *(n * stride * average for n in size))
    mixing = torch.randn(kept, kept + 1)
    naive = []
    for mask in F.avg_pool3d(masks, average)[0]:
        full = torch.cat([shuffle(features, stride), mask[None, None]], 1)
        naive.append(cells(unshuffle(torch.einsum("oc,bcdhw->bodhw", mixing, full), stride)))
    fusion = LinearMaskFusion(kept * stride**3, stride * average, finest=stride)
    with torch.no_grad():
        fusion.features.weight.copy_(torch.kron(mixing[:, :kept].contiguous(), torch.eye(stride**3)))
        fusion.features.bias.zero_()
        fusion.mask.weight.copy_(torch.kron(mixing[:, kept:].contiguous(), torch.eye(stride**3)))
        assert near(fusion(features, masks), torch.stack(naive, 1))


@settings(max_examples=40, deadline=None)
@given(seeds, sizes, sizes, st.booleans())
def test_trilinear_is_one_matrix_along_each_axis(seed, size, more, align_corners):
    torch.manual_seed(seed)
    x, full = torch.randn(1, 2, *size), [a + b for a, b in zip(size, more, strict=True)]
    by_d, by_h, by_w = (raising(n, m, align_corners) for n, m in zip(size, full, strict=True))
    found = torch.einsum("Dd,Hh,Ww,bcdhw->bcDHW", by_d, by_h, by_w, x)
    assert near(found, F.interpolate(x, size=full, mode="trilinear", align_corners=align_corners))


@settings(max_examples=30, deadline=None)
@given(seeds, st.tuples(*[st.integers(2, 3)] * 3))
def test_a_class_read_only_where_its_mask_is_gives_the_same_embedding(seed, size):
    """Masks that are a corner, a speck, everything, and nothing; the dense form is what training computes."""
    network = build("tiny", seed=3)
    image, full = torch.randn(1, 1, *(16 * n for n in size)), [16 * n for n in size]
    masks = torch.zeros(4, *full)
    random = torch.Generator().manual_seed(seed)
    low = [int(torch.randint(0, n, (1,), generator=random)) for n in full]
    corner = masks[0, low[0] :, low[1] :, low[2] :]
    corner.copy_(torch.rand(corner.shape, generator=random))
    masks[1, low[0], low[1], low[2]], masks[2] = 0.3, 1.0
    with torch.no_grad():
        features = network.encoder(image)
        sparse = network.embed(features, masks[None])
    tokens, keys, values = network.embed(features, masks[None])
    for found, dense in zip((*sparse[0], *sparse[1:]), (*tokens, keys, values), strict=True):
        assert found.shape == dense.shape and near(found, dense)


@settings(max_examples=20, deadline=None)
@given(seeds, sizes, st.sampled_from([1, 2]), st.sampled_from([torch.bfloat16, torch.float32]))
def test_voxels_spread_onto_maps_as_by_shuffling(seed, size, factor, dtype):
    torch.manual_seed(seed)
    parts = torch.randn(3, factor**3, *size).to(dtype)
    maps = parts.new_empty(3, *(n * factor for n in size))
    _spread(parts, factor, maps)
    assert torch.equal(maps, shuffle(parts, factor)[:, 0])


@pytest.mark.parametrize("kept", [torch.bfloat16, torch.float32])
def test_voxels_keep_their_places_whatever_numbers_the_features_are_in(kept):
    """On a CUDA card autocast norms in float32 and convolves in bfloat16: two voxels side by side, moved as one number
    of the wrong kind, once gave both the answer of the second."""
    torch.manual_seed(0)
    head = build("small").decoder.head
    tokens, coarse, fine = torch.randn(1, 2, 288), torch.randn(1, 48, 4, 4, 4), torch.randn(1, 32, 8, 8, 8)
    carried = torch.rand(1, 2, 4, 4, 4)
    exact = head(tokens, coarse, fine, carried).detach()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = head(tokens, coarse.to(kept), fine.to(kept), carried).float()
    assert F.cosine_similarity(found.flatten(), exact.flatten(), 0) > 0.99

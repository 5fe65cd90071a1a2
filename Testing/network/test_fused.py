"""Inference on a processor takes other operators than training does, and in bfloat16 others still; all must compute
the same."""

import pytest
import torch
import torch.nn.functional as F

from IrisSegmentLib.network import Precision, build, fused
from IrisSegmentLib.network.blocks import FEW, Conv, Residual, looked_up, norm_act, upsample

pytestmark = pytest.mark.skipif(not fused._OPERATORS, reason="this torch has no oneDNN operators to compare with")


def maps(*shape, shift=0.0):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(3)) * 2 + shift
    return x.bfloat16().contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("side", [8, 48])
@pytest.mark.parametrize("shift", [0.0, 6.0])
def test_norms(shift, side):
    """Of large maps, and of those that are too small for torch's own norm."""
    x = maps(1, 16, side, side, side, shift=shift)
    assert x.numel() >= fused.LARGE or side**3 < FEW
    with torch.inference_mode():
        found = norm_act(x)
    exact = F.relu(F.instance_norm(x.float(), eps=1e-4))
    assert (found.float() - exact).abs().max() < 0.03 and (found.float() - exact).mean().abs() < 5e-3


def test_parts_are_convolved_as_if_joined():
    a, b = maps(1, 16, 8, 8, 8), maps(1, 8, 8, 8, 8)
    block = Residual(24, 16, 1)
    exact = block(a.float(), b.float()).detach()  # with a gradient in sight, they are joined
    with torch.inference_mode():
        assert torch.allclose(block(a.float(), b.float()), exact, atol=1e-4)
    with torch.inference_mode():
        found = block.bfloat16()(a, b)
    assert (found.float() - exact).abs().mean() < 0.01 * exact.abs().max()


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("side", [2, 8])
def test_the_norm_of_a_single_sample_in_float32_and_in_place(side, last):
    x = torch.randn(1, 16, side, side, side) + 3
    x = x.contiguous(memory_format=torch.channels_last_3d if last else torch.contiguous_format)
    exact, own = F.relu(F.group_norm(x, 16, eps=1e-4)), x.clone()
    with torch.inference_mode():
        found = norm_act(own)
        assert torch.allclose(found, exact, atol=1e-5) and torch.equal(own, x)
        assert norm_act(own, overwrite=True).data_ptr() == own.data_ptr() and torch.equal(own, found)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("bias", [False, True])
def test_convolutions_in_float32(kernel, bias):
    """Outside of training by oneDNN, whatever torch would have chosen for so few rows."""
    conv, x = Conv(8, 4, kernel, bias), torch.randn(1, 8, 5, 6, 7)
    exact = conv(x).detach()
    with torch.inference_mode():
        assert fused.usable(x, conv.weight)
        assert torch.allclose(conv(x), exact, atol=1e-5)
        assert torch.allclose(conv(x, exact.clone()), 2 * exact, atol=1e-5)


def test_what_autocast_wants_in_bfloat16_is_not_convolved_in_float32():
    conv, x = Conv(8, 4), torch.randn(1, 8, 5, 6, 7)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16


@pytest.mark.parametrize("align_corners", [False, True])
def test_features_are_raised(align_corners):
    x = maps(2, 8, 3, 4, 5)
    with torch.inference_mode():
        found = upsample(x, (6, 7, 10), align_corners)
        precise = upsample(x.float(), (6, 7, 10), align_corners)
    exact = F.interpolate(x.float(), (6, 7, 10), mode="trilinear", align_corners=align_corners)
    assert (found.float() - exact).abs().max() < 0.06 and torch.allclose(precise, exact, atol=1e-5)


@pytest.mark.parametrize("width", [8, 120])
def test_the_affinity_is_a_softmax(width):
    queries, keys, values = torch.randn(2, 20, 64), torch.randn(2, 30, 64), torch.rand(2, 30, width)
    exact = (queries @ keys.transpose(1, 2)).softmax(-1) @ values
    assert torch.allclose(looked_up(queries, keys, values), exact, atol=1e-5)


@pytest.mark.parametrize("name", ["tiny", "mass-tiny"])
def test_a_network_in_bfloat16_answers_as_in_float32(name):
    """And 5 classes at once as each alone."""
    network, fast = build(name, seed=2), build(name, seed=2)
    precision = Precision("cpu", True)
    precision.prepare(fast)
    image, masks = torch.randn(1, 1, 32, 32, 32), (torch.rand(5, 32, 32, 32) > 0.8).float()
    with torch.inference_mode():
        exact = network.segment(image, network.encode(image, masks))
        with precision.autocast():
            found = fast.segment(image, fast.encode(image, masks)).float()
    assert torch.nn.functional.cosine_similarity(found.flatten(), exact.flatten(), 0) > 0.99

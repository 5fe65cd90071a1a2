from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from IrisSegmentLib.context.ensemble import UNREAD, joined
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.network import (
    CONFIGS,
    Iris,
    NetworkConfig,
    Precision,
    TaskEmbeddings,
    build,
    load_network,
    save_network,
)
from IrisSegmentLib.network.blocks import norm_act, shuffle, unshuffle
from IrisSegmentLib.network.task_encoder import LinearMaskFusion, pooled_foreground


@pytest.fixture(scope="module")
def tiny():
    return build("tiny", seed=1)


def count(name):
    with torch.device("meta"):
        from IrisSegmentLib.network.iris import Iris

        return sum(p.numel() for p in Iris(CONFIGS[name]).parameters()) / 1e6


def test_parameter_counts():
    assert count("small") == pytest.approx(7.06, abs=0.02)
    assert count("paper") == pytest.approx(69.4, rel=0.01), "the published 69.4 M"
    assert count("mass") == pytest.approx(120.126373, abs=1e-6)


@pytest.mark.parametrize("align_corners", [False, True])
def test_pooling_under_the_carried_mask_is_pooling_of_raised_features(align_corners):
    """Eq. 2, low resolution against the naive form that makes a full-resolution feature map."""
    features, masks = torch.randn(2, 5, 3, 4, 2), (torch.rand(2, 3, 24, 32, 16) > 0.7).float()
    raised = F.interpolate(features, size=masks.shape[2:], mode="trilinear", align_corners=align_corners)
    naive = torch.einsum("bcdhw,bkdhw->bkc", raised, masks) / masks.sum((2, 3, 4))[..., None]
    assert torch.allclose(pooled_foreground(features, masks, align_corners), naive, atol=1e-5)


def test_the_linear_fusion_is_shuffle_concatenate_convolve_unshuffle():
    """Eq. 3 and 4 step by step, full resolution, against the two small matrices."""
    r, kept, size = 4, 3, (2, 3, 2)
    width = kept * r**3
    features, masks = torch.randn(1, width, *size), (torch.rand(1, 2, 8, 12, 8) > 0.5).float()
    mixing = torch.randn(kept, kept + 1)  # the 1x1x1 convolution over (features, mask)
    naive = []
    for n in range(2):
        joined_maps = torch.cat([shuffle(features, r), masks[:, n : n + 1]], 1)
        naive.append(unshuffle(torch.einsum("oc,bcdhw->bodhw", mixing, joined_maps), r))
    naive = torch.stack(naive, 1).flatten(3).transpose(2, 3)
    fusion = LinearMaskFusion(width, r, finest=r)
    eye = torch.eye(r**3)
    with torch.no_grad():
        fusion.features.weight.copy_(torch.kron(mixing[:, :kept].contiguous(), eye))
        fusion.features.bias.zero_()
        fusion.mask.weight.copy_(torch.kron(mixing[:, kept:].contiguous(), eye))
    assert torch.allclose(fusion(features, masks), naive, atol=1e-4)


def test_shuffle_undoes_unshuffle_and_agrees_with_torch_in_the_plane():
    x = torch.randn(2, 3, 8, 4, 12)
    assert torch.equal(shuffle(unshuffle(x, 4), 4), x)
    for dtype in (torch.bfloat16, torch.float32, torch.uint8):  # one channel is moved several numbers at a time
        one = torch.randn(2, 1, 8, 16, 24).to(dtype)
        for factor in (1, 2, 4, 8):
            cells = unshuffle(one, factor)
            assert torch.equal(cells, unshuffle(one.repeat(1, 2, 1, 1, 1), factor)[:, : factor**3])
            assert torch.equal(shuffle(cells, factor), one) and cells.permute(0, 2, 3, 4, 1).is_contiguous()
    flat = torch.randn(1, 1, 1, 6, 6)
    theirs = F.pixel_unshuffle(flat[:, :, 0], 2)
    ours = unshuffle(flat.expand(-1, -1, 2, -1, -1).contiguous(), 2)[:, :4, 0]
    assert torch.equal(ours, theirs)


def test_the_norm_is_an_instance_norm():
    x = torch.randn(2, 6, 5, 4, 3)
    assert torch.allclose(norm_act(x), F.relu(F.instance_norm(x, eps=1e-4)), atol=1e-5)


@pytest.mark.parametrize("size", [(32, 32, 32), (32, 48, 64), (64, 32, 48)])
def test_windows_need_not_be_cubes(tiny, size):
    masks = torch.zeros(2, *size)
    masks[0, :16], masks[1, 16:] = 1, 1
    with torch.inference_mode():
        embeddings = tiny.encode(torch.randn(1, 1, *size), masks)
        logits = tiny.segment(torch.randn(1, 1, 32, 32, 48), embeddings)
    assert logits.shape == (2, 32, 32, 48) and torch.isfinite(logits).all()
    assert embeddings.tokens[0].shape == (2, 11, 32) and len(embeddings) == 2
    assert embeddings.values.shape == (2, len(embeddings.keys), 8)


def test_the_affinity_brings_a_mask_to_the_place_that_looks_alike(tiny):
    """With exact keys, a target equal to its reference gets its own mask back."""
    masks = torch.zeros(1, 1, 32, 32, 32)
    masks[..., :16] = 1
    values = tiny.affinity.values(masks)
    keys = F.normalize(torch.randn(1, 64, 64), dim=-1)
    with torch.inference_mode():
        tiny.affinity.log_sharpness.data.fill_(5.0)
        carried = tiny.affinity(keys, keys, values, (4, 4, 4))
    assert torch.allclose(carried, F.avg_pool3d(masks, 4), atol=1e-3)


def test_what_was_found_leads_back_to_what_was_marked_and_else_to_another_place(tiny):
    marked = torch.zeros(2, 32, 32, 32)
    marked[0, ..., :16], marked[1, :8] = 1, 1
    values = tiny.affinity.values(marked[None])[0]
    keys = F.normalize(torch.randn(64, 64), dim=-1)

    def agreement(found, values=values):
        carried = tiny.affinity(keys[None], keys[None], values[None], (4, 4, 4))
        return torch.stack(tiny.affinity.agreement(found, carried, keys[None], keys, values))

    with torch.inference_mode():
        tiny.affinity.log_sharpness.data.fill_(5.0)
        assert torch.allclose(agreement(marked), torch.ones(2, 2), atol=1e-3), "of a target equal to its reference"
        assert torch.allclose(agreement(1 - marked), torch.zeros(2, 2), atol=1e-3), "the rest is not what was marked"
        half = marked.clone()
        half[0, :16], half[1, :, :16] = 0, 0
        assert torch.allclose(agreement(half), torch.full((2, 2), 2 / 3), atol=1e-3)
        read = values.clone()
        read[0, 32:] = UNREAD  # of another reference, whose cells the first class does not read
        returned = agreement(marked, read)[1]
        assert torch.allclose(returned, torch.ones(2), atol=1e-3), "what is not read is not led back to"


def test_references_join(tiny):
    image, masks = torch.randn(1, 1, 32, 32, 32), (torch.rand(2, 32, 32, 32) > 0.8).float()
    with torch.inference_mode():
        one = tiny.encode(image, masks)
        twice = joined([one, one])
        a, b = tiny.segment(image, TaskEmbeddings(*vars(one).values())), tiny.segment(image, twice)
    assert torch.allclose(a, b, atol=1e-4), "the same reference twice says nothing new"


@pytest.mark.parametrize("name", ["tiny", "mass-tiny", "small"])
@pytest.mark.parametrize("fast", [False, True])
def test_features_are_read_and_left_as_they_are(name, fast):
    """So that those of one look serve for learning, answering and comparing."""
    network, precision = build(name), Precision("cpu", fast)
    precision.prepare(network)
    image, masks = torch.randn(1, 1, 32, 32, 32), torch.zeros(2, 32, 32, 32)
    masks[:, 8:20, 8:20, 8:20] = 1
    with torch.inference_mode(), precision.autocast():
        features = network.encoder(image)
        before = [f.clone() for f in features]
        network.answered(features, network.learned(features, masks))
    assert all(torch.equal(f, b) for f, b in zip(features, before, strict=True))


def test_the_mask_matters(tiny):
    image = torch.randn(1, 1, 32, 32, 32)
    left, right = torch.zeros(1, 32, 32, 32), torch.zeros(1, 32, 32, 32)
    left[:, :16], right[:, 16:] = 1, 1
    with torch.inference_mode():
        answers = [tiny.segment(image, tiny.encode(image, m)) for m in (left, right)]
    assert not torch.allclose(*answers, atol=1e-3)


def test_weights_come_back_and_know_their_hash(tiny, tmp_path):
    save_network(tiny, tmp_path / "a.safetensors")
    a, b = load_network(tmp_path / "a.safetensors"), load_network(tmp_path / "a.safetensors")
    assert a.hash == b.hash and len(a.hash) == 64 and a.config == CONFIGS["tiny"]
    for x, y in zip(a.state_dict().values(), tiny.state_dict().values(), strict=True):
        assert torch.allclose(x, y, atol=1e-2, rtol=1e-3)


def test_files_of_before_a_switch_was_added_are_still_read(tiny):
    values = tiny.config.to_json()
    del values["foreground"]
    assert NetworkConfig.from_json(values) == tiny.config
    del values["head"]
    with pytest.raises(ValueError, match="fields"):
        NetworkConfig.from_json(values)


@pytest.mark.parametrize(
    ("switch", "tokens"), [({"foreground": False}, 10), ({"tokens": 0}, 1), ({"finest": 1}, 11), ({"affinity": 0}, 11)]
)
def test_each_part_can_be_switched_off(switch, tokens):
    """An ablated network answers, learns with all that it has left, and has lost the part."""
    network = Iris(replace(CONFIGS["tiny"], **switch)).train()
    image, masks = torch.randn(1, 1, 32, 32, 32), (torch.rand(2, 32, 32, 32) > 0.8).float()
    embeddings = network.encode(image, masks)
    assert [t.shape[:2] for t in embeddings.tokens] == [(2, tokens)] * 2
    network.segment(image, embeddings).square().mean().backward()
    names = {n for n, _ in network.named_parameters()}
    assert [n for n, p in network.named_parameters() if p.grad is None] == []
    gone = {"foreground": "norm_foreground", "tokens": ".0.queries", "affinity": "affinity."}
    for field, part in gone.items():
        assert any(part in n for n in names) != (field in switch)
    finest = network.task_encoders[0].fusion.mask.weight.shape[1] if "tokens" not in switch else 0
    assert finest == {"finest": 1, "tokens": 0}.get(next(iter(switch)), 8**3)


def test_files_that_are_no_networks_are_refused(tmp_path, tiny):
    save_network(tiny, tmp_path / "good.safetensors")
    data = (tmp_path / "good.safetensors").read_bytes()
    for name, content in {"empty": b"", "text": b"hello" * 20, "cut": data[:5000], "swapped": data[4:]}.items():
        (tmp_path / "bad.safetensors").write_bytes(content)
        with pytest.raises(IrisError, match=r"bad\.safetensors"):
            load_network(tmp_path / "bad.safetensors")
        assert name
    with pytest.raises(ValueError, match="fields"):
        NetworkConfig.from_json({"name": "x", "surprise": 1})


def test_the_bundled_network_is_small_and_known():
    network = load_network()
    assert network.config == CONFIGS["small"]
    assert all(bool(torch.isfinite(p).all()) for p in network.parameters())


def test_the_norms_own_gradient_is_the_right_one():
    """`norm_act` differentiates by its own formula: numerically right, and what torch's own would give."""
    x = (torch.randn(2, 3, 4, 2, 3, dtype=torch.float64) * 3 + 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: norm_act(t, 1e-4), x)
    flat = (torch.randn(2, 8, 6, 6, 6) - 2).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    weight = torch.randn(2, 8, 6, 6, 6)
    (own,) = torch.autograd.grad((norm_act(flat) * weight).sum(), flat)
    (torchs,) = torch.autograd.grad((F.relu(F.group_norm(flat, 8, eps=1e-4)) * weight).sum(), flat)
    assert torch.allclose(own, torchs, atol=1e-5)

"""Our network, filled by the same formula as the authors' public code, gives what theirs gave.

`expected_tiny.npz` is kept here; the full size is checked where its values lie beside the repository.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.network import build, load_network
from IrisSegmentLib.network.public import import_public, our_name, our_state

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[2] / "shared" / "public_iris"
SIZES = {"mass": 64, "tiny": 48}
CONFIG = {"mass": "mass", "tiny": "mass-tiny"}


def filled(name, shape):
    """A tensor from its public name alone: a counter-based hash, scaled as a fan-in initializer would."""
    count = int(np.prod(shape))
    i = np.arange(count, dtype=np.uint64) + np.uint64(zlib.crc32(name.encode())) * np.uint64(2654435761)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        i ^= i >> np.uint64(33)
        i *= np.uint64(factor)
    i ^= i >> np.uint64(33)
    u = (i >> np.uint64(11)).astype(np.float64) / 2.0**53 * 2 - 1
    learned = any(part in name for part in ("task_query", "pos_embed", "task_prior"))
    if len(shape) >= 2 and not learned:
        u *= (3.0 / np.prod(shape[1:])) ** 0.5
    elif name.endswith("weight") and len(shape) == 1:
        u = 1 + 0.1 * u
    elif name.endswith("bias"):
        u *= 0.1
    return torch.from_numpy(u.reshape(shape).astype(np.float32))


def coordinates(size):
    return np.meshgrid(*[np.linspace(-1, 1, size)] * 3, indexing="ij")


def volume(phase, size):
    z, y, x = coordinates(size)
    wave = np.sin(5 * x + phase) * np.cos(4 * y - phase) + 0.5 * np.sin(7 * z * x + phase)
    return torch.from_numpy(wave.astype(np.float32))[None, None]


def masks(size):
    z, y, x = coordinates(size)
    big = x**2 + y**2 + z**2 < 0.5
    small = (x - 0.4) ** 2 + (y + 0.3) ** 2 + (z - 0.2) ** 2 < 0.01
    plane = (np.abs(z + 0.5) < 0.05) & (x > 0)
    return torch.from_numpy(np.stack([big, small, plane]).astype(np.float32))


def public_shapes(which):
    path = SHARED / "state_shapes.json"
    if which == "tiny":
        lines = (HERE / "public_tiny.txt").read_text().splitlines()
        state = {name: list(map(int, shape)) for name, *shape in map(str.split, lines)}
        return {"state": state, "parameters": 13443301}
    if not path.is_file():
        pytest.skip("the public network's shapes are not beside the repository")
    return json.loads(path.read_text())[which]


def network_filled(which, names_and_shapes):
    network = build(CONFIG[which])
    network.load_state_dict(our_state({n: filled(n, tuple(s)) for n, s in names_and_shapes.items()}))
    return network.eval()


@pytest.mark.parametrize("which", ["tiny", "mass"])
def test_every_public_tensor_has_its_place(which):
    public = public_shapes(which)
    network = build(CONFIG[which])
    ours = {k: list(v.shape) for k, v in network.state_dict().items()}
    assert {our_name(k): v for k, v in public["state"].items()} == ours
    assert sum(p.numel() for p in network.parameters()) == public["parameters"]


@pytest.mark.parametrize("which", ["tiny", "mass"])
def test_the_same_weights_give_the_same_answer(which):
    public = public_shapes(which)
    path = HERE / "expected_tiny.npz" if which == "tiny" else SHARED / f"expected_{which}.npz"
    expected = dict(np.load(path))
    network = network_filled(which, public["state"])
    size = SIZES[which]
    with torch.inference_mode():
        reference = volume(0.3, size)
        bottleneck = network.encoder(reference)[-1][0, :8].numpy()
        embeddings = network.encode(reference, masks(size))
        logits = network.segment(volume(-0.2, size), embeddings).numpy()
    found = {f"prior_{n}": tokens.numpy() for n, tokens in enumerate(embeddings.tokens)}
    found["logits_every_4th"] = logits[:, ::4, ::4, ::4]
    found["logits_mean_std"] = np.stack([logits.mean((1, 2, 3)), logits.std((1, 2, 3))])
    found["bottleneck_first_8_channels"] = bottleneck
    for name, values in expected.items():
        scale = np.abs(values).max()
        assert np.abs(found[name] - values).max() < 1e-3 * scale, name


def test_a_public_checkpoint_is_converted_and_others_are_refused(public_checkpoint, tmp_path):
    import_public(public_checkpoint, tmp_path / "mass.safetensors")
    network = load_network(tmp_path / "mass.safetensors")
    state = torch.load(public_checkpoint, weights_only=False)["ema_model"]
    assert network.config.name == "mass-tiny"
    assert torch.equal(network.bank_0, state["module._orig_mod.task_prior_0"])
    torch.save({"model": {"a": torch.zeros(2)}}, tmp_path / "other.pth")
    torch.save({"ema_model": dict(list(state.items())[1:])}, tmp_path / "torn.pth")
    torch.save({"model": state, "config": Path("not a plain value")}, tmp_path / "code.pth")
    (tmp_path / "junk.pth").write_bytes(b"junk")
    for name in ("other.pth", "torn.pth", "code.pth", "junk.pth", "absent.pth"):
        with pytest.raises(IrisError, match=name):
            import_public(tmp_path / name, tmp_path / "out.safetensors")
    with pytest.raises(IrisError, match="choose another folder"):
        import_public(public_checkpoint, tmp_path / "absent" / "out.safetensors")
    assert not list(tmp_path.rglob("*out.safetensors*"))

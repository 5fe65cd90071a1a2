"""Weights in files: safetensors with the configuration beside them, never pickle; known by their hash."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch.overrides import TorchFunctionMode

from ..errors import IrisError
from .config import NetworkConfig
from .iris import Iris
from .trust import Trust

LARGEST_FILE = 2 * 2**30  # bytes; the largest published network has 0.5 GB
LARGEST_HEADER = 4 * 2**20
BUNDLED = "iris-small.safetensors"


def bundled_weights() -> Path:
    """Where the bundled network lies: in Resources beside the library, in the source tree and once installed.

    :raises IrisError: when it is not there.
    """
    path = Path(__file__).resolve().parents[2] / "Resources" / "Network" / BUNDLED
    if not path.exists():
        raise IrisError(f"The bundled network '{BUNDLED}' is missing; install IrisSegment again.")
    return path


def file_hash(path: Path) -> str:
    """sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_network(
    network: Iris, path: str | Path, notes: dict[str, str] | None = None, dtype: torch.dtype = torch.float16
) -> None:
    """Write the weights with the configuration in the header; beside, then renamed."""
    tensors = {k: v.detach().to(dtype).contiguous() for k, v in network.state_dict().items()}
    data = save(tensors, {"config": json.dumps(network.config.to_json()), **(notes or {})})
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


class _WithoutValues(TorchFunctionMode):
    """Parameters are made and not filled. On the meta device torch would fill them in Python, and import its compiler
    for it: seconds of every start, some 70 MB, and an empty folder in the temporary one."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def load_network(path: str | Path | None = None, device: str | torch.device = "cpu") -> Iris:
    """A network from its file, ready to use in float32 on a device; ``None`` is the bundled one.

    :raises IrisError: when the file is missing or is not a network of this program.
    """
    path = Path(path) if path is not None else bundled_weights()
    if not path.exists():
        raise IrisError(f"There is no network file '{path}'; check its name and folder.")
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= LARGEST_FILE else b""
    except OSError as error:
        raise IrisError(f"'{path}' could not be read ({error.strerror}); check its permissions.") from error
    try:
        (length,) = struct.unpack("<Q", data[:8])
        if length > LARGEST_HEADER:
            raise ValueError("header too large")
        header = json.loads(data[8 : 8 + length])
        config = NetworkConfig.from_json(json.loads(header["__metadata__"]["config"]))
        # A forged configuration takes memory only if the file holds as many numbers.
        with torch.device("meta"), _WithoutValues():
            shapes = {name: list(tensor.shape) for name, tensor in Iris(config).state_dict().items()}
        if shapes != {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}:
            raise ValueError("weights of another configuration")
        weights = {k: v.float() for k, v in load(data).items()}
        if not all(bool(torch.isfinite(v).all()) for v in weights.values()):
            raise ValueError("weights that are not numbers")
        network = Iris(config)
        network.load_state_dict(weights)
        network.trust = Trust.from_json(header["__metadata__"].get("trust", "{}"))
    except (
        SafetensorError, struct.error, RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError,
        ArithmeticError, RecursionError, MemoryError,
    ) as error:  # fmt: skip
        raise IrisError(f"'{path.name}' is not a network of this program, or is damaged; choose another.") from error
    network.hash = hashlib.sha256(data).hexdigest()
    return network.eval().to(device)

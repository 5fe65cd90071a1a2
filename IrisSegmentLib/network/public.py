"""The authors' public checkpoint, brought into this program's form.

The repository Stanford-AIMI/MASS (MIT license) publishes a network of the `mass` configuration. Its file is a pickle:
it is read once, tensors and plain numbers only, and kept as safetensors.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import IrisError
from .config import CONFIGS, NetworkConfig
from .iris import Iris
from .weights import save_network

_ATTENTION = [(r"\.fn\.mha\.", ".attention."), (r"\.fn\.fc", ".layers.fc")]
_CROSS = [(r"\.norm1\.", ".norm_queries."), (r"\.norm2\.", ".norm_context.")]
_NAMES: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"^encoder\.inc\.conv1\.", "encoder.stem."),
    (r"^encoder\.inc\.conv2\.", "encoder.first."),
    (r"^encoder\.down(\d)\.conv\.(\d)\.", lambda m: f"encoder.levels.{int(m[1]) - 1}.{int(m[2]) - 1}."),
    (r"^decoder\.up(\d)\.conv\.0\.", lambda m: f"decoder.ups.{int(m[1]) - 1}.block."),
    (r"^decoder\.up(\d)\.conv\.(\d)\.", lambda m: f"decoder.ups.{int(m[1]) - 1}.further.{int(m[2]) - 1}."),
    (r"\.(conv1|conv2|shortcut)\.conv\.", r".\1."),
    (r"^decoder\.prior_fuse\.(\d)\.attn_layers\.", r"decoder.fusions.\1.blocks."),
    (r"\.prior_aggregate_block\.", ".gather."),
    (r"\.feat_aggregate_block\.", ".spread."),
    (r"\.prior_attn_block\.", ".exchange."),
    (r"\.prior_ffn\.", ".feed_tokens1."),
    (r"\.feat_ffn\.", ".feed_cells."),
    (r"\.prior_ffn_2\.", ".feed_tokens2."),
    (r"^task_embedding\.(\d)\.attn_layers\.", r"task_encoders.\1.blocks."),
    (r"^task_embedding\.", "task_encoders."),
    (r"\.query_attn_block_(\d)\.", r".self\1."),
    (r"\.query_ffn_1\.", ".feed1."),
    (r"\.query_aggregate_block\.", ".cross."),
    (r"\.query_aggregate_ffn\.", ".feed2."),
    (r"\.query_ffn_2\.", ".feed3."),
    (r"\.task_query$", ".queries"),
    (r"\.norm_query\.", ".norm_queries."),
    (r"\.norm_post\.", ".norm_out."),
    (r"\.(expand|merge|squeeze)\.2\.", r".fusion.\1."),
    (r"\.pos_embed\.embedding$", ".fusion.position"),
    (r"^out\.norm\.", "decoder.head.norm."),
    (r"^out\.classifier_pred\.0\.", "decoder.head.first."),
    (r"^out\.classifier_pred\.1\.", "decoder.head.second."),
    (r"^task_prior_", "bank_"),
    *_ATTENTION,
    *_CROSS,
]


def our_name(theirs: str) -> str:
    """What this program calls a tensor of the public state dict."""
    name = re.sub(r"^((module|_orig_mod)\.)+", "", theirs)  # left by training on several GPUs, and by compiling
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def our_state(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """A public state dict in this program's names and channel order: where a decoder level joins features, ours puts
    the raised ones first, theirs the encoder's."""
    ours = {}
    for name, tensor in theirs.items():
        found = our_name(name)
        if re.fullmatch(r"decoder\.ups\.\d\.block\.(conv1|shortcut)\.weight", found):
            skip = tensor.shape[0]
            tensor = torch.cat([tensor[:, skip:], tensor[:, :skip]], 1)
        ours[found] = tensor
    return ours


def import_public(checkpoint: Path, output: Path) -> Iris:
    """Convert the public checkpoint; the averaged weights are taken where the file has them.

    :raises IrisError: when the file is missing, is not that checkpoint, or the output cannot be written.
    """
    if not checkpoint.is_file():
        raise IrisError(f"There is no checkpoint '{checkpoint}'; check its name and folder.")
    try:
        state = our_state(_averaged(checkpoint))
        network = Iris(_configuration(state))
        network.load_state_dict(state)
    except Exception as error:  # a foreign pickle fails in any way it likes, and each means the same
        raise IrisError(
            f"'{checkpoint.name}' is not the public Iris checkpoint, or the file is damaged; get it again."
        ) from error
    try:
        save_network(network, output, {"origin": "Stanford-AIMI/MASS"}, torch.float32)
    except OSError as error:
        raise IrisError(f"'{output}' could not be written ({error.strerror}); choose another folder.") from error
    return network


def _averaged(checkpoint: Path) -> dict[str, Tensor]:
    # A training program notes its best score as a NumPy number: a number, so it is let in.
    number: Callable[..., Any] = np.float64(0).__reduce__()[0]  # type: ignore[assignment]
    known: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType,
        (number, "numpy.core.multiarray.scalar"), (number, "numpy._core.multiarray.scalar"),
    ]  # fmt: skip
    with torch.serialization.safe_globals(known):
        stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
    state = stored.get("ema_model") or stored.get("model") or stored
    if any(t.numel() * t.element_size() > t.untyped_storage().nbytes() for t in state.values()):
        raise ValueError("tensors larger than what is stored of them")  # a forged one would fill memory when copied
    return state


def _configuration(state: dict[str, Tensor]) -> NetworkConfig:
    """The public configuration that has just these tensors.

    :raises ValueError: when none has.
    """
    shapes = {name: tensor.shape for name, tensor in state.items()}
    for config in CONFIGS.values():
        if config.published:
            with torch.device("meta"):
                expected = {name: tensor.shape for name, tensor in Iris(config).state_dict().items()}
            if shapes == expected:
                return config
    raise ValueError("no public configuration has these tensors")

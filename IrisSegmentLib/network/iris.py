"""The Iris network: encode a reference once into task embeddings, then segment any number of targets with them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .affinity import Affinity
from .config import CONFIGS, NetworkConfig
from .decoder import Decoder
from .encoder import Encoder
from .task_encoder import Part, TaskEncoder
from .trust import Trust

AT_ONCE = 2**22  # numbers of the masks that are encoded at once


@dataclass
class TaskEmbeddings:
    """What a network keeps of K classes of a reference, seen in one window.

    :param tokens: one per decoder scale, deep first, each (K, m + 1, C); the foreground token, if any, is the last.
    :param keys: (N, E + 3), one per stride-8 cell of the references, its place last, or None without dense affinity.
    :param values: (K, N, 8), how much of each part of each of those cells the mask fills, or None. Negative: a cell
        that the class does not read, since it is of a reference that was not chosen for it.
    :param by_place: how many keys each reference has, where they are looked up by place too; none: by looks alone.
    """

    tokens: tuple[Tensor, ...]
    keys: Tensor | None = None
    values: Tensor | None = None
    by_place: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.tokens[0])

    def half(self) -> TaskEmbeddings:
        """In the numbers, and in the memory, that files hold."""
        return TaskEmbeddings(
            tuple(t.half().cpu() for t in self.tokens),
            None if self.keys is None else self.keys.half().cpu(),
            None if self.values is None else self.values.half().cpu(),
            self.by_place,
        )


@dataclass
class Answered:
    """What the network answered of a target: logits (K, D, H, W), the encoder's features at the scales that meet the
    task embedding, and where there is dense affinity its keys (1, M, E + 3) and what they carried over by looks
    (1, K, D/4, H/4, W/4); where it went by place too, the centers of mass (K, 3) of the references' masks as they lie
    in the target, in half lengths of its longest side from its middle.
    """

    logits: Tensor
    features: list[Tensor]
    queries: Tensor | None = None
    carried: Tensor | None = None
    centers: Tensor | None = None


class Iris(nn.Module):
    """
    Example::

        network = build("small")
        embeddings = network.encode(image, masks)           # once
        logits = network.segment(other_image, embeddings)   # as often as wanted, all classes at once
    """

    hash = "random"  # sha256 of the weights once they came from a file
    trust = Trust()  # what its file says of it

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        self.encoder = Encoder(config)
        deepest = config.stem_stride * 2 ** (len(c) - 1)
        self.task_encoders = nn.ModuleList(
            TaskEncoder(config, width, deepest // 2**n) for n, width in enumerate(c[::-1][: config.stages])
        )
        if config.bank:
            for n, width in enumerate(c[::-1][: config.stages]):
                self.register_buffer(f"bank_{n}", torch.zeros(config.bank, config.tokens + config.foreground, width))
        self.affinity = Affinity(c[-2], c[-1], config.affinity) if config.affinity else None
        self.decoder = Decoder(config)

    def encode(self, image: Tensor, masks: Tensor) -> TaskEmbeddings:
        """A reference image (1, 1, D, H, W) and its masks (K, D, H, W) in 0..1, sizes multiples of 16."""
        return self.learned(self.encoder(image), masks)

    def learned(self, features: list[Tensor], masks: Tensor) -> TaskEmbeddings:
        """`encode`, from what the encoder made of the image; the features stay as they are."""
        tokens, keys, values = self.embed(features, masks[None])
        return TaskEmbeddings(
            tuple(t[0] for t in tokens),
            None if keys is None else keys[0],
            None if values is None else values[0],
        )

    def segment(self, image: Tensor, embeddings: TaskEmbeddings) -> Tensor:
        """A target image (1, 1, D, H, W) to logits (K, D, H, W), one pass for all classes."""
        return self.answered(self.encoder(image), embeddings).logits

    def answered(self, features: list[Tensor], embeddings: TaskEmbeddings) -> Answered:
        """`segment`, from what the encoder made of the image, with what it was drawn from; the features stay as they
        are."""
        queries = carried = told = centers = None
        if self.affinity is not None and embeddings.keys is not None and embeddings.values is not None:
            queries = self.affinity.keys(features[-2], features[-1])
            keys, values, size = embeddings.keys[None], embeddings.values[None], features[-2].shape[2:]
            told = carried = self.affinity(queries, keys, values, size)
            if embeddings.by_place:
                lie = self.affinity.placed(queries, keys, embeddings.by_place)
                told = self.affinity(queries, keys, values, size, lie)
                filled = embeddings.values.clamp_min(0).mean(-1)
                centers = (filled[..., None] * lie[0]).sum(1) / filled.sum(-1, keepdim=True).clamp_min(1e-6)
        logits = self.decoder(features, [t[None] for t in embeddings.tokens], told)[0]
        return Answered(logits, features[-self.config.stages :], queries, carried, centers)

    def agreement(self, answered: Answered, found: Tensor, embeddings: TaskEmbeddings) -> tuple[Tensor, Tensor] | None:
        """`Affinity.agreement` of masks (K, D, H, W) in an answer by these embeddings; None where nothing was
        carried."""
        if answered.queries is None or answered.carried is None:
            return None
        assert self.affinity is not None and embeddings.keys is not None and embeddings.values is not None
        return self.affinity.agreement(found, answered.carried, answered.queries, embeddings.keys, embeddings.values)

    def embed(
        self, features: list[Tensor], masks: Tensor
    ) -> tuple[list[Tensor], Tensor | None, Tensor | None]:
        """Tokens, keys and values of a batch of references: features of the encoder, masks (B, K, D, H, W)."""
        keys = None if self.affinity is None else self.affinity.keys(features[-2], features[-1])
        if len(masks) == 1 and not torch.is_grad_enabled() and self.config.mask_fusion == "linear":
            return self._embed_each(features, masks[0], keys)
        # A few classes at a time, so that memory does not grow with them; a gradient needs them all anyway.
        few = masks.shape[1] if torch.is_grad_enabled() else max(1, AT_ONCE // masks[:, 0].numel())
        parts = []
        for some in masks.split(few, 1):
            tokens = [encode(features[-1 - n], some) for n, encode in enumerate(self.task_encoders)]
            parts.append(tokens if self.affinity is None else [*tokens, self.affinity.values(some)])
        joined = [torch.cat(p, 1) for p in zip(*parts, strict=True)]
        return (joined, None, None) if self.affinity is None else (joined[:-1], keys, joined[-1])

    def _embed_each(
        self, features: list[Tensor], masks: Tensor, keys: Tensor | None
    ) -> tuple[list[Tensor], Tensor | None, Tensor | None]:
        """`embed` for one reference, masks (K, D, H, W): what classes share is computed once, and each class only where
        its mask is."""
        deepest = self.config.stem_stride * 2 ** (len(features) - 1)
        parts = [Part.of(mask, deepest) for mask in masks]
        tokens = []
        for n, encode in enumerate(self.task_encoders):
            assert isinstance(encode, TaskEncoder)
            tokens.append(encode.each(features[-1 - n], parts))
        return tokens, keys, None if self.affinity is None else self.affinity.values_of(parts)

    def carry(self, features: list[Tensor], keys: Tensor | None, values: Tensor | None) -> Tensor | None:
        """The references' masks brought over by affinity, by looks, (B, K, D/4, H/4, W/4), or None without affinity."""
        if self.affinity is None or keys is None or values is None:
            return None
        queries = self.affinity.keys(features[-2], features[-1])
        return self.affinity(queries, keys, values, features[-2].shape[2:])

    def decode(
        self, features: list[Tensor], tokens: list[Tensor], keys: Tensor | None, values: Tensor | None
    ) -> Tensor:
        """Logits (B, K, D, H, W) of a batch of targets, each with its own tokens, keys and values."""
        return self.decoder(features, tokens, self.carry(features, keys, values))


def build(name: str, seed: int = 0) -> Iris:
    """A network of a named configuration with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Iris(CONFIGS[name]).eval()

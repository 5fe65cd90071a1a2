"""One case of an archive that becomes a pool: read, encode, hand back what the pool keeps of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..context.cache import content_hash
from ..context.pool import Pool
from ..engine import Engine
from ..errors import IrisError
from ..imaging.files import read_segmentation, read_volume
from ..imaging.window import PREPROCESSING
from .cases import Case
from .work import Failure


@dataclass(frozen=True)
class Encoded:
    """
    :param content: hash of the scan and its segmentation.
    :param preset: as `Preset.to_bytes` gives it; empty when the pool has the content already.
    :param classes, scan: what it is found by, (K, D) and (D,).
    """

    content: str
    preset: bytes = b""
    classes: NDArray[np.float16] | None = None
    scan: NDArray[np.float16] | None = None


class Encoding:
    """
    :param network, device: as for `Engine`; made_by: hash of the network that the pool belongs to.
    :param known: contents that the pool has already.
    """

    def __init__(
        self, network: Path | None, device: str, made_by: str, preprocessing: int, known: frozenset[str]
    ) -> None:
        self._network, self._device, self._known = network, device, known
        self._made_by = made_by, preprocessing

    def prepare(self) -> None:
        self._engine = Engine(self._network, self._device)
        self._engine.check(Pool(*self._made_by))

    def do(self, case: Case) -> Encoded | Failure:
        try:
            assert case.segmentation is not None, "only segmented cases are learned from"
            image = read_volume(case.image)
            segmentation = read_segmentation(case.segmentation, case.labels, image)
            content = content_hash(image, segmentation, self._engine.network.hash, PREPROCESSING)
            if content in self._known:
                return Encoded(content)
            preset = self._engine.learned(image, segmentation, name=image.name)
        except IrisError as error:
            return Failure(str(error))
        (reference,) = preset.references
        return Encoded(content, preset.to_bytes(), reference.class_vectors, reference.vector)

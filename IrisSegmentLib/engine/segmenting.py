"""One target is segmented, coarse to fine: found in the whole scan, looked at closer there, and, where there are
several classes, closer still at each alone."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..context.levels import alone, altered
from ..context.preset import Preset
from ..context.retrieval import class_vectors
from ..imaging.box import Box
from ..imaging.volume import Segmentation, Volume
from ..imaging.window import Window, paste
from ..network.iris import Answered
from ..network.trust import Signs, together
from .alterations import ALTERATIONS
from .doubting import doubt_of
from .looks import LEAST, STILL, Seen, blended, closer_window, confidence, weighed, without
from .progress import Progress
from .result import Result
from .sight import Agreed, Overview, Sight, filled
from .whereabouts import whereabouts_of


class Segmenting:
    """
    :param preset: made by the network of ``sight``.
    :param overview: of the image, where it is known already.
    :param alterations: through how many to look too; by default as many as the preset says.

    Example::

        result = Segmenting(sight, image, preset, progress).result()
    """

    def __init__(
        self, sight: Sight, image: Volume, preset: Preset, progress: Progress, overview: Overview | None = None,
        alterations: int | None = None,
    ) -> None:
        self._started = time.perf_counter()
        self._sight, self._image, self._preset, self._progress = sight, image, preset, progress
        progress.report(0.0, f"Looking at {image.name}")
        overview = overview or sight.overview(image)
        self._whole, self._intensity, self._sampled = overview.window, overview.intensity, overview.sampled
        self._alterations = ALTERATIONS[: preset.alterations if alterations is None else alterations]
        progress.report(0.1, f"Finding {preset.name} in {image.name}")
        self._coarse = preset.embeddings("coarse")
        self._first = sight.answered(overview.features, self._coarse)
        self._whereabouts = whereabouts_of(preset, aligned=self._first.centers is not None)

    def result(self) -> Result:
        """
        :raises Cancelled: when the progress was cancelled.
        """
        looks, agreed, over = self._looked()
        self._progress.report(0.8, f"Drawing {self._preset.name} in {self._image.name}")
        segmentation = self._drawn(looks)
        # What passes 50 % may be too small for a voxel.
        signs = self._signs(looks, agreed, [ml > 0 for ml in segmentation.volumes_ml()])
        trust = self._sight.network.trust
        empty = tuple(trust.none_there(s) for s in signs)
        if any(empty):
            segmentation = self._drawn(without(looks, empty))
        sure = tuple(0.0 if left else trust.expected(s) for s, left in zip(signs, empty, strict=True))
        doubt = doubt_of(looks, over, self._image.affine)
        self._progress.report(1.0, f"{self._image.name} is done")
        seconds = time.perf_counter() - self._started
        return Result(segmentation, sure, segmentation.volumes_ml(), seconds, doubt, signs, empty)

    def _looked(self) -> tuple[list[Seen], list[Agreed], Window]:
        """The last look at each class, or at all; what `Sight.agreed` says of each class; and the closest window that
        holds all of them."""
        sight, image, preset = self._sight, self._image, self._preset
        logits = self._together(self._first, self._sampled, "coarse")
        box = self._whereabouts.around_all(self._whole, logits, sight.centers(self._first, self._whole))
        if box is None:
            return [(self._whole, logits)], sight.agreed(self._first, self._coarse, logits), self._whole
        self._progress.report(0.2, f"Looking closer at {image.name}")
        extent = tuple(LEAST * e for e in preset.extent)
        closer = closer_window(sight.inputs, image, box, not preset.places(), extent)  # type: ignore[arg-type]
        fine = preset.embeddings("fine")
        sampled = sight.sampled(closer, image, self._intensity)
        second = sight.answered(sight.features(sampled), fine)
        seen = blended(self._whole.seen_from(closer, logits), self._together(second, sampled, "fine"))
        self._whereabouts.heard("fine", closer, seen, sight.centers(second, closer))
        agreed = sight.agreed(second, fine, seen)
        if not preset.places():
            return [(closer, seen)], agreed, closer
        return *self._alone((closer, seen), agreed, self._progress.part(0.3, 0.8)), closer

    def _alone(self, wider: Seen, agreed: Sequence[Agreed], progress: Progress) -> tuple[list[Seen], list[Agreed]]:
        """A look at each class alone, where all of them together say that it is, and what `Sight.agreed` says of it.

        :param wider: the closer look at all of them; ``agreed``: of it.
        """
        sight, image, preset, places = self._sight, self._image, self._preset, self._preset.places()
        window, logits = wider
        looks, agreed = [(window, one) for one in logits.split(1)], list(agreed)
        seen: dict[int, Box] = {}
        for turn in range(2):  # a second time for those that the first look shows to lie elsewhere
            for n, box in enumerate(self._whereabouts.around_each()):
                if n in seen and box.distance(seen[n]) < STILL * max(box.extent):
                    continue
                words = f"Looking closer at {preset.segments[n].name} in {image.name}"
                progress.report((turn + n / len(places)) / 2, words)
                closer, seen[n] = sight.inputs.over_one(image, box), box
                own = preset.embeddings(alone(n))
                sampled = sight.sampled(closer, image, self._intensity)
                answered = sight.answered(sight.features(sampled), own)
                one = self._together(answered, sampled, alone(n))
                looks[n] = (closer, blended(window.seen_from(closer, logits[n : n + 1]), one))
                self._whereabouts.heard(alone(n), closer, looks[n][1], sight.centers(answered, closer), first=n)
                (agreed[n],) = sight.agreed(answered, own, looks[n][1])
        return looks, agreed

    def _together(self, answered: Answered, sampled: Tensor, level: str) -> Tensor:
        """The logits (K, D, H, W) of a look's answer, or of it and the same look through alterations, `weighed`.

        :param sampled: what the look showed.
        """
        sight, seen = self._sight, [self._sight.logits(answered)]
        for n, alteration in enumerate(self._alterations):
            own = self._preset.embeddings(altered(level, n))
            otherwise = sight.answered(sight.features(alteration.of_image(sampled)), own)
            seen.append(sight.logits(otherwise, alteration))
        return weighed(seen) if self._alterations else seen[0]

    def _drawn(self, looks: Sequence[Seen]) -> Segmentation:
        name = f"{self._image.name} {self._preset.name}"
        return Segmentation(paste(looks)[None], self._image.affine, self._preset.segments, name)

    def _signs(self, looks: Sequence[Seen], agreed: Sequence[Agreed], drawn: Sequence[bool]) -> tuple[Signs, ...]:
        """What speaks for the answer of each class.

        :param looks, agreed: of `_looked`; drawn: of which classes it gave any voxel.
        """
        of_looks = [p for _, logits in looks for p in confidence(logits)]
        promised = [p if shown else 0.0 for p, shown in zip(of_looks, drawn, strict=True)]
        found = [p > 0 for p in promised]
        seen = torch.cat([window.seen_from(self._whole, logits) for window, logits in looks])
        likeness = self._likeness(seen, found)
        returned = together([r for _, r in agreed], found)
        returned_wide = together([r for _, r in self._sight.agreed(self._first, self._coarse, seen)], found)
        foreign = bool(self._preset.modality) and self._preset.modality != self._intensity.modality
        return tuple(
            Signs(p, likeness, brought, one, wide, foreign, again)
            for p, (brought, _), one, wide, again in zip(
                promised, agreed, returned, returned_wide, self._preset.found_again(), strict=True
            )
        )

    def _likeness(self, seen: Tensor, found: Sequence[bool]) -> float | None:
        """Cosine between how what was found and what was marked look in the whole scan, mean over the segments that
        were found; None when none was, or a reference's look is not known. Nor is it for the public network, which
        has no use of it.

        :param seen: the logits (K, D, H, W) at the cells of the first look.
        """
        sight = self._sight
        marked = None if sight.inputs.published else self._preset.class_vectors()
        if marked is None or not any(found):
            return None
        masks = sight.inputs.turned(filled(seen[torch.tensor(found)])).to(sight.device)
        vectors = class_vectors(self._first.features, masks, sight.network.config.align_corners)
        return float((vectors.astype(np.float32) * marked[np.array(found)]).sum(1).mean())

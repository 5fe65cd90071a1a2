"""The one door: references are encoded, targets segmented, presets chosen and tuned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..context import tuning
from ..context.appearance import Appearance
from ..context.bank import MemoryBank
from ..context.cache import EmbeddingCache, content_hash
from ..context.ensemble import joined
from ..context.levels import altered
from ..context.pool import Pool
from ..context.preset import Preset, Reference, Tuning, fits
from ..context.retrieval import class_vectors, scan_vector
from ..errors import IrisError
from ..imaging.volume import Segment, Segmentation, Volume, same_grid
from ..imaging.window import PREPROCESSING
from ..network import Iris, TaskEmbeddings
from .alterations import ALTERATIONS
from .looks import closer_windows
from .progress import Progress
from .proof import proven_sight
from .result import Result
from .segmenting import Segmenting
from .sight import Overview
from .strategies import choose

FAMILIAR = 0.85  # Dice in a reference's own scan from which the network needs no altered looks to follow it


class Engine:
    """
    :param network: a network file; the bundled one by default.
    :param device: ``auto``, ``cpu`` or ``cuda``.
    :ivar distrusts_card: there is one, it answered otherwise than the processor, and so the processor computes.
    :raises IrisError: for a file that is no network, and for a device asked for by name that does not work.

    Example::

        engine = Engine()
        preset = engine.encode(read_volume("a.nii.gz"), read_segmentation("a.seg.nrrd"), name="hippocampus")
        result = engine.segment(read_volume("b.nii.gz"), preset)
        write_segmentation(result.segmentation, "b.seg.nrrd")
    """

    def __init__(self, network: str | Path | None = None, device: str = "auto") -> None:
        self.sight, self.distrusts_card = proven_sight(network, device)
        self._cache = EmbeddingCache()

    @property
    def network(self) -> Iris:
        return self.sight.network

    @property
    def device(self) -> torch.device:
        return self.sight.device

    def forget(self) -> None:
        """Forget the references that were encoded so far."""
        self._cache = EmbeddingCache()

    def encode(
        self, image: Volume, segmentation: Segmentation, *, name: str, progress: Progress | None = None
    ) -> Preset:
        """One reference to a preset, at all levels, which is then tried on its own scan: with what the scan looks like
        in numbers and words, how large its segments are and how much of them is found again, for those who choose among
        presets later, compare volumes and scans, and should know when the network does not follow their marks. Where
        that is not nearly all, it is tried through alterations too.

        :raises IrisError: when image and segmentation lie on different grids, or a segment is empty.
        :raises Cancelled: when the progress was cancelled.
        """
        progress = progress or Progress()
        progress.report(0.0, "Reading the reference")
        _check_reference(image, segmentation)
        overview = self.sight.overview(image)
        preset = self._learned(image, segmentation, name, progress.part(0.0, 0.25), overview)
        again = self._tried(image, segmentation, preset, overview, progress.part(0.25, 0.5))
        (reference,) = preset.references
        reference = replace(
            reference, appearance=Appearance.of(image), volumes_ml=segmentation.volumes_ml(), found_again=again
        )
        if np.mean(again) < FAMILIAR and not self.sight.inputs.published:
            levels = self._altered(image, segmentation, overview, progress.part(0.5, 0.75))
            through = replace(reference, levels={**reference.levels, **levels})
            preset = replace(preset, references=(through,))
            found = self._tried(image, segmentation, preset, overview, progress.part(0.75, 1.0), len(ALTERATIONS))
            reference = replace(through if np.mean(found) >= np.mean(again) else reference, found_altered=found)
        progress.report(1.0, "Reference learned and tried")
        return replace(preset, references=(reference,))

    def _tried(
        self, image: Volume, segmentation: Segmentation, preset: Preset, overview: Overview, progress: Progress,
        alterations: int = 0,
    ) -> tuple[float, ...]:
        """Dice, per segment, of what a preset finds in its reference's own scan."""
        trial = Segmenting(self.sight, image, preset, progress, overview, alterations).result()
        return _overlaps(trial.segmentation, segmentation)

    def _altered(
        self, image: Volume, segmentation: Segmentation, overview: Overview, progress: Progress
    ) -> dict[str, TaskEmbeddings]:
        """What is learned of a reference through alterations, at all levels."""
        sight, levels = self.sight, {}
        windows, _ = closer_windows(sight.inputs, image, segmentation)
        shown = {"coarse": (overview.window, segmentation), **windows}
        for m, (level, (window, segments)) in enumerate(shown.items()):
            progress.report(m / len(shown), "Learning an unfamiliar anatomy")
            whole = window is overview.window
            sampled = overview.sampled if whole else sight.sampled(window, image, overview.intensity)
            masks = sight.masks(window, segments)
            for n, alteration in enumerate(ALTERATIONS):
                features = sight.features(alteration.of_image(sampled))
                levels[altered(level, n)] = sight.learned(features, alteration.of_masks(masks))
        return levels

    def learned(
        self, image: Volume, segmentation: Segmentation, *, name: str, progress: Progress | None = None
    ) -> Preset:
        """`encode` without the trial, in little more than half the time: for pools, banks and tuning, which have many
        references.

        :raises IrisError: when image and segmentation lie on different grids, or a segment is empty.
        :raises Cancelled: when the progress was cancelled.
        """
        progress = progress or Progress()
        progress.report(0.0, "Reading the reference")
        _check_reference(image, segmentation)
        return self._learned(image, segmentation, name, progress)

    def _learned(
        self, image: Volume, segmentation: Segmentation, name: str, progress: Progress,
        overview: Overview | None = None,
    ) -> Preset:
        """:param overview: of the image, where it is known already."""
        sight = self.sight
        key = content_hash(image, segmentation, self.network.hash, PREPROCESSING)
        reference = self._cache.get(key)
        if reference is None:
            progress.report(0.2, "Learning from the whole scan")
            overview = overview or sight.overview(image)
            masks = sight.masks(overview.window, segmentation)
            levels = {"coarse": sight.learned(overview.features, masks)}
            seen = sight.meeting(overview.features)
            vectors = class_vectors(seen, masks, self.network.config.align_corners)
            windows, places = closer_windows(sight.inputs, image, segmentation)
            for n, (level, (window, shown)) in enumerate(windows.items()):
                progress.report(0.5 + 0.5 * n / len(windows), "Learning from a closer look")
                levels[level] = sight.learned(
                    sight.features(sight.sampled(window, image, overview.intensity)), sight.masks(window, shown)
                )
            reference = Reference(
                levels, windows["fine"][0].extent, places=places, vector=scan_vector(seen), class_vectors=vectors
            )
            self._cache.put(key, reference)
        progress.report(1.0, "Reference learned")
        words = tuple(Segment(s.name, s.color, s.terminology, 0, n + 1) for n, s in enumerate(segmentation.segments))
        intensity = overview.intensity if overview else sight.inputs.intensity(image)
        return Preset(
            name, words, (reference,), self.network.hash, PREPROCESSING, intensity.modality, image.spacing
        )

    def segment(self, image: Volume, preset: Preset, *, progress: Progress | None = None) -> Result:
        """One target, all classes of the preset.

        :raises IrisError: when the preset was made by another network.
        :raises Cancelled: when the progress was cancelled.
        """
        self.check(preset)
        return Segmenting(self.sight, image, preset, progress or Progress()).result()

    def measure(
        self, image: Volume, segmentation: Segmentation, preset: Preset, *, progress: Progress | None = None
    ) -> tuple[float, ...]:
        """Dice, per class of a preset, of what it finds in a scan with a segmentation of the same segments, 0..1.

        :raises IrisError: as `segment`.
        :raises Cancelled: when the progress was cancelled.
        """
        return _overlaps(self.segment(image, preset, progress=progress).segmentation, segmentation)

    def choose(
        self,
        source: Preset | Pool | MemoryBank,
        strategy: str,
        *,
        image: Volume | None = None,
        segments: Sequence[str] | None = None,
        count: int | None = None,
        seed: int | str = 0,
        progress: Progress | None = None,
    ) -> Preset:
        """The preset to segment a target with, by one of `STRATEGIES`.

        :param source: a preset for ``one-shot`` (its first reference), ``ensemble`` (all) and ``tuning`` (as it was
            tuned); a pool for ``one-shot`` and ``ensemble`` (random references) and the two retrievals; a bank for
            ``memory-bank``.
        :param image: the target; only the retrievals look at it.
        :param segments: the classes wanted of a pool or bank, by name; default: all.
        :param count: references of a pool per class; default: what `STRATEGIES` says.
        :param seed: of what is drawn at random.
        :raises IrisError: for an unknown strategy, one that the source does not serve, a source that was made by
            another network, or a pool that has too little.
        :raises Cancelled: when the progress was cancelled.
        """
        self.check(source)
        return choose(self, source, strategy, image, segments, count, seed, progress or Progress())

    def add(
        self, pool: Pool, image: Volume, segmentation: Segmentation, *, progress: Progress | None = None
    ) -> str:
        """Encode a reference into a pool, unless it is there already; returns its content hash.

        :raises IrisError: as `encode`, and for a pool that was made by another network.
        :raises Cancelled: when the progress was cancelled.
        """
        self.check(pool)
        content = content_hash(image, segmentation, self.network.hash, PREPROCESSING)
        if content not in pool:
            preset = self.learned(image, segmentation, name=image.name, progress=progress)
            vectors, vector = preset.references[0].class_vectors, preset.references[0].vector
            assert vectors is not None and vector is not None, "encoding gives them"
            pool.add(content, preset, vectors, vector)
        return content

    def class_vectors(self, image: Volume, segmentation: Segmentation) -> NDArray[np.float16]:
        """What each segment looks like to the network, for object retrieval: (K, D), of length one.

        In the whole scan: a closer look would follow the size of the segmentation, and that of a first answer is often
        off; a scan then found itself among 14 a quarter of the time instead of three quarters.
        """
        whole = self.sight.overview(image)
        masks = self.sight.masks(whole.window, segmentation)
        return class_vectors(self.sight.meeting(whole.features), masks, self.network.config.align_corners)

    def scan_vector(self, image: Volume) -> NDArray[np.float16]:
        """What a whole scan looks like to the network, for image retrieval: (D,), of length one."""
        return scan_vector(self.sight.meeting(self.sight.overview(image).features))

    def tune(
        self,
        preset: Preset,
        references: Sequence[tuple[Volume, Segmentation]],
        *,
        steps: int = 60,
        progress: Progress | None = None,
        watch: Callable[[Sequence[float]], None] = lambda curve: None,
    ) -> tuple[Preset, tuning.Outcome]:
        """Tune a preset's tokens to scans whose segmentation is known; the network stays as it is.

        :param references: at least two besides the one that the preset was made from. A scan that is among the
            preset's own references is looked at without them.
        :param steps: at most; how many are best is found out on the way.
        :param watch: as for `tuning.tuned`.
        :return: the preset, tuned if scans that were held back gained, else unchanged; and how it went.
        :raises IrisError: for too few steps or references, or one that lacks a segment of the preset.
        :raises Cancelled: when the progress was cancelled.
        """
        progress = progress or Progress()
        self.check(preset)
        if steps < tuning.EVERY:
            raise IrisError(f"Tuning takes {tuning.EVERY} steps or more, not {steps}.")
        self.network.requires_grad_(False)  # a gradient is wanted for the tokens only
        scans = []
        for n, (image, segmentation) in enumerate(references):
            part = progress.part(0.2 * n / len(references), 0.2 * (n + 1) / len(references))
            scan = self._scan(preset, image, segmentation, part)
            scans += [] if scan is None else [scan]
        if len(scans) < 2:
            raise IrisError(
                f"Tuning '{preset.name}' needs at least two segmented scans besides the one that it was made from."
            )
        outcome = tuning.tuned(self.network, self.sight.precision, scans, steps, progress.part(0.2, 1.0).report, watch)
        progress.report(1.0, f"{preset.name} is {'unchanged' if outcome.shift is None else 'tuned'}")
        if outcome.shift is None:
            return preset, outcome
        words = Tuning(len(scans), outcome.steps, outcome.before, outcome.after)
        moved = tuple(tuning.moved(r, outcome.shift) if r.enabled else r for r in preset.references)
        return replace(preset, references=moved, tuning=words), outcome

    def _scan(
        self, preset: Preset, image: Volume, segmentation: Segmentation, progress: Progress
    ) -> tuning.Scan | None:
        """A reference as tuning wants it, or None when the preset knows nothing but this scan."""
        names = [s.name for s in segmentation.segments]
        missing = [s.name for s in preset.segments if s.name not in names]
        if missing:
            raise IrisError(f"'{segmentation.name}' has no segment '{missing[0]}', which '{preset.name}' has.")
        segmentation = segmentation.only([names.index(s.name) for s in preset.segments])
        (own,) = self.learned(image, segmentation, name=preset.name, progress=progress).references
        others = [r for r in preset.enabled() if not tuning.same_scan(r, own)]
        if not others:
            return None
        intensity = self.sight.inputs.intensity(image)
        windows, _ = closer_windows(self.sight.inputs, image, segmentation)
        windows["coarse"] = (self.sight.inputs.whole_scan(image), segmentation)
        return {
            level: tuning.View(
                self.sight.features(self.sight.sampled(window, image, intensity)),
                self.sight.masks(window, shown)[None],
                self.sight.here(joined([r.levels[level] for r in others])),
            )
            for level, (window, shown) in windows.items()
            if all(level in r.levels for r in others)
        }

    def check(self, made: Preset | Pool | MemoryBank) -> None:
        """
        :raises IrisError: when a preset, pool or bank was made by another network or another preprocessing, or only
            says that it was not.
        """
        if made.network != self.network.hash or made.preprocessing != PREPROCESSING:
            kind = "pool" if isinstance(made, Pool) else "memory bank"
            what = f"preset '{made.name}'" if isinstance(made, Preset) else kind
            raise IrisError(
                f"The {what} was made by another network than the one in use; "
                "encode its references again, or choose the network that made it."
            )
        if isinstance(made, Preset) and not all(
            fits(embeddings, self.network.config) for r in made.references for embeddings in r.levels.values()
        ):
            raise IrisError(
                f"The numbers of the preset '{made.name}' are not this network's, though it says so; it is damaged or "
                "was tampered with, so encode its references again."
            )


def _overlaps(found: Segmentation, marked: Segmentation) -> tuple[float, ...]:
    """Dice per segment of two segmentations of the same."""
    return tuple(_overlap(found.mask(n), marked.mask(n)) for n in range(len(found.segments)))


def _overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def _check_reference(image: Volume, segmentation: Segmentation) -> None:
    if not same_grid(image, segmentation):
        raise IrisError(
            f"The segmentation '{segmentation.name}' does not lie on the voxels of '{image.name}'; "
            "resample it to that scan, or choose the scan that it was drawn on."
        )
    if not segmentation.segments:
        raise IrisError(f"No segment of '{segmentation.name}' was chosen; tick at least one.")
    if len(segmentation.segments) > 255:
        raise IrisError(f"'{segmentation.name}' has more than 255 segments; choose fewer.")
    for n, segment in enumerate(segmentation.segments):
        if segmentation.boxes[n][0].stop == 0:
            raise IrisError(f"The segment '{segment.name}' of '{segmentation.name}' is empty; draw it or untick it.")

"""Encode references and segment targets, coarse to fine: find where in the whole scan, look closer there, then, where
there are several classes, look closer still at each alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..context import tuning
from ..context.appearance import Appearance
from ..context.bank import MemoryBank
from ..context.cache import EmbeddingCache, content_hash
from ..context.ensemble import joined
from ..context.levels import alone
from ..context.pool import Pool
from ..context.preset import Preset, Reference, Tuning, fits
from ..context.retrieval import class_vectors, scan_vector
from ..errors import IrisError
from ..imaging.box import Box
from ..imaging.intensity import Intensity
from ..imaging.volume import Segment, Segmentation, Volume, same_grid
from ..imaging.window import PREPROCESSING, Window, paste
from ..network import Precision, TaskEmbeddings, load_network
from ..network.iris import Answered
from ..network.trust import Signs, together
from .device import choose_device
from .doubting import doubt_of
from .inputs import Inputs
from .looks import FAINT, LEAST, STILL, Seen, blended, closer_window, closer_windows, confidence, where, without
from .progress import Progress
from .result import Result
from .strategies import choose

Agreed: TypeAlias = tuple[float | None, float | None]  # both ways, as `Affinity.agreement`; None where not known


class Engine:
    """
    :param network: a network file; the bundled one by default.
    :param device: ``auto``, ``cpu`` or ``cuda``.

    Example::

        engine = Engine()
        preset = engine.encode(read_volume("a.nii.gz"), read_segmentation("a.seg.nrrd"), name="hippocampus")
        result = engine.segment(read_volume("b.nii.gz"), preset)
        write_segmentation(result.segmentation, "b.seg.nrrd")
    """

    def __init__(self, network: str | Path | None = None, device: str = "auto") -> None:
        self.device = choose_device(device)
        self.network = load_network(network, self.device)
        self.precision = Precision.of(self.device)
        self.precision.prepare(self.network)
        self.inputs = Inputs.of(self.network.config)
        self._cache = EmbeddingCache()

    def forget(self) -> None:
        """Forget the references that were encoded so far."""
        self._cache = EmbeddingCache()

    def encode(
        self, image: Volume, segmentation: Segmentation, *, name: str, progress: Progress | None = None
    ) -> Preset:
        """One reference to a preset, at all levels.

        :raises IrisError: when image and segmentation lie on different grids, or a segment is empty.
        :raises Cancelled: when the progress was cancelled.
        """
        progress = progress or Progress()
        progress.report(0.0, "Reading the reference")
        _check_reference(image, segmentation)
        intensity = self.inputs.intensity(image)
        key = content_hash(image, segmentation, self.network.hash, PREPROCESSING)
        reference = self._cache.get(key)
        if reference is None:
            progress.report(0.2, "Learning from the whole scan")
            whole = self.inputs.whole_scan(image)
            features, masks = self._features(whole, image, intensity), self._masks(whole, segmentation)
            levels = {"coarse": self._learned(features, masks)}
            seen = features[-self.network.config.stages :]
            vectors = class_vectors(seen, masks, self.network.config.align_corners)
            windows, places = closer_windows(self.inputs, image, segmentation)
            for n, (level, (window, shown)) in enumerate(windows.items()):
                progress.report(0.5 + 0.5 * n / len(windows), "Learning from a closer look")
                levels[level] = self._learned(self._features(window, image, intensity), self._masks(window, shown))
            reference = Reference(
                levels, windows["fine"][0].extent, places=places, vector=scan_vector(seen), class_vectors=vectors
            )
            self._cache.put(key, reference)
        progress.report(1.0, "Reference learned")
        words = tuple(Segment(s.name, s.color, s.terminology, 0, n + 1) for n, s in enumerate(segmentation.segments))
        return Preset(
            name, words, (reference,), self.network.hash, PREPROCESSING, intensity.modality, image.spacing
        )

    def described(self, preset: Preset, image: Volume, segmentation: Segmentation) -> Preset:
        """A preset fresh from `encode`, with what its scan looks like in numbers and words and how large its segments
        are: for those who choose among presets later, and compare volumes and scans."""
        (reference,) = preset.references
        kept = replace(reference, appearance=Appearance.of(image), volumes_ml=segmentation.volumes_ml())
        return replace(preset, references=(kept,))

    def segment(self, image: Volume, preset: Preset, *, progress: Progress | None = None) -> Result:
        """One target, all classes of the preset.

        :raises IrisError: when the preset was made by another network.
        :raises Cancelled: when the progress was cancelled.
        """
        progress = progress or Progress()
        started = time.perf_counter()
        self.check(preset)
        progress.report(0.0, f"Looking at {image.name}")
        intensity = self.inputs.intensity(image)
        window = self.inputs.whole_scan(image)
        progress.report(0.1, f"Finding {preset.name} in {image.name}")
        coarse = preset.embeddings("coarse")
        first = self._answered(window, image, coarse, intensity)
        logits = self._logits(first)
        looks, whole = [(window, logits)], window
        found = logits.amax(0)
        box = window.box_of(found > 0, 1.0) or window.box_of(found > FAINT, 1.0)
        if box is not None:
            progress.report(0.2, f"Looking closer at {image.name}")
            extent = tuple(LEAST * e for e in preset.extent)
            closer = closer_window(self.inputs, image, box, not preset.places(), extent)  # type: ignore[arg-type]
            fine = preset.embeddings("fine")
            second = self._answered(closer, image, fine, intensity)
            looks, window = [(closer, blended(window.seen_from(closer, logits), self._logits(second)))], closer
            agreed = self._agreed(second, fine, looks[0][1])
            one_by_one = self._alone(image, preset, looks[0], agreed, intensity, progress.part(0.3, 0.8))
            looks, agreed = one_by_one or (looks, agreed)
        else:
            agreed = self._agreed(first, coarse, logits)
        progress.report(0.8, f"Drawing {preset.name} in {image.name}")
        name = f"{image.name} {preset.name}"
        segmentation = Segmentation(paste(looks)[None], image.affine, preset.segments, name)
        drawn = [ml > 0 for ml in segmentation.volumes_ml()]  # what passes 50 % may be too small for a voxel
        signs = self._signs(preset, looks, drawn, agreed, whole, first, coarse, intensity)
        doubt = doubt_of(looks, window, image.affine)
        trust, empty = self.network.trust, tuple(self.network.trust.none_there(s) for s in signs)
        if any(empty):
            shown = paste(without(looks, empty))
            segmentation = Segmentation(shown[None], image.affine, preset.segments, name)
        sure = tuple(0.0 if left else trust.expected(s) for s, left in zip(signs, empty, strict=True))
        progress.report(1.0, f"{image.name} is done")
        seconds = time.perf_counter() - started
        return Result(segmentation, sure, segmentation.volumes_ml(), seconds, doubt, signs, empty)

    def _signs(
        self,
        preset: Preset,
        looks: Sequence[Seen],
        drawn: Sequence[bool],
        agreed: Sequence[Agreed],
        whole: Window,
        first: Answered,
        coarse: TaskEmbeddings,
        intensity: Intensity,
    ) -> tuple[Signs, ...]:
        """What speaks for the answer of each class.

        :param looks: the last look at each class, or at all; drawn: of which classes it gave any voxel; agreed: what
            `_agreed` says of it, per class.
        :param whole: the window of the ``first`` look, which was by ``coarse``.
        """
        of_looks = [p for _, logits in looks for p in confidence(logits)]
        promised = [p if shown else 0.0 for p, shown in zip(of_looks, drawn, strict=True)]
        found = [p > 0 for p in promised]
        seen = torch.cat([window.seen_from(whole, logits) for window, logits in looks])
        likeness = self._likeness(preset, first, seen, found)
        returned = together([r for _, r in agreed], found)
        returned_wide = together([r for _, r in self._agreed(first, coarse, seen)], found)
        foreign = bool(preset.modality) and preset.modality != intensity.modality
        return tuple(
            Signs(p, likeness, brought, one, wide, foreign)
            for p, (brought, _), one, wide in zip(promised, agreed, returned, returned_wide, strict=True)
        )

    def _likeness(self, preset: Preset, first: Answered, seen: Tensor, found: Sequence[bool]) -> float | None:
        """Cosine between how what was found and what was marked look in the whole scan, mean over the segments that
        were found; None when none was, or a reference's look is not known. Nor is it for the public network, which
        has no use of it.

        :param seen: the logits (K, D, H, W) at the cells of the ``first`` look.
        """
        marked = None if self.inputs.published else preset.class_vectors()
        if marked is None or not any(found):
            return None
        masks = self.inputs.turned(_filled(seen[torch.tensor(found)])).to(self.device)
        vectors = class_vectors(first.features, masks, self.network.config.align_corners)
        return float((vectors.astype(np.float32) * marked[np.array(found)]).sum(1).mean())

    def _agreed(self, answered: Answered, embeddings: TaskEmbeddings, logits: Tensor) -> list[Agreed]:
        """`Iris.agreement` of an answer (K, D, H, W) at the cells of a look, per class."""
        with torch.inference_mode():
            masks = self.inputs.turned(_filled(logits)).to(self.device)
            both = self.network.agreement(answered, masks, self._here(embeddings))
        if both is None:
            return [(None, None)] * len(logits)
        return list(zip(both[0].tolist(), both[1].tolist(), strict=True))

    def _alone(
        self,
        image: Volume,
        preset: Preset,
        wider: Seen,
        agreed: Sequence[Agreed],
        intensity: Intensity,
        progress: Progress,
    ) -> tuple[list[Seen], list[Agreed]] | None:
        """A look at each class alone, where all of them together say that it is, and what `_agreed` says of it; None
        when the preset has no places.

        :param wider: the closer look at all of them; ``agreed``: of it.
        """
        places = preset.places()
        if not places:
            return None
        window, logits = wider
        looks, agreed = [(window, one) for one in logits.split(1)], list(agreed)
        seen: dict[int, Box] = {}
        for turn in range(2):  # a second time for those that the first look shows to lie elsewhere
            for n, box in enumerate(where(looks, places)):
                if n in seen and box.distance(seen[n]) < STILL * max(box.extent):
                    continue
                words = f"Looking closer at {preset.segments[n].name} in {image.name}"
                progress.report((turn + n / len(places)) / 2, words)
                closer, seen[n] = self.inputs.over_one(image, box), box
                own = preset.embeddings(alone(n))
                answered = self._answered(closer, image, own, intensity)
                looks[n] = (closer, blended(window.seen_from(closer, logits[n : n + 1]), self._logits(answered)))
                (agreed[n],) = self._agreed(answered, own, looks[n][1])
        return looks, agreed

    def measure(
        self, image: Volume, segmentation: Segmentation, preset: Preset, *, progress: Progress | None = None
    ) -> tuple[float, ...]:
        """Dice, per class of a preset, of what it finds in a scan with a segmentation of the same segments, 0..1.

        :raises IrisError: as `segment`.
        :raises Cancelled: when the progress was cancelled.
        """
        found = self.segment(image, preset, progress=progress).segmentation
        return tuple(_overlap(found.mask(n), segmentation.mask(n)) for n in range(len(preset.segments)))

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
            preset = self.encode(image, segmentation, name=image.name, progress=progress)
            vectors, vector = preset.references[0].class_vectors, preset.references[0].vector
            assert vectors is not None and vector is not None, "encoding gives them"
            pool.add(content, preset, vectors, vector)
        return content

    def class_vectors(self, image: Volume, segmentation: Segmentation) -> NDArray[np.float16]:
        """What each segment looks like to the network, for object retrieval: (K, D), of length one.

        In the whole scan: a closer look would follow the size of the segmentation, and that of a first answer is often
        off; a scan then found itself among 14 a quarter of the time instead of three quarters.
        """
        window = self.inputs.whole_scan(image)
        masks = self._masks(window, segmentation)
        return class_vectors(self._scan_features(image), masks, self.network.config.align_corners)

    def scan_vector(self, image: Volume) -> NDArray[np.float16]:
        """What a whole scan looks like to the network, for image retrieval: (D,), of length one."""
        return scan_vector(self._scan_features(image))

    def _scan_features(self, image: Volume) -> list[Tensor]:
        """Of the whole scan, at the scales that meet the task embedding."""
        scales = self._features(self.inputs.whole_scan(image), image, self.inputs.intensity(image))
        return scales[-self.network.config.stages :]

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
        outcome = tuning.tuned(self.network, self.precision, scans, steps, progress.part(0.2, 1.0).report, watch)
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
        (own,) = self.encode(image, segmentation, name=preset.name, progress=progress).references
        others = [r for r in preset.enabled() if not tuning.same_scan(r, own)]
        if not others:
            return None
        intensity = self.inputs.intensity(image)
        windows, _ = closer_windows(self.inputs, image, segmentation)
        windows["coarse"] = (self.inputs.whole_scan(image), segmentation)
        return {
            level: tuning.View(
                self._features(window, image, intensity),
                self._masks(window, shown)[None],
                self._here(joined([r.levels[level] for r in others])),
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

    def _learned(self, features: list[Tensor], masks: Tensor) -> TaskEmbeddings:
        with torch.inference_mode(), self.precision.autocast():
            kept = self.network.learned(features, masks)
        return kept.half()  # as they are stored, so that a preset gives the same voxels before and after it was saved

    def _answered(self, window: Window, image: Volume, embeddings: TaskEmbeddings, intensity: Intensity) -> Answered:
        features = self._features(window, image, intensity)
        with torch.inference_mode(), self.precision.autocast():
            return self.network.answered(features, self._here(embeddings))

    def _logits(self, answered: Answered) -> Tensor:
        """(K, D, H, W), on the window's axes."""
        return self.inputs.back(answered.logits.float().cpu())

    def _here(self, embeddings: TaskEmbeddings) -> TaskEmbeddings:
        return TaskEmbeddings(
            tuple(t.to(self.device) for t in embeddings.tokens),
            None if embeddings.keys is None else embeddings.keys.to(self.device),
            None if embeddings.values is None else embeddings.values.to(self.device),
        )

    def _features(self, window: Window, image: Volume, intensity: Intensity) -> list[Tensor]:
        """Of what a window shows: learning, answering and comparing read them and leave them as they are."""
        with torch.no_grad(), self.precision.autocast():  # sampling too: the network's figures were measured with it
            sampled = self.inputs.image(window, image, intensity).to(self.device)
            features: list[Tensor] = self.network.encoder(sampled)
        return features

    def _masks(self, window: Window, segmentation: Segmentation) -> Tensor:
        return self.inputs.masks(window, segmentation).to(self.device)


def _filled(logits: Tensor) -> Tensor:
    """Masks (K, D, H, W) of an answer, 0 or 1: what passes 50 %, or of a class too small for these cells the
    likeliest."""
    return (logits > logits.amax((1, 2, 3), keepdim=True).sub(1e-3).clamp_max(0)).float()


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

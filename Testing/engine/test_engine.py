from dataclasses import replace

import numpy as np
import pytest
import torch

from IrisSegmentLib.context.caution import caution
from IrisSegmentLib.context.preset import Preset
from IrisSegmentLib.engine import Cancelled, Engine, Progress
from IrisSegmentLib.engine.looks import confidence
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.evaluation.metrics import dice
from IrisSegmentLib.imaging.volume import Segment, Segmentation, Volume
from IrisSegmentLib.imaging.window import box_of_segments
from IrisSegmentLib.network import build, load_network, save_network
from IrisSegmentLib.network.task_encoder import PublishedMaskFusion
from IrisSegmentLib.network.trust import Presence, Trust


@pytest.fixture(scope="module")
def engine():
    return Engine(device="cpu")


@pytest.fixture(scope="module")
def learned(engine, hippocampi):
    return engine.encode(*hippocampi[0], name="hippocampus")


def test_another_patient_is_segmented(engine, learned, hippocampi):
    """The trained network, one reference, three patients that it never saw."""
    for image, truth in hippocampi[1:]:
        result = engine.segment(image, learned)
        assert result.segmentation.shape == image.shape and np.array_equal(result.segmentation.affine, image.affine)
        assert [s.name for s in result.segmentation.segments] == [s.name for s in truth.segments]
        found = [dice(result.segmentation.mask(n), truth.mask(n)) for n in range(2)]
        assert min(found) > 0.5, found
        assert all(0 < c <= 1 for c in result.confidence) and result.seconds > 0
        assert result.volumes_ml == pytest.approx(result.segmentation.volumes_ml())


def test_the_reference_finds_itself(engine, learned, hippocampi):
    image, truth = hippocampi[0]
    result = engine.segment(image, learned)
    assert min(dice(result.segmentation.mask(n), truth.mask(n)) for n in range(2)) > 0.6


def test_encoding_and_segmenting_report_their_progress(engine, hippocampi):
    seen = []
    preset = engine.encode(*hippocampi[1], name="x", progress=Progress(lambda f, text: seen.append((f, text))))
    engine.segment(hippocampi[2][0], preset, progress=Progress(lambda f, text: seen.append((f, text))))
    fractions = [f for f, _ in seen]
    assert fractions.count(1.0) == 2 and fractions[0] == 0.0 and all(text for _, text in seen)


def test_nothing_is_encoded_twice(engine, hippocampi, monkeypatch):
    first = engine.encode(*hippocampi[0], name="once")
    monkeypatch.setattr(engine.network, "learned", lambda *a: pytest.fail("encoded again"))
    again = engine.encode(*hippocampi[0], name="other name")
    assert torch.equal(first.embeddings("fine").keys, again.embeddings("fine").keys) and again.name == "other name"


def test_a_preset_tells_what_it_finds_again_in_its_own_scan(engine, learned, hippocampi, tmp_path):
    """Most of the hippocampus; next to nothing of noise."""
    image, truth = hippocampi[0]
    assert min(learned.found_again()) > 0.6 and caution(learned) == ""
    untried = engine.learned(image, truth, name="hippocampus")
    found = engine.segment(image, untried).segmentation
    assert learned.found_again() == pytest.approx([dice(found.mask(n), truth.mask(n)) for n in range(2)])
    assert untried.found_again() == (None, None) and torch.equal(
        untried.embeddings("fine").keys, learned.embeddings("fine").keys
    )
    speckle = (np.random.default_rng(0).random(image.shape) < 0.02).astype(np.uint8)
    noise = replace(truth.only([0]), layers=speckle[None], segments=(replace(truth.segments[0], label=1),))
    lost = engine.encode(image, noise, name="noise")
    assert lost.found_again()[0] < 0.3 and f"'{noise.segments[0].name}'" in caution(lost)
    lost.save(tmp_path / "n.iris")
    assert Preset.load(tmp_path / "n.iris").found_again() == lost.found_again()


def test_a_saved_preset_gives_the_same_voxels(engine, learned, hippocampi, tmp_path):
    learned.save(tmp_path / "h.iris")
    image = hippocampi[2][0]
    before, after = engine.segment(image, learned), engine.segment(image, Preset.load(tmp_path / "h.iris"))
    assert np.array_equal(before.segmentation.layers, after.segmentation.layers)


def test_a_preset_of_another_network_is_refused(learned, hippocampi, tmp_path):
    save_network(build("tiny", seed=3), tmp_path / "other.safetensors")
    with pytest.raises(IrisError, match="another network"):
        Engine(tmp_path / "other.safetensors", "cpu").segment(hippocampi[1][0], learned)


@pytest.fixture
def public_engine(monkeypatch, tmp_path):
    """A network of the authors' public form, small, with random weights and windows of 32 cells."""
    monkeypatch.setattr(PublishedMaskFusion, "SIDE", 32)
    save_network(build("mass-tiny"), tmp_path / "public.safetensors")
    return Engine(tmp_path / "public.safetensors", "cpu")


def test_the_public_network_is_shown_what_it_was_trained_on(public_engine, hippocampi):
    """Cells of 1.5 mm, axes S, A, R, its authors' intensities, zeros around the scan."""
    inputs, (image, truth) = public_engine.sight.inputs, hippocampi[0]
    window = inputs.over(image, box_of_segments(truth, 1.0))
    assert window.step == 1.5 and window.shape == (32, 32, 32)
    ramp = Volume(np.broadcast_to(np.arange(40.0), (30, 35, 40)), np.eye(4), "rises along S")
    shown = inputs.image(inputs.whole_scan(ramp), ramp, inputs.intensity(ramp))[0, 0]
    middle = shown[8:24, 16, 16]
    assert (middle.diff() > 0).all() and shown[16, 8:24, 8:24].std() < 1e-5
    assert shown[0, 0, 0] == 0 and shown[:, 16, 16].max() == pytest.approx((38.22 - 19.5) / 11.5, abs=0.1)
    masks = inputs.masks(window, truth)
    assert torch.equal(inputs.back(masks), window.sample_masks(truth))
    air = np.linspace(-1000, 2000, 27).reshape(3, 3, 3)
    assert (inputs.intensity(Volume(air, np.eye(4), "CT")).low, inputs.intensity(ramp).modality) == (-991, "MR or PET")


def test_the_public_network_works_end_to_end_and_its_presets_are_its_own(public_engine, learned, hippocampi, tmp_path):
    preset = public_engine.encode(*hippocampi[0], name="public")
    assert preset.embeddings("fine").keys is None
    preset.save(tmp_path / "public.iris")
    image = hippocampi[1][0]
    results = [public_engine.segment(image, p) for p in (preset, Preset.load(tmp_path / "public.iris"))]
    assert np.array_equal(*(r.segmentation.layers for r in results)) and results[0].segmentation.shape == image.shape
    itself, other = (public_engine.class_vectors(*case) for case in hippocampi[:2])
    assert np.allclose((itself.astype(float) ** 2).sum(1), 1, atol=1e-2) and not np.array_equal(itself, other)
    for engine, other in ((Engine(device="cpu"), preset), (public_engine, learned)):
        with pytest.raises(IrisError, match=r"another network than the one in use.*choose the network that made it"):
            engine.segment(image, other)


@pytest.mark.parametrize("step", range(4))
def test_cancelled_work_stops_at_the_next_step(engine, learned, hippocampi, step):
    steps = []

    def show(fraction, text):
        steps.append(text)
        if len(steps) > step:
            progress.cancel()

    progress = Progress(show)
    with pytest.raises(Cancelled):
        engine.segment(hippocampi[1][0], learned, progress=progress)
    assert len(steps) == step + 1


def test_bad_references_are_refused_in_words(engine, hippocampi):
    image, truth = hippocampi[0]
    empty = Segmentation(np.zeros_like(truth.layers), truth.affine, truth.segments, "drawn")
    moved = truth.affine.copy()
    moved[0, 3] += 5
    for segmentation, words in [
        (empty, "empty"),
        (Segmentation(truth.layers, moved, truth.segments, "elsewhere"), "does not lie on the voxels"),
        (truth.only([]), "tick at least one"),
    ]:
        with pytest.raises(IrisError, match=words):
            engine.encode(image, segmentation, name="x")


def rigidly_moved(volume, seed):
    random = np.random.default_rng(seed)
    axis = random.normal(size=3)
    axis /= np.linalg.norm(axis)
    angle = np.radians(random.uniform(-30, 30))
    cross = np.cross(np.eye(3), axis)
    motion = np.eye(4)
    motion[:3, :3] = np.eye(3) * np.cos(angle) + np.sin(angle) * cross + (1 - np.cos(angle)) * np.outer(axis, axis)
    motion[:3, 3] = random.uniform(-500, 500, 3)
    return Volume(volume.array, motion @ volume.affine, "moved")


@pytest.mark.parametrize("seed", range(3))
def test_a_rigid_change_of_header_gives_the_same_voxels(engine, learned, hippocampi, seed):
    image = hippocampi[0][0]
    here, there = engine.segment(image, learned), engine.segment(rigidly_moved(image, seed), learned)
    assert np.array_equal(here.segmentation.layers, there.segmentation.layers)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2)])
def test_permuted_and_flipped_axes_give_the_same_voxels(engine, learned, hippocampi, order, flips):
    image = hippocampi[0][0]
    array, affine = image.array.transpose(order), image.affine[:, [*order, 3]].copy()
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
        affine[:3, axis] *= -1
        array = np.flip(array, axis)
    found = engine.segment(Volume(np.ascontiguousarray(array), affine, "stored otherwise"), learned)
    layers = found.segmentation.layers[0]
    layers = np.flip(layers, flips) if flips else layers
    assert np.array_equal(layers.transpose(np.argsort(order)), engine.segment(image, learned).segmentation.layers[0])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((20, 20, 20), np.uint8),
        np.full((20, 20, 20), np.nan, np.float32),
        np.random.default_rng(0).normal(size=(3, 200, 150)),
        np.random.default_rng(0).integers(-128, 127, (1, 1, 1)).astype(np.int8),
        np.random.default_rng(0).integers(0, 65535, (40, 1, 40)).astype(np.uint16),
    ],
    ids=["constant", "nan", "thin", "one voxel", "one row"],
)
def test_odd_targets_get_an_answer(engine, learned, array):
    result = engine.segment(Volume(array, np.diag([1.0, 2.0, 0.5, 1.0]), "odd"), learned)
    assert result.segmentation.shape == array.shape


def test_confidence_is_of_what_was_found():
    sure, unsure, nothing = torch.full((4, 4, 4), 9.0), torch.full((4, 4, 4), 0.1), torch.full((4, 4, 4), -9.0)
    found = confidence(torch.stack([sure, unsure, nothing]))
    assert found[0] > 0.99 > 0.8 > found[1] > 0 == found[2]


def test_what_speaks_for_an_answer_is_known_of_every_class(engine, learned, hippocampi):
    signs = engine.segment(hippocampi[1][0], learned).signs
    assert len(signs) == 2 and signs[0].likeness == signs[1].likeness, "one of the whole target"
    for sign in ("promised", "likeness", "brought", "returned", "returned_wide"):
        assert all(0.4 < getattr(s, sign) <= 1 for s in signs), sign
    assert not any(s.foreign for s in signs)
    image = hippocampi[1][0]
    shifted = Volume(image.array.astype(np.int16) - 1000, image.affine, "as if CT")
    assert all(s.foreign for s in engine.segment(shifted, learned).signs)


def test_a_class_that_is_probably_not_there_is_left_empty_and_is_still_shown_in_doubt(
    engine, learned, hippocampi, monkeypatch
):
    image = hippocampi[1][0]
    before = engine.segment(image, learned)
    assert before.left_empty == (False, False) and before.words(0) == before.words(1) == ""
    returned = [s.returned for s in before.signs]
    between, gone = sum(returned) / 2, int(returned[1] < returned[0])
    trust = Trust(presence=Presence(-1e4 * between, 0.0, 1e4, 0.0, least=0.5))
    monkeypatch.setattr(engine.network, "trust", trust)
    after = engine.segment(image, learned)
    assert after.left_empty == tuple(n == gone for n in range(2)) and after.signs == before.signs
    assert not after.segmentation.mask(gone).any() and after.volumes_ml[gone] == after.confidence[gone] == 0.0
    kept = 1 - gone
    assert after.segmentation.mask(kept)[before.segmentation.mask(kept)].all() and after.confidence[kept] > 0.5
    assert "check that it is not there" in after.words(gone) and after.words(kept) == ""
    assert after.doubt.places == before.doubt.places and np.array_equal(after.doubt.values, before.doubt.values)


def test_overlapping_segments_can_be_learned(engine, hippocampi):
    image, truth = hippocampi[0]
    whole = (truth.layers[0] > 0).astype(np.uint8)
    layers = np.stack([truth.layers[0], whole])
    both = (*truth.segments, Segment("Whole", (0, 0, 1), layer=1, label=1))
    preset = engine.encode(image, Segmentation(layers, truth.affine, both, "both"), name="both")
    assert [s.name for s in preset.segments] == [*(s.name for s in truth.segments), "Whole"]


def test_fast_numbers_give_the_same_answer(engine, learned, hippocampi):
    """Where the processor computes in bfloat16, the masks are those of float32."""
    exact = Engine(device="cpu")
    precision = type(exact.sight.precision)("cpu", False)
    exact.sight = replace(exact.sight, network=load_network(), precision=precision)  # unrounded
    precision.prepare(exact.network)
    preset = exact.encode(*hippocampi[0], name="h")
    for image, _ in hippocampi[1:]:
        fast, slow = engine.segment(image, learned), exact.segment(image, preset)
        assert min(dice(fast.segmentation.mask(n), slow.segmentation.mask(n)) for n in range(2)) > 0.95


def test_doubt_is_where_the_answer_is_undecided(engine, hippocampi):
    """A probability of a half in one corner of one class, and certainty elsewhere, in a scan stored any way round."""
    from IrisSegmentLib.engine.doubting import doubt_of
    from IrisSegmentLib.imaging.window import Window

    affine = np.array([[0, -2.0, 0, 40], [0, 0, 1.5, -7], [1.0, 0, 0, 3], [0, 0, 0, 1]])
    image = Volume(np.zeros((40, 30, 50), np.float32), affine)
    window = Window.whole_scan(image, 32)
    logits = torch.full((2, *window.shape), -20.0)
    logits[1] = 20.0
    place = np.array([5, 20, 12])  # in voxels
    to_cells = np.linalg.inv(doubt_of([(window, logits)], window, affine).affine)
    cell = np.rint(to_cells @ affine @ [*place, 1])[:3].astype(int)
    logits[(1, *(slice(c - 1, c + 2) for c in cell))] = 0.0
    doubt = doubt_of([(window, logits)], window, affine)
    assert np.abs(np.array(doubt.places[1]) - (affine @ [*place, 1])[:3]).max() <= 1.5 * window.step
    assert doubt.values[tuple(cell)] == 255 and doubt.values.mean() < 10


def test_what_is_too_small_for_a_voxel_was_not_found(engine, learned, hippocampi, monkeypatch):
    nothing = np.zeros(hippocampi[1][0].shape, np.uint8)
    monkeypatch.setattr("IrisSegmentLib.engine.segmenting.paste", lambda looks: nothing)
    result = engine.segment(hippocampi[1][0], learned)
    assert result.confidence == (0, 0) and all(s.promised == 0 for s in result.signs)

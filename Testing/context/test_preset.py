import contextlib
import json
import os
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch

from IrisSegmentLib.context import appearance
from IrisSegmentLib.context.appearance import Appearance
from IrisSegmentLib.context.arrangement import Place
from IrisSegmentLib.context.cache import EmbeddingCache, content_hash
from IrisSegmentLib.context.caution import HARDLY, caution
from IrisSegmentLib.context.ensemble import joined
from IrisSegmentLib.context.levels import alone, altered
from IrisSegmentLib.context.library import PresetLibrary, ranked, safe_stem
from IrisSegmentLib.context.preset import Preset, Reference, Tuning, tensors_of
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.imaging.volume import Segment, Segmentation, Volume
from IrisSegmentLib.network import TaskEmbeddings


def embeddings(classes=2, cells=6, seed=0):
    random = torch.Generator().manual_seed(seed)
    numbers = lambda *shape: torch.randn(*shape, generator=random).half()  # noqa: E731
    tokens = (numbers(classes, 11, 8), numbers(classes, 11, 4))
    return TaskEmbeddings(tokens, numbers(cells, 5), numbers(classes, cells, 8))


def preset(name="Hippocampus", seed=0):
    segments = (
        Segment("Anterior", (0.25, 0.5, 0.75), "SCT~hippocampus", 0, 1),
        Segment("Posterior", (1.0, 0.0, 0.0), "", 0, 2),
    )
    levels = {"coarse": embeddings(seed=seed), "fine": embeddings(seed=seed + 1)}
    levels |= {alone(n): embeddings(1, seed=seed + 2 + n) for n in range(2)}
    places = tuple(Place.of([seed + n, 0, 1, -5, -6, -7, 5, 6, 7.5]) for n in range(2))
    reference = Reference(levels, (40.0, 50.0, 60.0), places=places)
    return Preset(name, segments, (reference,), "abc", 1, "MR or PET", (1.0, 1.0, 1.2), "left side only")


def test_a_preset_comes_back_as_it_was(tmp_path):
    original = preset().with_reference(preset(seed=5))
    original.save(tmp_path / "h.iris")
    assert os.listdir(tmp_path) == ["h.iris"]
    back = Preset.load(tmp_path / "h.iris")
    for field in ("name", "segments", "network", "preprocessing", "modality", "spacing", "notes", "created"):
        assert getattr(back, field) == getattr(original, field), field
    assert back.places() == original.places() == tuple(Place.of([2.5 + n, 0, 1, -5, -6, -7, 5, 6, 7.5]) for n in (0, 1))
    for level in ("coarse", "fine", alone(0), alone(1)):
        ours, theirs = original.embeddings(level), back.embeddings(level)
        assert all(torch.equal(a, b) for a, b in zip(ours.tokens, theirs.tokens, strict=True))
        assert torch.equal(ours.keys, theirs.keys) and torch.equal(ours.values, theirs.values)


def test_a_file_from_before_there_were_places_is_read(tmp_path):
    """Format 1 at first had two levels and no places."""
    old = preset()
    (reference,) = old.references
    levels = {level: reference.levels[level] for level in ("coarse", "fine")}
    old = replace(old, references=(replace(reference, levels=levels, places=()),))
    words = old.words()
    words["schema"] = 1
    for of_reference in words["references"]:
        del of_reference["places"]
    back = Preset.from_words(words, tensors_of("0", old.references[0]))
    assert back.places() == () and torch.equal(back.embeddings("fine").keys, old.embeddings("fine").keys)
    assert back.with_reference(preset(seed=5)).places() == preset(seed=5).places(), "those that have places say where"


def test_a_file_from_before_references_told_what_they_find_again_is_read():
    told = replace(preset(), references=(replace(preset().references[0], found_again=(0.9, 0.4)),))
    told = told.after(told.with_reference(preset(seed=5)), "Reference added")
    assert Preset.from_bytes(told.to_bytes(), "t").found_again() == (0.9, 0.4), "of the one that tells"

    def old(words):
        words["schema"] = 2
        for of_reference in [*words["references"], *words["history"][0]["references"]]:
            del of_reference["found_again"]

    back = Preset.from_bytes(change(told.to_bytes(), old), "old")
    assert back.found_again() == (None, None) and back.gone_back().found_again() == (None, None)


def test_a_file_from_before_there_were_altered_looks_is_read():
    told = replace(preset(), references=(replace(preset().references[0], found_again=(0.9, 0.4)),))

    def old(words):
        words["schema"] = 3
        for of_reference in words["references"]:
            del of_reference["found_altered"]

    back = Preset.from_bytes(change(told.to_bytes(), old), "old")
    assert back.found_again() == (0.9, 0.4) and back.references[0].found_altered == () and back.alterations == 0


def test_what_alterations_show_is_kept_whole_or_refused():
    (reference,) = preset().references
    levels = dict(reference.levels)
    for n in range(2):
        levels |= {altered(level, n): embeddings(len(of), seed=10 + n) for level, of in reference.levels.items()}
    known = replace(reference, levels=levels, found_again=(0.5, 0.5), found_altered=(0.5, 0.7))
    strange = replace(preset(), references=(known,))
    back = Preset.from_bytes(strange.to_bytes(), "s")
    assert back.alterations == strange.alterations == 2 and set(back.references[0].levels) == set(levels)
    for level in levels:
        assert torch.equal(back.embeddings(level).keys, strange.embeddings(level).keys)
    del levels[altered(alone(1), 1)]
    with pytest.raises(IrisError, match="damaged"):
        Preset.from_bytes(replace(strange, references=(replace(known, levels=levels),)).to_bytes(), "s")


def test_only_what_is_hardly_found_again_is_cautioned_about():
    def told(*dice):
        return caution(replace(preset(), references=(replace(preset().references[0], found_again=dice),)))

    names = [s.name for s in preset().segments]
    assert told() == "" and told(0.9, HARDLY) == ""
    assert f"'{names[1]}' (31 %)" in told(0.9, 0.312) and names[0] not in told(0.9, 0.312)
    assert told(0.1, 0.2).count("%") == 2 and "of them" in told(0.1, 0.2)
    named = replace(preset().segments[0], name="tumor of Doe^Jane")
    of_a_patient = replace(preset(), segments=(named, preset().segments[1]))
    of_a_patient = replace(of_a_patient, references=(replace(preset().references[0], found_again=(0.1, 0.9)),))
    assert "'tumor of" in caution(of_a_patient) and "Doe" not in caution(of_a_patient)


def test_of_unfamiliar_anatomy_three_references_are_asked_for():
    (reference,) = preset().references
    levels = dict(reference.levels) | {altered(level, 0): of for level, of in reference.levels.items()}
    strange = replace(reference, levels=levels, found_again=(0.5, 0.7), found_altered=(0.7, 0.9))
    one, three = (replace(preset(), references=(strange,) * count) for count in (1, 3))
    assert one.found_again() == (0.7, 0.9), "as targets are looked at"
    assert "unlike" in caution(one) and "2 times" in caution(one) and "until there are 3" in caution(one)
    assert "unlike" in caution(three) and "until" not in caution(three)
    mixed = replace(preset(), references=(strange, replace(strange, found_altered=(0.1, 0.2))))
    assert one.with_enabled(0, False).alterations == 0 and caution(one.with_enabled(0, False)) == ""
    assert mixed.alterations == 0 and mixed.found_again() == (0.5, 0.7)
    assert "unlike" not in caution(mixed) and "(50 %)" in caution(mixed)


def test_places_of_only_some_segments_are_refused():
    words, tensors = preset().words(), tensors_of("0", preset().references[0])
    words["references"][0]["places"].pop()
    with pytest.raises(ValueError, match="places"):
        Preset.from_words(words, tensors)


def test_the_ensemble_averages_tokens_and_joins_keys():
    a, b = embeddings(seed=1), embeddings(seed=2)
    both = joined([a, b])
    assert torch.allclose(both.tokens[0], (a.tokens[0].float() + b.tokens[0].float()) / 2)
    assert both.keys.shape == (12, 5) and both.values.shape == (2, 12, 8)


def test_a_reference_can_be_switched_off_and_the_last_one_cannot_be_missed():
    both = preset().with_reference(preset(seed=5))
    far = replace(both, references=(both.references[0], replace(both.references[1], extent=(1.0, 1.0, 1.0))))
    off = far.with_enabled(1, False)
    for level in ("coarse", "fine"):
        ours, never = off.embeddings(level), preset().embeddings(level)
        assert all(torch.equal(a, b) for a, b in zip(ours.tokens, never.tokens, strict=True))
        assert torch.equal(ours.keys, never.keys) and torch.equal(ours.values, never.values)
    assert off.extent == (40.0, 50.0, 60.0) and far.extent != off.extent
    assert off.with_enabled(1, True) == far
    with pytest.raises(IrisError, match="switched off"):
        off.with_enabled(0, False).embeddings("fine")


def test_references_of_other_networks_or_segments_do_not_join():
    with pytest.raises(IrisError, match="another network"):
        preset().with_reference(Preset(**{**vars(preset()), "network": "other"}))
    with pytest.raises(IrisError, match="other segments"):
        preset().with_reference(Preset(**{**vars(preset()), "segments": preset().segments[::-1]}))


def change(data: bytes, edit) -> bytes:
    """The file with its words edited."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    words = json.loads(header["__metadata__"]["iris-preset"])
    edit(words)
    header["__metadata__"]["iris-preset"] = json.dumps(words)
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data[8 + length :]


def test_what_it_was_tuned_on_is_kept_and_files_from_before_tuning_are_read():
    tuned = replace(preset(), tuning=Tuning(5, 40, 0.71, 0.74))
    data, bare = tuned.to_bytes(), [{"enabled": True, "extent": [40.0, 50.0, 60.0]}]
    assert Preset.from_bytes(data, "t").tuning == tuned.tuning

    def old(words):
        words.pop("tuning")
        words.update(schema=1, references=bare)

    assert Preset.from_bytes(change(data, old), "old").tuning is None
    with pytest.raises(IrisError, match="damaged"):
        Preset.from_bytes(change(data, lambda words: words.update(tuning={"steps": "many"})), "bad")


def test_damaged_and_foreign_files_are_refused_in_one_sentence(tmp_path):
    good = preset().to_bytes()
    bad = {
        "empty": b"",
        "text": b"hello there, this is not a preset at all",
        "cut": good[: len(good) // 2],
        "huge header": struct.pack("<Q", 2**60) + good[8:],
        "newer": change(good, lambda words: words.update(schema=99)),
        "no segments": change(good, lambda words: words.update(segments=[])),
        "too many segments": change(good, lambda words: words["segments"].append(words["segments"][0])),
        "wrong color": change(good, lambda words: words["segments"][0].update(color="red")),
        "missing reference": change(good, lambda words: words["references"].append(words["references"][0])),
        "short history": change(good, lambda words: words["history"].append({"what": "x", "when": ""})),
        "same as nothing": change(good, lambda words: words.update(same={"a": "b"})),
        "list": change(good, lambda words: words.update(name=["a"])),
    }
    for name, data in bad.items():
        path = tmp_path / "bad.iris"
        path.write_bytes(data)
        with pytest.raises(IrisError, match=r"bad\.iris") as caught:
            Preset.load(path)
        assert "\n" not in str(caught.value), name
    with pytest.raises(IrisError, match="no preset file"):
        Preset.load(tmp_path / "absent.iris")


def test_every_cut_and_many_flips_are_refused_or_harmless():
    good = preset().to_bytes()
    random = torch.Generator().manual_seed(0)
    for _ in range(300):
        data = bytearray(good)
        place, bit = (int(torch.randint(n, (1,), generator=random)) for n in (len(data), 8))
        data[place] ^= 1 << bit
        with contextlib.suppress(IrisError):
            Preset.from_bytes(bytes(data), "flipped")
    for length in range(0, len(good), 97):
        with pytest.raises(IrisError):
            Preset.from_bytes(good[:length], "cut")


def test_a_preset_that_cannot_be_written_leaves_the_old_one(tmp_path):
    with pytest.raises(IrisError, match="could not be written"):
        preset().save(tmp_path / "absent" / "x.iris")
    (tmp_path / "folder.iris").mkdir()
    with pytest.raises(IrisError):
        preset().save(tmp_path / "folder.iris")
    assert sorted(os.listdir(tmp_path)) == ["folder.iris"]


def test_the_library_never_loses_a_preset_to_one_of_the_same_name(tmp_path):
    library = PresetLibrary(tmp_path / "presets")
    first, second = library.save(preset("Liver")), library.save(replace(preset("Liver"), created="another day"))
    assert [p.name for p in library.paths()] == ["Liver.iris", "Liver 2.iris"] and first != second
    library.delete(second)
    assert library.paths() == [first]
    for refused in (library.delete, library.duplicate, lambda path: library.rename(path, "x")):
        with pytest.raises(IrisError, match="not a preset of this library"):
            refused(tmp_path / "elsewhere.iris")


def test_the_library_renames_copies_finds_and_gives_back(tmp_path):
    library = PresetLibrary(tmp_path / "presets")
    path = library.save(preset("Liver"))
    grown = preset("Liver").after(preset("Liver").with_reference(preset(seed=4)), "Reference added")
    assert library.save(replace(grown, created=library.presets()[0].preset.created)) == path, "its own earlier state"
    library.annotate(path, "Kept in mind")
    library.save(replace(library.at(path).preset, notes=""))
    assert library.at(path).preset.notes == "Kept in mind", "what is written there is not lost by keeping again"
    library.annotate(path, "")
    copy = library.duplicate(path)
    assert [k.preset.name for k in library.presets()] == ["Liver", "Liver 2"]
    renamed = library.rename(copy, "Spleen: late/phase")
    assert renamed.name == "Spleen_ late_phase.iris" and not copy.exists()
    library.annotate(renamed, "Portal venous phase only")
    assert [k.path for k in library.presets("VENOUS spleen")] == [renamed] and library.presets("spleen arterial") == []
    assert [k.path for k in library.presets("anterior")] == [path, renamed]
    with pytest.raises(IrisError, match="needs a name"):
        library.rename(path, "  ")
    (library.folder / "broken.iris").write_bytes(b"no preset")
    assert len(library.presets()) == 2, "a damaged file hides nothing else"
    library.delete(renamed)
    library.delete(path)
    assert library.undo() == path and library.undo() == renamed and not library.can_undo
    with pytest.raises(IrisError, match="No deleted preset"):
        library.undo()
    library.give(path, tmp_path / "sent.iris")
    library.delete(path)
    library.save(replace(preset("Liver"), created="another day"))
    assert library.take(tmp_path / "sent.iris").stem == "Liver 2" and library.undo().stem == "Liver 3"


def test_no_preset_is_lost_whatever_a_person_does(tmp_path):
    """500 random steps: every preset that was saved is there, or among the last 20 deleted."""
    library, random = PresetLibrary(tmp_path), np.random.default_rng(0)
    there, deleted, made = [], [], 0
    names = ("Liver", "liver", "Liver 2", "a/b", "a_b", "Leber (spät)")
    for _ in range(500):
        step, name = random.integers(5), names[random.integers(len(names))]
        paths = library.paths()
        path = paths[random.integers(len(paths))] if paths else None
        if step == 0 or path is None:
            made += 1
            library.save(replace(preset(name), created=f"{made}"))
            there.append(f"{made}")
        elif step == 1:
            library.rename(path, name)
        elif step == 2:
            there.append(library.at(path).preset.created)
            library.duplicate(path)
        elif step == 3:
            deleted = [*deleted, library.at(path).preset.created][-20:]
            there.remove(library.at(path).preset.created)
            library.delete(path)
        elif library.can_undo:
            library.undo()
            there.append(deleted.pop())
        assert sorted(k.preset.created for k in library.presets()) == sorted(there)
        assert library.can_undo == bool(deleted)


def test_presets_are_ranked_by_what_their_references_look_like(tmp_path):
    library = PresetLibrary(tmp_path)
    query = np.eye(6, dtype=np.float16)[0]
    axes = np.eye(6)
    looks = {"far": [axes[1]], "near": [axes[2], 0.9 * axes[0]], "middle": [0.5 * axes[0]], "old": []}
    for name, vectors in looks.items():
        plain = preset(name)
        references = [replace(plain.references[0], vector=v.astype(np.float16)) for v in vectors]
        library.save(replace(plain, references=tuple(references or plain.references)))
    library.save(replace(seen(), name="foreign", network="other"))
    known = replace(preset("CT").references[0], vector=axes[0].astype(np.float16), appearance=CT)
    library.save(replace(preset("CT"), references=(known,)))
    found = ranked(library.presets(), query, "abc", replace(CT, modality="MR or PET"))
    assert [match.kept.preset.name for match in found][:4] == ["near", "middle", "far", "CT"], "most similar, but CT"
    assert found[0].similarity == pytest.approx(0.9, abs=1e-2) and "MR or PET" in found[3].differences[0]
    assert [match.similarity for match in found][4:] == [None, None]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "..", "", "con:", "x" * 300])
def test_names_never_become_paths(name):
    stem = safe_stem(name)
    assert stem and "/" not in stem and "\\" not in stem and not stem.startswith(".") and len(stem) <= 80


def test_names_are_none_of_those_that_windows_keeps_for_devices():
    assert [safe_stem(name) for name in ("con", "LPT1", "Nul.", "contrast")] == ["con_", "LPT1_", "Nul_", "contrast"]


def test_the_content_hash_sees_voxels_grid_masks_and_network_but_no_names(hippocampi):
    image, segmentation = hippocampi[0]
    key = content_hash(image, segmentation, "net", 1)
    assert key == content_hash(Volume(image.array.copy(), image.affine, "renamed"), segmentation, "net", 1)
    for order in ("C", "F"):  # however the voxels lie in memory
        array, layers = np.array(image.array, order=order), np.array(segmentation.layers, order=order)
        stored = Segmentation(layers, segmentation.affine, segmentation.segments)
        assert key == content_hash(Volume(array, image.affine), stored, "net", 1)
    changed = image.array.copy()
    changed[0, 0, 0] += 1
    moved = image.affine.copy()
    moved[0, 3] += 1
    others = [
        content_hash(Volume(changed, image.affine), segmentation, "net", 1),
        content_hash(Volume(image.array, moved), segmentation, "net", 1),
        content_hash(image, segmentation.only([0]), "net", 1),
        content_hash(image, Segmentation(segmentation.layers + 0, moved, segmentation.segments), "net", 1),
        content_hash(image, segmentation, "other", 1),
        content_hash(image, segmentation, "net", 2),
    ]
    assert len({key, *others}) == 7


def test_the_cache_forgets_the_oldest():
    cache = EmbeddingCache()
    reference = preset().references[0]
    for n in range(200):
        cache.put(str(n), reference)
    assert cache.get("0") is None and cache.get("199") is reference


def test_files_of_the_first_format_are_read():
    """Made by the code of that time; whoever kept a preset can go on using it."""
    old = Preset.load(os.path.join(os.path.dirname(__file__), "version_1.iris"))
    assert old.name == "Made by version 1" and len(old.references) == 2 and old.tuning == Tuning(5, 40, 0.71, 0.74)
    assert old.history == () and old.volumes_ml() == (None, None) and old.appearances() == []
    same = preset().with_reference(preset(seed=5))
    assert torch.equal(old.embeddings("fine").tokens[0], same.embeddings("fine").tokens[0])
    assert Preset.from_bytes(old.to_bytes(), "again").words() == old.words()


CT = Appearance("CT", (1.0, 1.0, 1.0), (300.0, 300.0, 300.0), (-1000.0, -900.0, -100.0, 40.0, 300.0))


def seen(seed=0):
    """A preset whose reference is described."""
    plain = preset(seed=seed)
    look = Appearance("MR or PET", (1.0, 1.0, 1.2), (35.0, 51.0, 42.0), (0.0, 10.0, 20.0, 30.0, 90.0))
    known = {"appearance": look, "volumes_ml": (1.5, 2.5 + seed), "vector": np.ones(6, np.float16)}
    reference = replace(plain.references[0], **known, class_vectors=np.eye(2, 6, dtype=np.float16))
    return replace(plain, references=(reference,))


def test_a_preset_remembers_its_earlier_states_and_goes_back():
    one = seen()
    two = one.after(one.with_reference(seen(seed=2)), "Reference added")
    tuned = two.after(replace(two, tuning=Tuning(2, 10, 0.5, 0.6)), "Tuned")
    back = Preset.from_bytes(tuned.to_bytes(), "h")
    assert [v.what for v in back.history] == ["Reference added", "Tuned"] and back.volumes_ml() == (1.5, 3.5)
    assert back.appearances() == [one.references[0].appearance] * 2
    assert np.array_equal(back.references[1].vector, np.ones(6, np.float16))
    assert np.array_equal(back.references[0].class_vectors, np.eye(2, 6))
    before_tuning, first = back.gone_back(), back.gone_back(0)
    assert before_tuning.tuning is None and len(before_tuning.references) == 2 and len(before_tuning.history) == 1
    assert len(first.references) == 1 and first.history == ()
    for level in ("coarse", "fine"):
        ours, theirs = first.embeddings(level), one.embeddings(level)
        assert all(torch.equal(a, b) for a, b in zip(ours.tokens, theirs.tokens, strict=True))
        assert torch.equal(ours.keys, theirs.keys) and torch.equal(ours.values, theirs.values)
    with pytest.raises(IndexError):
        first.gone_back()
    assert len(tuned.to_bytes()) < 1.3 * len(replace(tuned, history=()).to_bytes()) + 2000, "numbers are kept once"


def test_what_differs_is_said_in_words():
    near = CT
    assert near.differences(near) == [] and appearance.differences([], near) == []
    mr = replace(near, modality="MR or PET")
    assert "CT, the references are MR" in mr.differences(near)[0] and appearance.differences([mr, near], near) == []
    coarse = replace(near, spacing=(1.0, 1.0, 5.0))
    assert "5.0 times coarser" in near.differences(coarse)[0] and "5.0 times finer" in coarse.differences(near)[0]
    assert "from head to foot" in near.differences(replace(near, size=(300.0, 300.0, 60.0)))[0]
    assert "another part" in near.differences(replace(near, intensities=(0.0, 1500.0, 2000.0, 2500.0, 3000.0)))[0]


def test_the_appearance_does_not_hang_on_how_a_scan_is_stored(hippocampi):
    image = hippocampi[0][0]
    turn = np.array([[0, 0, -1.0, image.shape[0] - 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    turned = Volume(np.ascontiguousarray(image.array.transpose(1, 2, 0)[:, :, ::-1]), image.affine @ turn, "turned")
    ours, theirs = Appearance.of(image), Appearance.of(turned)
    assert ours.modality == "MR or PET" and ours.size == pytest.approx(theirs.size)
    assert ours.intensities == theirs.intensities and ours.spacing == pytest.approx(theirs.spacing)

import pytest
import torch

from IrisSegmentLib.context import bank
from IrisSegmentLib.context.arrangement import Place
from IrisSegmentLib.context.bank import Average, MemoryBank, bank_name
from IrisSegmentLib.context.levels import alone
from IrisSegmentLib.context.preset import Preset, Reference
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.imaging.volume import Segment
from IrisSegmentLib.network import TaskEmbeddings


def preset(names, seed, cells=20):
    random = torch.Generator().manual_seed(seed)

    def drawn(count):
        tokens = tuple(torch.randn(count, 11, w, generator=random).half() for w in (8, 4))
        keys, values = torch.randn(cells, 5, generator=random), torch.rand(count, cells, 8, generator=random)
        return TaskEmbeddings(tokens, keys.half(), values.half())

    segments = tuple(Segment(name, (1.0, 0.0, 0.0), "", 0, n + 1) for n, name in enumerate(names))
    levels = {level: drawn(len(names)) for level in ("coarse", "fine")}
    levels |= {alone(n): drawn(1) for n in range(len(names))}
    places = tuple(Place.of([seed, len(name), 0, -1, -1, -1, 1, 1, 1]) for name in names)
    reference = Reference(levels, (10.0 + seed, 20.0, 30.0), places=places)
    return Preset("one", segments, (reference,), "net", 1, "CT", (1.0, 1.0, 2.0))


def learned(*references):
    average = Average()
    for reference in references:
        average.update(reference)
    return average


def test_one_reference_averages_to_itself():
    one = preset(["Liver", "Spleen"], 1)
    found = learned(one).preset("abdomen").references[0]
    for level in ("coarse", "fine"):
        ours, theirs = found.levels[level], one.references[0].levels[level]
        for a, b in zip(ours.tokens, theirs.tokens, strict=True):
            assert torch.allclose(a.float(), b.float(), atol=2e-3)
        order = [int((theirs.keys == key).all(1).nonzero()) for key in ours.keys]
        assert sorted(order) == list(range(20)) and torch.equal(ours.values, theirs.values[:, order])


def test_a_class_is_the_corrected_moving_average_of_the_references_that_show_it():
    shown = [["Liver", "Spleen"], ["Spleen"], ["Spleen", "Liver"], ["Liver"]]
    references = [preset(names, n) for n, names in enumerate(shown)]
    found = learned(*references).preset("abdomen")
    assert [s.name for s in found.segments] == ["Liver", "Spleen"] and found.extent == (11.5, 20.0, 30.0)
    for place, name in enumerate(["Liver", "Spleen"]):
        tokens = [r.references[0].levels["fine"].tokens[0].float() for r in references]
        own = [t[names.index(name)] for t, names in zip(tokens, shown, strict=True) if name in names]
        weights = torch.tensor([0.99**age for age in range(len(own))]).flip(0)
        mean = torch.einsum("n,nmc->mc", weights / weights.sum(), torch.stack(own))
        assert torch.allclose(found.references[0].levels["fine"].tokens[0][place].float(), mean, atol=2e-3)


def test_a_class_alone_is_kept_as_such():
    shown = [["Liver", "Spleen"], ["Spleen"], ["Liver"]]
    references = [preset(names, n) for n, names in enumerate(shown)]
    (found,) = learned(*references).preset("abdomen").references
    assert [p.center for p in found.places] == [(1.0, 5.0, 0.0), (0.5, 6.0, 0.0)], "means over those that show it"
    spleen = found.levels[alone(1)]
    kept = [r.references[0].levels[alone(n)] for r, n in [(references[0], 1), (references[1], 0)]]
    assert spleen.keys.shape == (40, 5) and spleen.values.shape == (1, 40, 8)
    assert torch.equal(spleen.keys.sort(0).values, torch.cat([k.keys for k in kept]).sort(0).values)
    mean = (0.99 * kept[0].tokens[1].float() + kept[1].tokens[1].float()) / 1.99
    assert torch.allclose(spleen.tokens[1].float(), mean, atol=2e-3)


def test_kept_cells_are_bounded_and_know_which_classes_they_tell_of(monkeypatch):
    monkeypatch.setattr(bank, "CELLS", 64)
    shown = [["Liver"], ["Spleen", "Liver"], ["Spleen"], ["Liver", "Spleen"], ["Spleen"]] * 4
    references = [preset(names, n) for n, names in enumerate(shown)]
    level = learned(*references).preset("abdomen").references[0].levels["coarse"]
    assert level.keys.shape == (64, 5) and level.values.shape == (2, 64, 8)
    sources = set()
    for key, liver, spleen in zip(level.keys, level.values[0], level.values[1], strict=True):
        (source,) = (n for n, r in enumerate(references) if (r.references[0].levels["coarse"].keys == key).all(1).any())
        sources.add(source)
        assert bool((liver >= 0).all()) == ("Liver" in shown[source])
        assert bool((spleen >= 0).all()) == ("Spleen" in shown[source])
    assert len(sources) > 12, "they are of all references, not of the first or last"


@pytest.fixture
def two():
    presets = {
        "abdomen": learned(preset(["Liver", "Spleen"], 1)).preset("abdomen"),
        "cancer": learned(preset(["Tumor", "Liver"], 2)).preset("cancer"),
    }
    return MemoryBank("net", 1, presets)


def test_classes_of_several_tasks_come_together_and_names_must_be_clear(two, tmp_path):
    two.save(tmp_path / "b.irisbank")
    back = MemoryBank.load(tmp_path / "b.irisbank")
    found = back.preset(["Tumor", "abdomen/Liver"])
    assert [(s.name, s.label) for s in found.segments] == [("Tumor", 1), ("Liver", 2)]
    (reference,) = found.references
    assert torch.equal(reference.levels[alone(1)].keys, two.presets["abdomen"].references[0].levels[alone(0)].keys)
    assert reference.places[1].center == (1.0, 5.0, 0.0)
    level = reference.levels["fine"]
    assert bool((level.values[0, :20] >= 0).all() and (level.values[0, 20:] < 0).all())
    assert bool((level.values[1, :20] < 0).all() and (level.values[1, 20:] >= 0).all())
    for names, words in [
        (["Liver"], "choose one of abdomen/Liver, cancer/Liver"),
        (["Heart"], "no segment 'Heart'"),
        (None, "Name the segments"),
    ]:
        with pytest.raises(IrisError, match=words):
            back.preset(names)


def test_damaged_and_foreign_files_are_refused(two, tmp_path):
    path = tmp_path / bank_name("0123456789abcdef0123")
    assert path.name == "bank-0123456789abcdef.irisbank"
    two.save(path)
    good = path.read_bytes()
    for data in [b"", b"no", good[: len(good) // 2], preset(["Liver"], 0).to_bytes()]:
        path.write_bytes(data)
        with pytest.raises(IrisError, match="not a memory bank"):
            MemoryBank.load(path)
    with pytest.raises(IrisError, match="no memory bank"):
        MemoryBank.load(tmp_path / "absent.irisbank")

import json
import struct
import time

import numpy as np
import pytest
import torch

from IrisSegmentLib.context import retrieval
from IrisSegmentLib.context.arrangement import Place
from IrisSegmentLib.context.levels import alone
from IrisSegmentLib.context.pool import Pool
from IrisSegmentLib.context.preset import Preset, Reference
from IrisSegmentLib.errors import IrisError
from IrisSegmentLib.imaging.volume import Segment
from IrisSegmentLib.network import TaskEmbeddings

COLORS = {"Liver": (1.0, 0.0, 0.0), "Spleen": (0.0, 1.0, 0.0), "Kidney": (0.0, 0.0, 1.0)}


def preset(names, seed):
    """A reference that shows some classes; numbers drawn by the seed."""
    random = torch.Generator().manual_seed(seed)

    def drawn(cells, count):
        tokens = tuple(torch.randn(count, 11, w, generator=random).half() for w in (8, 4))
        values = torch.rand(count, cells, 8, generator=random).half()
        return TaskEmbeddings(tokens, torch.randn(cells, 5, generator=random).half(), values)

    segments = tuple(Segment(name, COLORS[name], "", 0, n + 1) for n, name in enumerate(names))
    levels = {"coarse": drawn(3, len(names)), "fine": drawn(4, len(names))}
    levels |= {alone(n): drawn(5, 1) for n in range(len(names))}
    places = tuple(Place.of([seed, len(name), 0.5, -1, -1, -1, 1, 1, 1]) for name in names)
    reference = Reference(levels, (10.0 + seed, 20.0, 30.0), places=places)
    return Preset("one", segments, (reference,), "net", 1, "CT", (1.0, 1.0, 2.0))


def scan(seed):
    return classes(seed)[0]


def classes(seed, count=1):
    """Vectors of length one (count, 12)."""
    vectors = np.random.default_rng(seed).normal(size=(count, 12))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def made(*shown):
    pool = Pool("net", 1)
    for n, names in enumerate(shown):
        pool.add(f"hash {n}", preset(names, n), classes(n, len(names)), scan(n))
    return pool


@pytest.fixture
def pool():
    return made(["Liver", "Spleen"], ["Spleen", "Liver"], ["Liver"], ["Liver", "Spleen", "Kidney"])


def test_a_pool_comes_back_as_it_was_and_grows(pool, tmp_path):
    path = tmp_path / "a.irispool"
    pool.save(path)
    back = Pool.load(path)
    assert back.entries == pool.entries and back.segments == pool.segments and "hash 2" in back
    chosen = {"Spleen": [0, 1], "Liver": [2]}
    for ours, theirs in zip(pool.preset(chosen, "x").references, back.preset(chosen, "x").references, strict=True):
        assert ours.places == theirs.places and ours.places[0].center == (0.5, 6.0, 0.5)
        for level in ("coarse", "fine", alone(0), alone(1)):
            a, b = ours.levels[level], theirs.levels[level]
            assert all(torch.equal(x, y) for x, y in zip(a.tokens, b.tokens, strict=True))
            assert torch.equal(a.keys, b.keys) and torch.equal(a.values, b.values)
        assert ours.extent == theirs.extent
    back.add("hash 2", preset(["Kidney"], 9), classes(9), scan(9))
    assert len(back) == 4, "a reference that is there is not added again"
    back.add("hash 9", preset(["Kidney"], 9), classes(9), scan(9))
    back.save(path)
    assert len(Pool.load(path)) == 5 and Pool.load(path).showing("Kidney") == [3, 4]
    assert [p.name for p in tmp_path.iterdir()] == ["a.irispool"]


def test_each_class_is_of_its_own_references(pool):
    """Tokens averaged over a class's own; the cells of others marked as not its own."""
    found = pool.preset({"Spleen": [1, 3], "Liver": [2]}, "both").references[0].levels["fine"]
    second, third, fourth = (pool._reference(n).levels["fine"] for n in (1, 2, 3))
    spleen = (second.tokens[0][0].float() + fourth.tokens[0][1].float()) / 2
    assert torch.allclose(found.tokens[0][0].float(), spleen, atol=2e-3)
    own = pool.preset({"Spleen": [1, 3], "Liver": [2]}, "both").references[0].levels[alone(0)].keys
    assert torch.equal(own, torch.cat([pool._reference(n).levels[alone(p)].keys for n, p in ((1, 0), (3, 1))]))
    assert torch.equal(found.tokens[0][1], third.tokens[0][0])
    assert torch.equal(found.keys, torch.cat([second.keys, third.keys, fourth.keys]))
    assert torch.equal(found.values[0, :4], second.values[0]) and torch.equal(found.values[0, 8:], fourth.values[1])
    assert torch.equal(found.values[1, 4:8], third.values[0])
    unread = [found.values[0, 4:8], found.values[1, :4], found.values[1, 8:]]
    assert all(bool((cells < 0).all()) for cells in unread)


def test_the_nearest_are_found_class_by_class(pool):
    for n, (name, place) in [(1, ("Liver", 1)), (3, ("Spleen", 1)), (2, ("Liver", 0))]:
        own = classes(n, len(pool.entries[n].segments))[place]
        assert pool.nearest(name, own, 1) == [n]
    assert pool.nearest_scans("Liver", scan(2), 1) == [2]
    assert sorted(pool.nearest_scans("Spleen", scan(2), 3)) == [0, 1, 3], "the third does not show it"


def test_what_is_drawn_hangs_on_the_seed_and_is_one_reference_where_it_can_be(pool):
    drawn = [pool.drawn(["Liver", "Spleen"], 1, seed) for seed in range(20)]
    assert drawn == [pool.drawn(["Liver", "Spleen"], 1, seed) for seed in range(20)]
    assert {d["Liver"][0] for d in drawn} == {0, 1, 3} and all(d["Liver"] == d["Spleen"] for d in drawn)


def test_too_little_is_said_in_one_sentence(pool):
    for ask, words in [
        (lambda: Pool("net", 1).drawn(["Liver"], 1, 0), "pool is empty"),
        (lambda: pool.nearest("Heart", scan(0), 1), "no reference for 'Heart'"),
        (lambda: pool.nearest("Spleen", scan(0), 4), "pool has 3 for 'Spleen'"),
        (lambda: pool.nearest_scans("Kidney", scan(0), 2), "2 references were asked for, but the pool has 1"),
        (lambda: pool.drawn(["Kidney"], 2, 0), "pool has 1 for 'Kidney'"),
        (lambda: Pool("other", 1).add("x", preset(["Liver"], 0), classes(0), scan(0)), "another network"),
    ]:
        with pytest.raises(IrisError, match=words):
            ask()


def test_damaged_and_foreign_files_are_refused(pool, tmp_path):
    path = tmp_path / "bad.irispool"
    pool.save(path)
    good = path.read_bytes()
    (length,) = struct.unpack("<Q", good[:8])

    def change(edit):
        header = json.loads(good[8 : 8 + length])
        words = json.loads(header["__metadata__"]["iris-pool"])
        edit(words)
        header["__metadata__"]["iris-pool"] = json.dumps(words)
        encoded = json.dumps(header).encode()
        return struct.pack("<Q", len(encoded)) + encoded + good[8 + length :]

    for data in [
        b"", b"hello", good[: len(good) // 2], preset(["Liver"], 0).to_bytes(),
        change(lambda words: words.update(schema=9)),
        change(lambda words: words["entries"].pop()),
        change(lambda words: words["entries"][0].update(segments=[0, 1, 2, 7])),
        change(lambda words: words["segments"].pop()),
        change(lambda words: words.update(entries="many")),
    ]:  # fmt: skip
        path.write_bytes(data)
        with pytest.raises(IrisError, match=r"bad\.irispool"):
            Pool.load(path)
    path.write_bytes(good)
    whole = Pool.load(path)
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(IrisError, match="changed or is damaged"):
        whole.preset({"Liver": [0]}, "x")


def clustered(count, length=288):
    """Vectors of length one in clusters, as those of anatomy are."""
    random = np.random.default_rng(0)
    centers = random.normal(size=(2000, length)).astype(np.float32)
    vectors = np.empty((count, length), np.float16)
    for start in range(0, count, 50_000):
        part = vectors[start : start + 50_000]
        drawn = centers[random.integers(0, 2000, len(part))] + random.standard_normal(part.shape, np.float32)
        part[:] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return vectors


def exact(vectors, query, count):
    parts = np.array_split(vectors, max(1, len(vectors) // 50_000))
    similarity = np.concatenate([part.astype(np.float32) @ query.astype(np.float32) for part in parts])
    return np.argsort(-similarity)[:count].tolist()


def test_few_vectors_are_compared_exactly_and_many_by_the_graph(monkeypatch):
    pytest.importorskip("usearch", reason="the extra 'pools' is not installed")
    vectors = clustered(4000, 64)
    monkeypatch.setattr(retrieval, "EXACT", 1000)
    graph, plain = retrieval.Index(vectors), retrieval.Index(vectors[:1000])
    assert graph._graph is not None and plain._graph is None
    hits = 0
    for query in vectors[:20]:
        assert plain.nearest(query, 5) == exact(vectors[:1000], query, 5)
        hits += len(set(graph.nearest(query, 5)) & set(exact(vectors, query, 5)))
    assert hits >= 95


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_million_embeddings_answer_in_fifty_milliseconds():
    pytest.importorskip("usearch", reason="the extra 'pools' is not installed")
    vectors, queries = clustered(1_000_000), clustered(40)[20:]
    started = time.perf_counter()
    index = retrieval.Index(vectors)
    built, seconds, hits = time.perf_counter() - started, [], 0
    for query in queries:
        started = time.perf_counter()
        found = index.nearest(query, 10)
        seconds.append(time.perf_counter() - started)
        hits += len(set(found) & set(exact(vectors, query, 10)))
    median, most, right = 1e3 * np.median(seconds), 1e3 * max(seconds), hits / (10 * len(queries))
    print(f"\nbuilt in {built:.0f} s; {median:.2f} ms an answer, at most {most:.2f}; {right:.1%} of the ten nearest")
    assert median < 50 and right >= 0.7

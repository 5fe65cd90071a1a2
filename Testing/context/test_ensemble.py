import itertools

import pytest
import torch

from IrisSegmentLib.context.ensemble import joined
from IrisSegmentLib.network import TaskEmbeddings, build


def embeddings(cells, seed, classes=2):
    random = torch.Generator().manual_seed(seed)
    tokens = tuple(torch.randn(classes, 11, width, generator=random) for width in (8, 4))
    keys = torch.nn.functional.normalize(torch.randn(cells, 5, generator=random), dim=-1)
    return TaskEmbeddings(tokens, keys, torch.rand(classes, cells, 8, generator=random))


@pytest.fixture(scope="module")
def affinity():
    return build("tiny", seed=1).affinity


def carried(affinity, queries, keys, values):
    with torch.no_grad():
        return affinity(queries[None], keys[None], values[None], (2, 2, 2))[0]


def test_the_ensemble_is_the_mean_whatever_the_order():
    references = [embeddings(6 + n, n) for n in range(4)]
    mean = [torch.stack([r.tokens[n] for r in references]).mean(0) for n in range(2)]
    for order in itertools.permutations(references):
        found = joined(order)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found.tokens, mean, strict=True))
        assert found.keys.shape == (6 + 7 + 8 + 9, 5) and found.values.shape == (2, 30, 8)


def test_a_class_counts_only_the_references_chosen_for_it(affinity):
    """Class 0 from the first and third, class 1 from the second: each as if it stood alone with its own."""
    a, b, c = (embeddings(n, n) for n in (5, 7, 3))
    mixed = joined([a, b, c], [(True, False), (False, True), (True, False)])
    queries = torch.nn.functional.normalize(torch.randn(8, 5, generator=torch.Generator().manual_seed(9)), dim=-1)
    found = carried(affinity, queries, mixed.keys, mixed.values)
    for k, own in enumerate([joined([a, c]), b]):
        assert all(torch.allclose(m[k], o[k], atol=1e-6) for m, o in zip(mixed.tokens, own.tokens, strict=True))
        assert torch.allclose(found[k], carried(affinity, queries, own.keys, own.values)[k], atol=1e-5)
    assert float(found.min()) >= 0 and float(found.max()) <= 1


def test_cells_of_other_classes_may_resemble_the_target_much_more(affinity):
    """All but e^-60 of the affinity goes to a cell that class 0 must not read."""
    queries = torch.tensor([[1.0, 0, 0, 0, 0]]).expand(8, 5)
    own, other = embeddings(1, 1), embeddings(1, 2)
    own.keys, other.keys = torch.tensor([[-1.0, 0, 0, 0, 0]]), torch.tensor([[1.0, 0, 0, 0, 0]])
    mixed = joined([own, other], [(True, False), (False, True)])
    sharpness = affinity.log_sharpness.item()
    try:
        affinity.log_sharpness.data.fill_(3.4)
        found = carried(affinity, queries, mixed.keys, mixed.values)
    finally:
        affinity.log_sharpness.data.fill_(sharpness)
    assert torch.allclose(found[0].mean(), own.values[0].mean(), atol=1e-5)


def test_choosing_all_is_choosing_nothing_and_a_class_without_a_reference_is_an_error():
    references = [embeddings(4, 1), embeddings(4, 2)]
    ours, theirs = joined(references), joined(references, [(True, True)] * 2)
    assert torch.equal(ours.tokens[0], theirs.tokens[0]) and torch.equal(ours.values, theirs.values)
    with pytest.raises(ValueError, match="without a reference"):
        joined(references, [(True, False), (True, False)])

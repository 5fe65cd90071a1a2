import numpy as np
import pytest

from IrisSegmentLib.context.arrangement import Place, expected_boxes, mean_place

PLACES = tuple(
    Place(tuple(center), (-10.0, -12.0, -8.0), (10.0, 12.0, 14.0))
    for center in np.random.default_rng(1).uniform(-80, 80, (6, 3)).tolist()
)


def moved(scale=1.1, offset=(300.0, -20.0, 45.0)):
    return [tuple(scale * np.array(p.center) + offset) for p in PLACES]


def middle(box, place):
    """Of the class that a box is around, at margin 1 and scale 1.1."""
    return np.array(box.low) - 1.1 * np.array(place.low)


def test_a_patient_who_is_arranged_as_the_reference_is_found_exactly():
    boxes = expected_boxes(PLACES, moved(), [1.0] * 6, margin=1.0)
    for box, place, center in zip(boxes, PLACES, moved(), strict=True):
        assert np.allclose(middle(box, place), center, atol=0.5)
        assert np.allclose(box.extent, 1.1 * np.array([20.0, 24.0, 22.0]), rtol=0.01)
    wider = expected_boxes(PLACES, moved(), [1.0] * 6, margin=1.5)
    assert np.allclose(np.array(wider[0].extent) / boxes[0].extent, 1.5)


def test_a_class_that_was_missed_is_looked_for_where_the_others_say():
    centers = [None, *moved()[1:]]
    box = expected_boxes(PLACES, centers, [0.0] + [0.8] * 5, margin=1.0)[0]
    assert np.allclose(middle(box, PLACES[0]), moved()[0], atol=0.5)


def test_one_that_strays_moves_no_other_and_is_called_back_when_it_is_doubtful():
    strayed = [tuple(np.array(moved()[0]) + 90), *moved()[1:]]
    boxes = expected_boxes(PLACES, strayed, [0.1] + [0.8] * 5, margin=1.0)
    for n in range(1, 6):
        assert np.linalg.norm(middle(boxes[n], PLACES[n]) - moved()[n]) < 3
    assert np.linalg.norm(middle(boxes[0], PLACES[0]) - moved()[0]) < 45
    sure = expected_boxes(PLACES, strayed, [1.0] + [0.8] * 5, margin=1.0)[0]
    assert np.linalg.norm(middle(sure, PLACES[0]) - moved()[0]) > 90, "a patient may be different"


def test_two_classes_close_together_do_not_tell_a_scale():
    pair = [Place((0.0, 0.0, 0.0), (-5.0,) * 3, (5.0,) * 3), Place((4.0, 0.0, 0.0), (-5.0,) * 3, (5.0,) * 3)]
    boxes = expected_boxes(pair, [(0.0, 0.0, 0.0), (8.0, 0.0, 0.0)], [1.0, 1.0], margin=1.0)
    assert max(boxes[0].extent) < 11


def test_nothing_found_says_nothing():
    with pytest.raises(ValueError, match="nothing"):
        expected_boxes(PLACES, [None] * 6, [0.0] * 6, margin=1.0)


def test_places_are_nine_numbers_and_average():
    assert Place.of(PLACES[0].numbers()) == PLACES[0]
    assert np.allclose(mean_place(PLACES[:2]).center, np.mean([PLACES[0].center, PLACES[1].center], axis=0))
    with pytest.raises(ValueError, match="nine"):
        Place.of([1.0, 2.0])

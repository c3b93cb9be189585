"""The script that finds expressions: its measures and its least squares, in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.expressions import AXES, KEPT, LAYERS, TARGETS, measures, picture_costs, solve


@pytest.fixture
def face(rng: np.random.Generator) -> np.ndarray:
    """68 points: eyes and mouth are placed, the others lie anywhere."""
    marks = rng.uniform(40, 60, (68, 2))
    eye = np.array([(-4, 60), (-1, 58), (1, 58), (4, 60), (1, 62), (-1, 62)])
    marks[36:42], marks[42:48] = np.add(eye, (44, 0)), np.add(eye, (84, 0))
    marks[[48, 54, 51, 57, 62, 66]] = (54, 95), (74, 95), (64, 92), (64, 99), (64, 94), (64, 96)
    return marks.astype(np.float32)


def of(marks: np.ndarray) -> dict[str, float]:
    picture = np.zeros((1, 128, 128, 3), np.uint8)
    return {name: float(value[0]) for name, value in measures(marks[None], picture).items()}


def test_measures_are_lengths_in_distances_of_the_eyes(face: np.ndarray) -> None:
    found = of(face)
    assert found["eye_distance"] == pytest.approx(40)
    assert found["width"] == pytest.approx(20 / 40)
    assert found["corners"] == pytest.approx(((92 + 99) / 2 - 95) / 40, abs=1e-6)
    assert found["open"] == pytest.approx(2 / 40)
    assert found["eyes"] == pytest.approx(4 / 40)
    assert found["roll"] == pytest.approx(0)


@pytest.mark.parametrize("degrees", [-20, 13])
def test_turning_and_scaling_a_picture_changes_no_expression(
    face: np.ndarray, degrees: float
) -> None:
    a = np.deg2rad(degrees)
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    before, after = of(face), of((1.3 * face @ turn.T + 5).astype(np.float32))
    for name in {n for targets in TARGETS.values() for n in targets}:
        assert after[name] == pytest.approx(before[name], abs=1e-5), name
    assert after["roll"] == pytest.approx(np.sin(a), abs=1e-5)


def test_raised_corners_are_a_rise(face: np.ndarray) -> None:
    smiling = face.copy()
    smiling[[48, 54], 1] -= 4
    assert of(smiling)["corners"] - of(face)["corners"] == pytest.approx(4 / 40, abs=1e-6)


def test_the_step_is_the_cheapest_of_those_that_do_what_is_asked(
    rng: np.random.Generator,
) -> None:
    count = len(LAYERS) * 4
    root = rng.standard_normal((count, count))
    costs = root @ root.T
    responses = {name: rng.standard_normal(count) for name in (*KEPT, "corners", "open")}
    targets = {"corners": 1.5, "open": -0.5}
    step = solve(costs, responses, targets)
    for name in responses:  # softened, hence not to the last digit
        assert responses[name] @ step == pytest.approx(targets.get(name, 0), abs=0.1)

    def price(x: np.ndarray) -> float:
        layers = x.reshape(len(LAYERS), -1)
        apart = layers - layers.mean(0)
        return float(10 * x @ costs @ x / (np.trace(costs) / count) + x @ x + (apart**2).sum())

    # What changes no response costs more, whichever way it goes.
    rows = np.stack(list(responses.values()))
    free = np.linalg.svd(rows)[2][len(rows) :]  # [P - K, P], their null space
    least = price(step)
    for way in rng.standard_normal((100, len(free))) @ free:
        for size in (1e-3, 0.1, 1.0):
            assert price(step + size * way) > least


def test_a_change_of_the_mouth_is_cheaper_than_one_of_the_background() -> None:
    pictures = np.full((4, 128, 128, 3), 100, np.uint8)
    pictures[0, 90:110, 50:78] = 140  # the first step: the mouth, alike on both sides
    pictures[2, 2:22, 50:78] = 140  # the second: above the head
    costs = picture_costs(pictures)
    assert costs.shape == (2, 2)
    assert 0 < costs[0, 0] < 0.5 * costs[1, 1]
    assert AXES * len(LAYERS) == 320

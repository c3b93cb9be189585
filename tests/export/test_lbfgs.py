"""Our L-BFGS against torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.edits.lbfgs import Lbfgs


def valley(x: torch.Tensor) -> torch.Tensor:
    """Rosenbrock's, softened so that a method without a line search stays in it."""
    return ((1 - x[:-1]) ** 2).sum() + 3 * ((x[1:] - x[:-1] ** 2) ** 2).sum()


@pytest.mark.parametrize("history", [100, 4])
@pytest.mark.parametrize(("shape", "rate"), [((12,), 1.0), ((1, 3, 5), 0.7)])
def test_the_way_is_that_of_torchs_optimiser(
    history: int, shape: tuple[int, ...], rate: float
) -> None:
    start = np.random.default_rng(3).uniform(-0.5, 0.5, shape)
    theirs = torch.from_numpy(start.copy()).requires_grad_(True)
    # Two calls of 12: its state goes on from one to the next.
    optimiser = torch.optim.LBFGS([theirs], lr=rate, max_iter=12, history_size=history)
    places: list[np.ndarray] = []

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = valley(theirs.reshape(-1))
        loss.backward()
        places.append(theirs.detach().numpy().copy())
        return loss

    for _ in range(2):
        optimiser.step(closure)
    ours, lbfgs = start.copy(), Lbfgs(history, rate)
    for place in places:
        np.testing.assert_allclose(ours, place, rtol=0, atol=1e-7)
        leaf = torch.from_numpy(ours.copy()).requires_grad_(True)
        valley(leaf.reshape(-1)).backward()
        assert leaf.grad is not None
        ours = ours + lbfgs.move(leaf.grad.numpy())
    assert len(places) >= 20


def test_pairs_of_no_curvature_are_not_learnt_from() -> None:
    lbfgs = Lbfgs()
    gradient = np.array([0.3, -0.4], np.float32)
    first = lbfgs.move(gradient)
    np.testing.assert_allclose(first, -gradient, rtol=1e-6)  # the sum of its parts is below 1
    np.testing.assert_array_equal(lbfgs.move(gradient), -gradient)  # nothing changed: no pair


def test_the_first_move_has_length_one() -> None:
    gradient = np.array([[30.0, -10.0]], np.float32)
    np.testing.assert_allclose(Lbfgs().move(gradient), [[-0.75, 0.25]], rtol=1e-6)
    np.testing.assert_array_equal(Lbfgs().move(np.zeros(3, np.float32)), 0)


def test_gradients_that_overflow_raise_no_warning() -> None:
    lbfgs, huge = Lbfgs(), np.full(4, 3e38, np.float32)
    for gradient in (huge, -huge, 0.5 * huge):
        assert lbfgs.move(gradient).dtype == np.float32

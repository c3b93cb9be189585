"""What the zoo trains against, by its properties, and what it shows networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoo.faces import softened
from zoo.losses import structure_distance

SIDES = (64, 32, 16, 8, 4)


def features(seed: int, count: int = 3) -> list[Tensor]:
    torch.manual_seed(seed)
    return [torch.randn(count, 5, side, side) for side in SIDES]


def test_structure_is_what_adain_leaves() -> None:
    own, other = features(0), features(1)
    gains = [0.5 + torch.rand(3, 5, 1, 1) for _ in SIDES]
    toned = [gain * x + 2 * gain for gain, x in zip(gains, own, strict=True)]
    assert float(structure_distance(toned, own)) < 1e-3
    # Of independent planes of unit normals: the mean absolute difference is 2 / sqrt(pi).
    assert float(structure_distance(own, other)) == pytest.approx(2 / torch.pi**0.5, rel=0.03)


def test_structure_counts_most_where_eyes_and_mouth_are() -> None:
    own = features(2)

    def changed_at(height: float, width: float) -> float:
        changed = [x.clone() for x in own]
        for x in changed[:4]:
            row, column = (int(share * x.shape[-1]) for share in (height, width))
            x[:, :, row, column] += 3
        return float(structure_distance(changed, own))

    assert changed_at(0.58, 0.5) > 1.5 * changed_at(0.05, 0.05)
    assert changed_at(0.5, 0.3) == pytest.approx(changed_at(0.5, 0.7), rel=0.2)  # either eye


@pytest.mark.parametrize("count", [1, 3, 4])
def test_half_of_the_pictures_are_softened_and_the_rest_stay(count: int) -> None:
    torch.manual_seed(3)
    pictures = torch.rand(count, 3, 48, 48) * 2 - 1
    soft = softened(pictures)
    half = count // 2
    assert soft.shape == pictures.shape
    assert torch.equal(soft[half:], pictures[half:])

    def detail(x: Tensor) -> float:
        return float((x[..., 1:] - x[..., :-1]).abs().mean())

    if half:
        assert detail(soft[:half]) < 0.8 * detail(pictures[:half])
        assert float((soft[:half].mean((2, 3)) - pictures[:half].mean((2, 3))).abs().max()) < 0.05

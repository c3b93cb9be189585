"""What a projection minimises, and how: settings of the search in W+, and of the one in W.

Either kind says which graph it runs, what the graph is fed with, and what is the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mien.edits.loop import PLAIN, Course
from mien.errors import InputError

F32 = NDArray[np.float32]
Start = Literal["auto", "mean", "encoder"]


def scalar(value: float) -> F32:
    return np.array([value], np.float32)


@dataclass(frozen=True)
class ProjectionSettings:
    """A search in W+, a code for each layer, by Adam.

    The defaults were chosen with mien's own generator, by eye and by PSNR, on 24 held-out faces:
    25.4 dB where the encoder alone reaches 22.3. Without the prior it is 0.7 dB more, but the codes
    of the layers stray from one another, and mixes of them look painted.

    steps: Adam steps. rate: learning rate of the first; decay: its factor at each later one.
    warm_up: so many first steps at a rate that grows linearly to the one above. Adam's first step
        moves every number by the whole rate, however small its gradient; from a code that is good
        already this leads away.
    perceptual, ms_ssim, pixel, prior: weights of the terms. The first two are LPIPS and
        1 - MS-SSIM; pixel is the mean squared difference in [-1, 1]; prior is the mean squared
        distance of the layers' codes from their mean, in units of the variance of w (after Tov et
        al. 2021, arXiv 2102.02766, "delta regularisation"): near one w, layers stay exchangeable.
    start: "mean" begins at the mean w; "encoder" at the encoder's guess; "auto" at the encoder's
        where the bundle has one.
    """

    graph: ClassVar[str] = "project_step"
    target: ClassVar[str] = "project_target"
    terms: ClassVar[tuple[str, ...]] = ("perceptual", "ms_ssim", "pixel", "prior")

    steps: int = 100
    rate: float = 0.05
    decay: float = 0.98
    warm_up: int = 0
    perceptual: float = 1.0
    ms_ssim: float = 0.5
    pixel: float = 4.0
    prior: float = 1.0
    start: Start = "auto"

    def __post_init__(self) -> None:
        check_ranges(self, steps=(1, 100_000), rate=(0, 10), decay=(0, 1), warm_up=(0, 100_000))
        check_start(self.start)
        for name in self.terms:
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"weight {name} is {getattr(self, name)}, expected 0 or more")

    def inputs(self) -> dict[str, F32]:
        """The graph's inputs that stay."""
        weights = np.array([getattr(self, name) for name in self.terms], np.float32)
        return {"rate": scalar(self.rate), "decay": scalar(self.decay), "term_weights": weights}

    def course(self, batch: int, width: int) -> Course:
        """How the rate grows in the first steps."""
        return Course(inputs=self._rate) if self.warm_up else PLAIN

    def _rate(self, step: int) -> Mapping[str, F32]:
        return {"rate": scalar(self.rate * min(1.0, (step + 1) / self.warm_up))}

    def state(self, codes: F32, pixels: int) -> dict[str, F32]:  # [N, L, D]
        """The graph's state before the first step."""
        zeros = np.zeros_like(codes)
        return {"ws": codes, "m": zeros, "v": zeros.copy(), "t": scalar(0)}

    def codes(self, best: F32, layers: int) -> F32:  # [N, L, D] -> the same
        """The W+ codes of what was searched for."""
        return best

    def identity(self) -> str:
        """What must be equal to resume; a run may be made longer."""
        return repr(sorted((k, v) for k, v in asdict(self).items() if k != "steps"))


@dataclass(frozen=True)
class NoiseSettings:
    """A search in W, one code for all layers, together with the layers' noise maps.

    Karras et al. 2020 (arXiv 1912.04958), appendix D, with the numbers of the published code.

    steps: Adam steps. rate: the highest learning rate.
    ramp_up, ramp_down: the parts of the run in which the rate grows linearly from zero, and falls
        to zero as half a cosine.
    w_noise: noise on w at the beginning, in units of sqrt(E |w - mean w|^2); it falls as the square
        of the way to `quiet_from`, the part of the run after which there is none.
    regularisation: weight of the noise maps' likeness to themselves, the term `noise`.
    seed: of the maps and of the noise on w. Every sample of a batch gets the same numbers.
    start: as in ProjectionSettings; of a start in W+ the mean over the layers is taken.
    """

    graph: ClassVar[str] = "project_noise_step"
    target: ClassVar[str] = "project_noise_target"
    terms: ClassVar[tuple[str, ...]] = ("perceptual", "noise")

    steps: int = 1000
    rate: float = 0.1
    ramp_up: float = 0.05
    ramp_down: float = 0.25
    w_noise: float = 0.05
    quiet_from: float = 0.75
    regularisation: float = 1e5
    seed: int = 123
    start: Start = "mean"

    def __post_init__(self) -> None:
        parts = dict.fromkeys(("ramp_up", "ramp_down", "quiet_from"), (0.0, 1.0))
        check_ranges(
            self, steps=(1, 100_000), rate=(0, 10), w_noise=(0, 10), regularisation=(0, 1e12),
            seed=(0, 2**63), **parts,
        )  # fmt: skip
        check_start(self.start)

    def inputs(self) -> dict[str, F32]:
        """The graph's inputs that stay."""
        return {"regularisation": scalar(self.regularisation)}

    def course(self, batch: int, width: int) -> Course:
        """The schedules of rate and noise; the picture is kept, since no other graph draws it."""

        def inputs(step: int) -> Mapping[str, F32]:
            # Drawn by the step's number: a resumed run needs no generator's state.
            draw = np.random.default_rng([self.seed, step + 1]).standard_normal(width, np.float32)
            return {
                "rate": scalar(self.rate_at(step)),
                "strength": scalar(self.strength_at(step)),
                "draw": np.tile(draw, (batch, 1)),
            }

        settled = int(np.ceil(self.quiet_from * self.steps))
        return Course(inputs, code="w", shown=("picture",), settled=settled)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step; zero at the first, and from the last on."""
        t = step / self.steps
        down = min(1.0, (1 - t) / self.ramp_down) if self.ramp_down else float(t < 1)
        up = min(1.0, t / self.ramp_up) if self.ramp_up else 1.0
        return float(self.rate * up * (0.5 - 0.5 * np.cos(np.pi * max(0.0, down))))

    def strength_at(self, step: int) -> float:
        """The noise on w at a step."""
        if not self.quiet_from:
            return 0.0
        return float(self.w_noise * max(0.0, 1 - step / self.steps / self.quiet_from) ** 2)

    def state(self, codes: F32, pixels: int) -> dict[str, F32]:  # [N, L, D]
        """The graph's state before the first step; pixels: of all noise maps of a sample."""
        w = codes.mean(1)
        maps = np.random.default_rng([self.seed, 0]).standard_normal(pixels, np.float32)
        noise = np.tile(maps, (len(w), 1))
        moments = {
            f"{name}_{m}": np.zeros_like(x)
            for name, x in (("w", w), ("noise", noise))
            for m in "mv"
        }
        return {"w": w, "noise": noise, **moments, "t": scalar(0)}

    def codes(self, best: F32, layers: int) -> F32:  # [N, D] -> [N, L, D]
        """The W+ codes of what was searched for."""
        return np.repeat(best[:, None], layers, 1)

    def identity(self) -> str:
        """What must be equal to resume; the schedules depend on the steps."""
        return repr(sorted(asdict(self).items()))


Settings = ProjectionSettings | NoiseSettings


def check_ranges(settings: Settings, **ranges: tuple[float, float]) -> None:
    """Raise InputError where a setting is outside its range."""
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            raise InputError(f"{name} is {value}, expected {low} to {high}")


def check_start(start: str) -> None:
    """Raise InputError for a start that does not exist."""
    if start not in get_args(Start):
        raise InputError(f"start is {start!r}, expected {', '.join(get_args(Start))}")

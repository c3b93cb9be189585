"""Verbs that search, end to end on the fake GPU: several steps at a visit, the same results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines.fake_gpu import BuildingTrt, FakeDevice, fake_host

import mien
from mien import Studio
from mien.bundles import BUILT_IN
from mien_engines import backends

F32 = NDArray[np.float32]
EVERY, STEPS = 4, 12


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    """A fake GPU, for which the backend trt builds a plan of whatever it opens."""
    monkeypatch.setenv("MIEN_CACHE_DIR", str(tmp_path / "cache"))
    found = FakeDevice()
    fake, get = BuildingTrt(fake_host(found), most=1024), backends.get
    monkeypatch.setattr(backends, "get", lambda name: fake if name == "trt" else get(name))
    return found


@pytest.fixture
def studios(device: FakeDevice) -> Iterator[Callable[[str], Studio]]:
    """Studios by backend, on the demo bundle."""
    for name in ("demo", "vgg"):
        if not (BUILT_IN / name / "bundle.json").is_file():
            pytest.skip(f"the bundle {name} is not built: python export/zoo/ship.py")
    opened: dict[str, Studio] = {}

    def studio(backend: str) -> Studio:
        if backend not in opened:
            opened[backend] = Studio("demo", backend=backend, threads=1)
        return opened[backend]

    yield studio
    for one in opened.values():
        one.close()


def project(studio: Studio) -> tuple[F32, list[float]]:
    settings = mien.ProjectionSettings(steps=STEPS)
    found = studio.project(studio.render(studio.sample(8)), settings, every=EVERY)
    return found.ws, found.losses


def swap(studio: Studio) -> tuple[F32, list[float]]:
    faces = [studio.render(studio.sample(seed)) for seed in (1, 2)]
    settings = mien.SwapSettings(steps=STEPS, codes="encoded")
    found = studio.swap(identity=faces[0], attributes=faces[1], settings=settings, every=EVERY)
    return found.ws, found.losses


def gatys(studio: Studio) -> tuple[F32, list[float]]:
    rng = np.random.default_rng(1)
    content, style = (rng.integers(0, 256, (48, 64, 3)).astype(np.uint8) for _ in range(2))
    settings = mien.GatysSettings(size=64, steps=(STEPS,), style_layers="published")
    found = studio.gatys(content, style, settings, every=EVERY)
    return np.asarray(found).astype(np.float32), found.losses


def captured_runs(device: FakeDevice) -> list[int]:
    """How many steps each graph has that was captured."""
    counts: list[int] = []
    inside = False
    for name, _ in device.log:
        if name == "begin capture":
            inside = True
            counts.append(0)
        elif name == "end capture":
            inside = False
        elif inside and name == "execute":
            counts[-1] += 1
    return counts


@pytest.mark.parametrize(
    "verb",
    [
        pytest.param(project, marks=pytest.mark.slow),
        pytest.param(swap, marks=pytest.mark.slow),
        gatys,
    ],
)
def test_a_search_on_the_device_is_that_on_the_cpu_with_fewer_visits(
    studios: Callable[[str], Studio], device: FakeDevice, verb: Callable[[Studio], Any]
) -> None:
    expected, losses = verb(studios("ort"))
    assert not device.log
    found, found_losses = verb(studios("trt"))
    np.testing.assert_allclose(found_losses, losses, rtol=1e-4)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    # The step of a record is a visit of its own, those between two records are one.
    assert max(captured_runs(device)) == EVERY - 1

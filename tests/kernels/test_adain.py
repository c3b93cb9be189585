"""AdaIN's kernels in the emulation against the definition, on every path that a card may take."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.ops.adain import adain as definition
from mien_engines.errors import InputError
from mien_engines.kernels import normalise as plans
from mien_engines.kernels.launch import (
    A100,
    H200,
    RTX3090,
    RTX4090,
    Card,
    Launch,
    floats,
    integers,
    pointer,
)  # fmt: skip
from mien_engines.kernels.normalise import adain, blocks_together, plan, workspace_bytes
from tests.kernels.emulation import Emulation, Guarded, rounded
from tests.sdk.ops import assert_close
from tests.sdk.test_ops_adain import HARD, back, formula, hard_plane, inputs, laid_out

Array = NDArray[Any]
SHAPES = [(1, 1, 1, 1), (3, 7, 1, 1), (1, 1, 1, 2), (2, 3, 7, 5), (1, 37, 9, 17), (3, 33, 8, 16)]
LAYOUTS: list[Any] = ["NCHW", "NHWC"]
# Of the range of the result: half a unit in the last place of each, and what sums may lose.
TOLERANCE = {"float32": 1e-5, "float16": 1e-3, "bfloat16": 5e-3}
# A card of so little shared memory that small planes take all paths.
ROOM = {"NCHW": 1536, "NHWC": 12 * 1024}


def small_card(layout: str, capability: tuple[int, int]) -> Card:
    return Card(capability, 2, ROOM[layout], 1 << 20)


def run(
    emulation: Emulation, x: Array, gamma: Array, beta: Array, dtype: str = "float32",
    *, up: int = 1, layout: Any = "NCHW", shift: int = 0, **more: Any,
) -> Array:  # fmt: skip
    n, c, h, w = x.shape if layout == "NCHW" else (x.shape[i] for i in (0, 3, 1, 2))
    shape = (n, c, up * h, up * w) if layout == "NCHW" else (n, up * h, up * w, c)
    kind = np.float32 if dtype == "bfloat16" else np.dtype(dtype)
    out = Guarded(np.zeros(shape, kind), dtype, shift)
    source = Guarded(x.astype(kind), dtype, shift)
    noise = {k: Guarded(more.pop(k), shift=shift) for k in ("noise", "strength") if k in more}
    adain(
        emulation,
        source,
        Guarded(gamma),
        Guarded(beta),
        out=out,
        up=up,
        layout=layout,
        **noise,
        **more,
    )
    return out.value


def blocks_of(emulation: Emulation) -> int:
    """How many blocks took a plane together in the last call; 0 where there were two passes."""
    last = emulation.launches[-1]
    return 0 if "result" in last.kernel else last.cluster


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_definition(
    rng: np.random.Generator, kernels: ctypes.CDLL, shape: tuple[int, ...], dtype: str, layout: Any
) -> None:
    x, gamma, beta = inputs(rng, shape)
    x = laid_out(rounded(x, dtype), layout)
    n, c, h, w = shape
    noise = rng.standard_normal((n, h, w)).astype(np.float32)
    strength = rng.standard_normal(c).astype(np.float32)
    noisy = {"noise": noise, "strength": strength, "slope_before": 0.2}
    cases: list[dict[str, Any]] = [
        {}, {"slope": 0, "up": 2}, {**noisy, "up": 2, "slope": 0.5},
        {"noise": noise[:1], "strength": strength},
    ]  # fmt: skip
    for seed, case in enumerate(cases):
        wanted = definition(x, gamma, beta, layout=layout, impl="ref", **case)
        for card in (H200, small_card(layout, (9, 0)), small_card(layout, (8, 6))):
            emulation = Emulation(kernels, card, seed)
            found = run(emulation, x, gamma, beta, dtype, layout=layout, **case)
            assert_close(found.astype(np.float64), wanted.astype(np.float64), TOLERANCE[dtype])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_path_is_taken_and_agrees(
    rng: np.random.Generator, kernels: ctypes.CDLL, layout: Any
) -> None:
    card, old = small_card(layout, (9, 0)), small_card(layout, (8, 6))
    pixels = {1: (3, 5), 2: (16, 26), 4: (26, 31), 8: (32, 63), 0: (48, 63)}
    if layout == "NHWC":
        pixels = {1: (3, 5), 2: (8, 12), 4: (11, 17), 8: (19, 20), 0: (24, 24)}
    for blocks, (h, w) in pixels.items():
        x, gamma, beta = inputs(rng, (1, 2, h, w))
        x = laid_out(x, layout)
        wanted = definition(x, gamma, beta, layout=layout, slope=0.2, impl="ref")
        for chosen, seed in ((card, 5), (old, 3)):
            emulation = Emulation(kernels, chosen, seed)
            found = run(emulation, x, gamma, beta, layout=layout, slope=0.2)
            assert_close(found, wanted)
            assert blocks_of(emulation) == (blocks if chosen is card or blocks == 1 else 0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_planes_are_taken_in_groups_that_fit_the_cache(
    rng: np.random.Generator, kernels: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch, layout: Any
) -> None:
    monkeypatch.setattr(plans, "LEAST_GROUP", 1)
    x, gamma, beta = inputs(rng, (3, 5, 27, 41))
    noise = rng.standard_normal((3, 27, 41)).astype(np.float32)
    more = {"noise": noise, "strength": np.arange(5, dtype=np.float32), "layout": layout, "up": 2}
    card = Card((8, 0), 2, ROOM[layout], 4 * 27 * 41 * 4)  # two planes in half of its L2
    emulation = Emulation(kernels, card, 1)
    found = run(emulation, laid_out(x, layout), gamma, beta, **more)
    assert_close(found, definition(laid_out(x, layout), gamma, beta, impl="ref", **more))
    assert len(emulation.launches) == 3 * (8 if layout == "NCHW" else 3)


@pytest.mark.parametrize("capability", [(9, 0), (8, 0)])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", HARD)
def test_hard_planes_agree_with_float64(
    rng: np.random.Generator, kernels: ctypes.CDLL, kind: str, layout: Any, capability: Any
) -> None:
    plane = (
        hard_plane(kind, rng)[:, :, :32, :48] if "outlier" not in kind else hard_plane(kind, rng)
    )
    easy = rng.standard_normal(plane.shape).astype(np.float32)
    x = np.concatenate([easy, plane, easy], 1)  # an easy one stays easy beside it
    gamma, beta = np.full((1, 3), 1.5, np.float32), np.full((1, 3), -0.25, np.float32)
    wanted = formula(x, gamma, beta)
    whole = Card(capability, 2, 227 << 10, 1 << 20)
    split = Card(capability, 2, 4096 if layout == "NCHW" else 64 << 10, 1 << 20)
    for card in (whole, split):
        found = run(Emulation(kernels, card, 2), laid_out(x, layout), gamma, beta, layout=layout)
        for channel in range(3):
            assert_close(back(found, layout)[:, channel], wanted[:, channel])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("capability", [(9, 0), (8, 0)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_plane_that_is_not_finite_becomes_nan_and_no_other(
    rng: np.random.Generator, kernels: ctypes.CDLL, value: float, capability: Any, layout: Any
) -> None:
    x, gamma, beta = inputs(rng, (1, 3, 24, 24))
    easy = formula(x, gamma, beta)[0, [0, 2]]
    x[0, 1, 20, 5] = value
    for card in (small_card(layout, capability), Card(capability, 2, 99 << 10, 1 << 20)):
        found = back(
            run(Emulation(kernels, card), laid_out(x, layout), gamma, beta, layout=layout), layout
        )
        assert np.isnan(found[0, 1]).all()
        assert_close(found[0, [0, 2]], easy)


@pytest.mark.parametrize(
    ("block", "seed"), [(32, 0), (32, 7), (64, 0), (96, 5), (256, 0), (256, 3), (512, 1)]
)
def test_any_number_of_threads_will_do(
    rng: np.random.Generator, kernels: ctypes.CDLL, block: int, seed: int
) -> None:
    x, gamma, beta = inputs(rng, (1, 2, 13, 24))
    wanted = formula(x, gamma, beta)
    for card in (A100, small_card("NCHW", (9, 0)), small_card("NCHW", (8, 0))):
        assert_close(run(Emulation(kernels, card, seed, block), x, gamma, beta), wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_order_of_threads_changes_no_bit(
    rng: np.random.Generator, kernels: ctypes.CDLL, layout: Any
) -> None:
    x, gamma, beta = inputs(rng, (2, 9, 14, 16))
    x = laid_out(x, layout)
    for capability in ((9, 0), (8, 0)):
        card = small_card(layout, capability)
        first = run(Emulation(kernels, card), x, gamma, beta, layout=layout)
        for seed in (1, 2, 3):
            again = run(Emulation(kernels, card, seed), x, gamma, beta, layout=layout)
            np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_that_no_pack_fits_are_taken_number_by_number(
    rng: np.random.Generator, kernels: ctypes.CDLL, layout: Any
) -> None:
    x, gamma, beta = inputs(rng, (1, 40, 8, 8))
    for dtype, shift in (("float32", 4), ("float16", 2), ("bfloat16", 2)):
        source = laid_out(rounded(x, dtype), layout)
        wanted = definition(source, gamma, beta, layout=layout, up=2, impl="ref")
        found = run(
            Emulation(kernels), source, gamma, beta, dtype, layout=layout, up=2, shift=shift
        )
        assert_close(found.astype(np.float64), wanted.astype(np.float64), TOLERANCE[dtype])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_result_may_take_the_place_of_x(
    rng: np.random.Generator, kernels: ctypes.CDLL, layout: Any
) -> None:
    x, gamma, beta = inputs(rng, (2, 5, 20, 20))
    for card in (A100, small_card(layout, (9, 0)), small_card(layout, (8, 0))):
        place = Guarded(laid_out(x, layout))
        emulation = Emulation(kernels, card, 4)
        adain(emulation, place, Guarded(gamma), Guarded(beta), out=place, layout=layout)
        assert_close(back(place.value, layout), formula(x, gamma, beta))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("keep", [0, 64, 200, 391, 1000])
def test_the_plugin_reads_again_what_it_cannot_keep(
    rng: np.random.Generator, kernels: ctypes.CDLL, dtype: str, keep: int
) -> None:
    x, gamma, beta = (rounded(a, dtype) for a in inputs(rng, (2, 3, 17, 23)))
    kind = np.float32 if dtype == "bfloat16" else np.dtype(dtype)
    arrays = [Guarded(a.astype(kind), dtype) for a in (x, gamma, beta, np.zeros_like(x))]
    suffix = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}[dtype]
    before, behind = [pointer(a.address) for a in arrays[:3]], pointer(arrays[3].address)
    shared = plans.SCRATCH + keep * plans.SIZES[dtype]
    arguments = (*before, *integers(17 * 23, keep), behind)
    launch = Launch(f"adain_plugin_{suffix}", (6, 1, 1), (96, 1, 1), arguments, shared)
    Emulation(kernels, seed=keep).run([launch], 0)
    assert_close(arrays[3].value.astype(np.float64), formula(x, gamma, beta), TOLERANCE[dtype])


def works(layout: Any) -> st.SearchStrategy[plans.Work]:
    side, dtype = st.integers(1, 1100), st.sampled_from(sorted(plans.SIZES.keys() - {"uint8"}))
    return st.builds(
        plans.Work, st.just(layout), st.integers(1, 16), st.integers(1, 600), side, side, dtype,
        st.sampled_from([1, 2]), *[st.sampled_from([1 << 20, (1 << 20) + 4])] * 2, st.just(0),
        st.just(0), st.none(), st.none(), st.just(0), st.just(1.0), st.just(1.0),
    )  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(LAYOUTS).flatmap(works), st.sampled_from([H200, A100, RTX3090, RTX4090]))
def test_every_plan_fits_its_card(work: plans.Work, card: Card) -> None:
    launches = plan(work, card, 1 << 30)
    blocks = blocks_together(work, card)
    assert (workspace_bytes(work, card) == 0) == (blocks > 0)
    for launch in launches:
        x, y, z = launch.block
        assert launch.shared <= card.block_shared
        assert x * y * z % 32 == 0
        assert 32 <= x * y * z <= (512 if work.layout == "NCHW" else 256)
        assert launch.grid[0] % launch.cluster == 0
        assert 0 < launch.grid[0] < 2**31
    if blocks > 1:
        assert blocks in card.clusters
        size = launches[0].arguments[13].value
        assert (blocks - 1) * size < work.pixels <= blocks * size
    if not blocks:
        units = work.n * work.c // (1 if work.layout == "NCHW" else work.c)
        moments = [launch for launch in launches if "moments" in launch.kernel]
        slices = moments[0].arguments[-2].value
        tiles = 1 if work.layout == "NCHW" else work.tiles
        assert sum(launch.grid[0] for launch in moments) == units * slices * tiles


@pytest.mark.parametrize(
    ("shape", "dtype", "card", "blocks"),
    [
        ((1, 512, 32, 32), "float16", H200, 1),
        ((8, 128, 256, 256), "float16", H200, 2),  # 128 kB: two of 64 kB share a multiprocessor
        ((1, 64, 512, 512), "float16", H200, 8),
        ((1, 32, 512, 512), "float32", H200, 8),
        ((1, 32, 1024, 1024), "float16", H200, 0),  # 2 MB: eight blocks hold 1.8
        ((8, 256, 128, 128), "float16", RTX4090, 1),
        ((8, 128, 256, 256), "float16", RTX4090, 0),
        ((8, 128, 256, 256), "float16", A100, 1),
        ((1, 16, 128, 128), "float32", A100, 0),  # 16 blocks would leave most of it idle
    ],
)
def test_planes_go_where_they_fit(
    shape: tuple[int, ...], dtype: str, card: Card, blocks: int
) -> None:
    n, c, h, w = shape
    work = plans.Work("NCHW", n, c, h, w, dtype, 1, 0, 0, 0, 0, None, None, 0, 1.0, 1.0)
    assert blocks_together(work, card) == blocks


X = Guarded(np.zeros((1, 2, 3, 4), np.float32))
OUT = Guarded(np.zeros((1, 2, 3, 4), np.float32))
ROW = Guarded(np.zeros((1, 2), np.float32))
RAIN = Guarded(np.zeros((1, 3, 4), np.float32))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"x": np.zeros((1, 2, 3, 4))}, "x is ndarray, expected an array on the GPU"),
        ({"x": Guarded(np.zeros((1, 2, 3, 4)))}, "x is <f8, expected float32 or float16"),
        ({"x": RAIN}, r"x has shape \(1, 3, 4\), expected \(N, C, H, W\)"),
        ({"gamma": X}, r"gamma has shape .*, expected \(1, 2\)"),
        ({"out": Guarded(np.zeros((1, 2, 6, 8), np.float32))}, "out has shape"),
        ({"out": Guarded(np.zeros((1, 2, 3, 4), np.float16))}, "out is float16, expected float32"),
        ({"out": ROW, "beta": ROW, "up": 1}, "out has shape"),
        ({"noise": RAIN}, "noise and strength go together"),
        ({"noise": Guarded(np.zeros((2, 3, 4), np.float32)), "strength": ROW}, "noise has shape"),
        ({"noise": RAIN, "strength": ROW}, "strength has shape"),
        ({"slope": 1.5}, "slope is 1.5, expected 0 to 1"),
        ({"slope_before": float("nan")}, "slope_before is nan"),
        ({"up": 3}, "up is 3, expected 1 or 2"),
        ({"layout": "CHWN"}, "layout is 'CHWN'"),
        ({"x": X, "out": X, "up": 2, "layout": "NCHW"}, "out has shape"),
    ],
)
def test_wrong_inputs_are_named(kernels: ctypes.CDLL, changes: dict[str, Any], text: str) -> None:
    arguments = {"x": X, "gamma": ROW, "beta": ROW, "out": OUT} | changes
    x, gamma, beta = (arguments.pop(name) for name in ("x", "gamma", "beta"))
    with pytest.raises(InputError, match=text):
        adain(Emulation(kernels), x, gamma, beta, **arguments)


def test_results_that_overlap_and_small_workspaces_are_refused(kernels: ctypes.CDLL) -> None:
    memory = Guarded(np.zeros((2, 4, 24, 24), np.float32))
    emulation = Emulation(kernels, small_card("NCHW", (8, 0)))
    x, rows = np.zeros((1, 4, 24, 24), np.float32), Guarded(np.zeros((1, 4), np.float32))

    class Part:
        def __init__(self, start: int) -> None:
            address = memory.address + start
            facts = {"shape": x.shape, "typestr": "<f4", "data": (address, False)}
            self.__cuda_array_interface__ = facts

    with pytest.raises(InputError, match="out shares memory with an input"):
        adain(emulation, Part(0), rows, rows, out=Part(64))
    with pytest.raises(InputError, match=r"workspace has 8 bytes, expected \d+ or more"):
        adain(emulation, Part(0), rows, rows, out=Part(0), workspace=Guarded(np.zeros(8, np.uint8)))


def test_a_workspace_of_the_callers_is_used(rng: np.random.Generator, kernels: ctypes.CDLL) -> None:
    x, gamma, beta = inputs(rng, (1, 2, 30, 30))
    emulation = Emulation(kernels, small_card("NCHW", (8, 0)))
    space = Guarded(np.zeros(1 << 16, np.uint8))
    found = run(emulation, x, gamma, beta, workspace=space)
    assert_close(found, formula(x, gamma, beta))
    assert space.value.any()
    assert floats(1.5)[0].value == 1.5

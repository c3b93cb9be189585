"""W+ codes on the GPU: mixing them, and Adam's step with its rates on the device."""

from __future__ import annotations

from typing import Any

from mien_engines.errors import InputError
from mien_engines.kernels.arrays import apart, check
from mien_engines.kernels.launch import Launch, Runner, ceil_div, integers, pointer

THREADS = 256


def mix(
    runner: Runner,
    content: Any,  # float32 [N, L, D]
    style: Any,  # float32 [N, L, D], or N is 1 in either
    weight: Any,  # float32 [L], of content
    *,
    out: Any,  # float32 [N, L, D]
    stream: int = 0,
) -> None:
    """Queue what `mien.ops.mix.mix` computes, to the bit.

    Raises InputError for another dtype or shape, arrays with gaps or on the CPU.
    """
    a = check("content", content, ("float32",), ("N", "L", "D"))
    n, layers, width = a.shape
    b = check("style", style, ("float32",), ("N", layers, width))
    if n != b.shape[0] and 1 not in (n, b.shape[0]):
        raise InputError(f"there are {n} contents and {b.shape[0]} styles, expected as many")
    w = check("weight", weight, ("float32",), (layers,))
    shape = (max(n, b.shape[0]), layers, width)
    y = check("out", out, ("float32",), shape, writable=True)
    apart("out", y, a, b, w)
    code, count = layers * width, shape[0] * layers * width
    steps = (code if array.shape[0] > 1 else 0 for array in (a, b))
    launch = Launch(
        "mix_f32", (ceil_div(count, THREADS), 1, 1), (THREADS, 1, 1),
        (*(pointer(array.address) for array in (a, b, w, y)),
         *integers(layers, width, *steps, count)),
    )  # fmt: skip
    runner.run([launch], stream)


def adam(
    runner: Runner,
    ws: Any,  # float32 of any shape, changed in place, as are m and v
    m: Any,
    v: Any,
    gradient: Any,
    *,
    rates: Any,  # float32 [steps]
    t: Any,  # float32 [1], steps already taken; one more afterwards
    done: Any,  # 4 bytes of zero, uint8 [4], which the blocks count in
    stream: int = 0,
) -> None:
    """Queue one step of Adam (Kingma and Ba 2015, Algorithm 1): `mien.ops.adam` defines it.

    The learning rate is rates[t], that of the last step beyond the end. Everything that changes
    from step to step is on the device, so a graph captured of this goes on when it is replayed.

    Raises InputError for another dtype or shape, arrays with gaps or on the CPU.
    """
    codes = check("ws", ws, ("float32",), _any_shape(ws))
    others = {"m": m, "v": v, "gradient": gradient}
    arrays = [codes, *(check(k, a, ("float32",), codes.shape) for k, a in others.items())]
    for name, array in zip(("ws", "m", "v"), arrays, strict=False):
        check(name, others.get(name, ws), ("float32",), codes.shape, writable=True)
        apart(name, array, *(other for other in arrays if other is not array))
    table = check("rates", rates, ("float32",), ("steps",))
    count = check("t", t, ("float32",), (1,), writable=True)
    counter = check("done", done, ("uint8",), (4,), writable=True)
    numbers = codes.nbytes // 4
    launch = Launch(
        "adam_f32", (ceil_div(numbers, THREADS), 1, 1), (THREADS, 1, 1),
        (*(pointer(array.address) for array in (*arrays, table, count, counter)),
         *integers(table.shape[0], numbers)),
    )  # fmt: skip
    runner.run([launch], stream)


def _any_shape(array: Any) -> tuple[str, ...]:
    facts = getattr(array, "__cuda_array_interface__", {"shape": ()})
    return ("...",) * len(facts["shape"])

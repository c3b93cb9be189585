"""Random weights that any machine draws again, and bundles that travel without them.

A generator of 1024 px has 100 MB of weights. Here they are random, so what travels is how each was
drawn: a seed and a scale. Integers of NumPy's `RandomState`, whose streams never change, times one
number: the same bits on every machine, whatever its torch. The manifest's SHA-256 proves it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
WEIGHTS = "weights.safetensors"
RECIPE = "weights.recipe.json"
REST = "weights.rest"  # bytes of the tensors that were not drawn, one after the other
LEVELS = 1 << 16
# Name and scale of what was drawn; the exporter has multiplied it by a number, and transposed it.
Recipe = tuple[str, float, float, bool]


def values(name: str, shape: tuple[int, ...], scale: float) -> F32:
    """Uniform numbers of mean 0 and standard deviation `scale`, by the name of the tensor."""
    stream = np.random.RandomState(zlib.crc32(name.encode()))
    levels = stream.randint(0, LEVELS, shape, dtype=np.uint16).astype(np.float32)
    return (levels - np.float32((LEVELS - 1) / 2)) * np.float32(scale * 12**0.5 / LEVELS)


class Drawn:
    """What was drawn, so that it is found again among the weights of a bundle."""

    def __init__(self) -> None:
        self._by_digest: dict[str, Recipe] = {}

    def __call__(
        self, name: str, shape: tuple[int, ...], scale: float, gains: Sequence[float] = ()
    ) -> F32:
        """Draw. gains: what the exporter may have multiplied it by, with one rounding."""
        for gain in (1.0, *gains):
            for transposed in (False, True) if len(shape) == 2 else (False,):
                recipe = name, scale, gain, transposed
                form = shape[::-1] if transposed else shape
                self._by_digest[_digest(_again(recipe, form))] = recipe
        return values(name, shape, scale)

    def fill(
        self,
        module: Any,
        scale: Callable[[Any], float],
        gains: Callable[[Any], Sequence[float]] = lambda tensor: (),
    ) -> None:
        """Replace the parameters of a torch module that have 2 or more dimensions.

        scale: from a parameter to the standard deviation it is to have. gains: of the exporter.
        """
        for name, tensor in module.named_parameters():
            if tensor.dim() > 1:
                drawn = self(name, tuple(tensor.shape), scale(tensor), gains(tensor))
                tensor.data.copy_(tensor.new_tensor(drawn))

    def recipe(self, data: bytes) -> Recipe | None:
        """How these bytes were drawn; None where they were not."""
        return self._by_digest.get(_digest(data))


def hollow(bundle: Path, folder: Path, drawn: Drawn) -> None:
    """Copy a bundle without the weights that can be drawn again."""
    folder.mkdir(parents=True)
    for file in bundle.iterdir():
        if file.name != WEIGHTS:
            shutil.copyfile(file, folder / file.name)
    data = (bundle / WEIGHTS).read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    recipes, rest = {}, b""
    for name, entry in _places(data[8:begin]):
        part = data[begin + entry[0] : begin + entry[1]]
        known = drawn.recipe(part)
        if known is None:
            rest += part
        else:
            recipes[name] = known
    record = {"header": data[8:begin].decode(), "drawn": recipes}
    (folder / RECIPE).write_text(json.dumps(record))
    (folder / REST).write_bytes(rest)


def filled(folder: Path, bundle: Path) -> None:
    """Make the bundle again that `hollow` has copied, byte by byte. Nothing half-made stays."""
    record = json.loads((folder / RECIPE).read_text())
    header, rest = record["header"].encode(), (folder / REST).read_bytes()
    building = bundle.with_name(f"{bundle.name}.part")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    for file in folder.iterdir():
        if file.name not in (RECIPE, REST):
            shutil.copyfile(file, building / file.name)
    shapes = {n: e["shape"] for n, e in json.loads(header).items() if n != "__metadata__"}
    with (building / WEIGHTS).open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for name, (first, last) in _places(header):
            if name in record["drawn"]:
                file.write(_again(record["drawn"][name], tuple(shapes[name])))
            else:
                file.write(rest[: last - first])
                rest = rest[last - first :]
    building.rename(bundle)


def _again(recipe: Recipe, shape: tuple[int, ...]) -> bytes:
    name, scale, gain, transposed = recipe
    drawn = values(name, shape[::-1] if transposed else shape, scale) * np.float32(gain)
    return (drawn.T if transposed else drawn).tobytes()


def _places(header: bytes) -> Iterator[tuple[str, tuple[int, int]]]:
    """Names of tensors and where each begins and ends, in the order of the file."""
    entries = json.loads(header)
    entries.pop("__metadata__", None)
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        yield name, tuple(entry["data_offsets"])


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

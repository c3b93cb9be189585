"""Look-alikes: faces that share an identity and differ in how they are drawn.

System 4: an encoder finds 70 numbers that say who a face is, and a decoder draws it under ten
controls, which enter only where features are normalised. The identity is encoded once; any number
of controls is decoded with it. A face-recognition network may judge how alike they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.animation import Animation
from mien.edits.crops import size_of
from mien.edits.draw import BATCH
from mien.errors import InputError
from mien.images import Picture
from mien.ops.pixels import floats_from_pixels
from mien.provenance import digest
from mien_engines import Engine

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

FAMILY = "lookalike"
JUDGE = "arcface"  # the family whose network tells how alike two faces are
MANY = 16  # drawn where nobody says how many
MAX_FACES = 100_000
TRIES = 50  # drawn for each that is wanted, before a band of likeness is given up
SIDE = 256  # px of the images that the judge cuts the face out of

Band = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Lookalikes:
    """Faces that share an identity.

    faces: uint8 RGB [N, R, R, 3]. controls: what each was drawn with, float32 [N, C].
    numbers: of the draws, [N]: look-alike i of a seed is the same whatever else was asked for;
        -1 where the controls were given.
    cosines: of each face's embedding and the source's [N]; None where no judge was asked.
    source: of the face that they are like, as `mien.provenance.digest` names it.
    """

    faces: U8
    controls: F32
    numbers: NDArray[np.int64]
    cosines: F32 | None
    source: str

    def __len__(self) -> int:
        return len(self.faces)

    def picture(self, i: int) -> Picture:
        """Return one of them, to be saved with what it says of its making."""
        return Picture(self.faces[i], ("lookalike",), (self.source,))

    def animation(self, frames_per_second: float = 12.5) -> Animation:
        """Return them as frames, such as those of a walk."""
        return Animation(self.faces, frames_per_second, ("lookalike",), (self.source,))

    def sheet(self, columns: int = 8) -> Picture:
        """Lay them out in rows. Raises InputError for columns below 1."""
        if columns < 1:
            raise InputError(f"{columns} columns, expected 1 or more")
        missing = -len(self) % min(columns, len(self))
        padded = np.pad(self.faces, ((0, missing), *(3 * [(0, 0)])), constant_values=250)
        rows = padded.reshape(-1, min(columns, len(self)), *self.faces.shape[1:])
        sheet = np.concatenate([np.concatenate(list(row), 1) for row in rows])
        return Picture(sheet, ("lookalike",), (self.source,))


def control_of(seed: int, number: int, count: int) -> F32:  # [C]
    """Return a draw of controls, uniform in -1 to 1: a function of seed and number alone."""
    random = np.random.default_rng([seed, number])
    return random.uniform(-1, 1, count).astype(np.float32)


def walk_controls(
    index: int, count: int, *, low: float, high: float, steps: int, base: ArrayLike | None
) -> F32:  # [steps, C]
    """Return controls in which one goes from low to high, and the others stay at base.

    base: of all controls [C]; None means 0, the middle of what was trained on.
    Raises InputError for a control that does not exist, a base of another length, no steps.
    """
    if not 0 <= index < count:
        raise InputError(
            f"control {index} does not exist", hint=f"This network has {count}, from 0"
        )
    if not 1 <= steps <= MAX_FACES or not np.isfinite([low, high]).all():
        raise InputError(f"{steps} steps from {low} to {high}, expected 1 or more between numbers")
    start = np.zeros(count, np.float32) if base is None else as_controls(base, count)[0]
    controls = np.repeat(start[None], steps, 0)
    controls[:, index] = np.linspace(low, high, steps)
    return controls


def as_controls(given: ArrayLike, count: int) -> F32:  # [C] or [N, C] -> [N, C]
    """Return controls as the network takes them. Raises InputError for another shape, and NaN."""
    controls = np.atleast_2d(np.asarray(given, np.float32))
    if controls.ndim != 2 or controls.shape[1] != count or not np.isfinite(controls).all():
        raise InputError(
            f"the controls have shape {controls.shape}, expected [N, {count}], all finite",
            hint="They were trained on -1 to 1",
        )
    return controls


def lookalikes(
    engine: Engine,
    face: U8,  # [R, R, 3]
    n: int,
    *,
    seed: int,
    between: Band | None = None,
    judge: Engine | None = None,
    callback: Callable[[int, int], object] | None = None,
) -> Lookalikes:
    """Draw n look-alikes with random controls; arguments as in `Studio.lookalikes`.

    judge: asked for the cosines; with `between` there must be one.
    Raises InputError: n, the seed or the band out of range, or too few look-alikes in the band.
    """
    parts, found = [], 0
    for part in in_batches(engine, face, n, seed=seed, between=between, judge=judge):
        parts.append(part)
        found += len(part)
        if callback is not None:
            callback(found, n)
    return _joined(parts)


def in_batches(
    engine: Engine,
    face: U8,  # [R, R, 3]
    n: int,
    *,
    seed: int,
    between: Band | None,
    judge: Engine | None,
) -> Iterator[Lookalikes]:
    """Yield the n look-alikes of `lookalikes`, as many at once as are drawn in one call."""
    check_wish(n, seed, between)
    draw = _Drawer(engine, face, judge)
    count, limit = size_of(engine, "control"), n if between is None else n * TRIES
    found, seen = 0, list[float]()
    for first in range(0, limit, BATCH):
        numbers = np.arange(first, min(first + BATCH, limit))
        drawn = draw(np.stack([control_of(seed, int(i), count) for i in numbers]), numbers)
        if between is not None:
            assert drawn.cosines is not None
            seen += drawn.cosines.tolist()
            inside = (drawn.cosines >= between[0]) & (drawn.cosines <= between[1])
            drawn = _chosen(drawn, np.flatnonzero(inside)[: n - found])
        found += len(drawn)
        yield drawn
        if found == n:
            return
    assert between is not None
    raise InputError(
        f"{found} of {limit} look-alikes have a cosine in {between[0]:g} to {between[1]:g}, "
        f"expected {n}",
        hint=f"Theirs are {min(seen):.2f} to {max(seen):.2f}: widen the band",
    )


def with_controls(
    engine: Engine, face: U8, controls: F32, judge: Engine | None = None
) -> Lookalikes:
    """Draw a face's look-alikes with these controls [N, C], in batches."""
    draw = _Drawer(engine, face, judge)
    given = np.full(len(controls), -1)
    batches = [slice(i, i + BATCH) for i in range(0, len(controls), BATCH)]
    return _joined([draw(controls[part], given[part]) for part in batches])


def embedded(judge: Engine, faces: U8) -> F32:  # [N, R, R, 3] -> unit rows [N, D]
    """Return the embeddings of faces that are aligned as FFHQ."""
    smaller = faces.shape[1] > SIDE
    image = floats_from_pixels(faces, (SIDE, SIDE), filter="area" if smaller else "bilinear")
    embedding: F32 = judge.run("embed_image", image=image)["embedding"]
    return embedding


def check_wish(n: int, seed: int, between: Band | None) -> None:
    """Raise InputError for a number of faces, a seed or a band of cosines that cannot be."""
    if not 1 <= n <= MAX_FACES:
        raise InputError(f"n is {n}, expected 1 to {MAX_FACES}")
    if seed < 0:
        raise InputError(f"seed is {seed}, expected 0 or more")
    if between is not None and not -1 <= between[0] < between[1] <= 1:
        raise InputError(
            f"between is {between[0]:g} to {between[1]:g}, expected cosines of -1 to 1, the lower "
            "one first"
        )


class _Drawer:
    """One face, encoded once, drawn with any controls."""

    def __init__(self, engine: Engine, face: U8, judge: Engine | None) -> None:
        self._engine, self._judge = engine, judge
        self._identity: F32 = engine.run("encode", picture=face[None])["identity"]  # [1, 70]
        self._own: F32 | None = None if judge is None else embedded(judge, face[None])[0]  # [D]
        self._source = digest(face)

    def __call__(self, controls: F32, numbers: NDArray[np.int64]) -> Lookalikes:  # [N, C], [N]
        identity = np.repeat(self._identity, len(controls), 0)
        faces = self._engine.run("generate", identity=identity, control=controls)["picture"]
        if self._judge is None or self._own is None:
            return Lookalikes(faces, controls, numbers, None, self._source)
        cosines: F32 = embedded(self._judge, faces) @ self._own
        return Lookalikes(faces, controls, numbers, cosines, self._source)


def _chosen(drawn: Lookalikes, which: NDArray[np.int64]) -> Lookalikes:
    assert drawn.cosines is not None
    return Lookalikes(
        drawn.faces[which],
        drawn.controls[which],
        drawn.numbers[which],
        drawn.cosines[which],
        drawn.source,
    )


def _joined(parts: list[Lookalikes]) -> Lookalikes:
    cosines = [part.cosines for part in parts if part.cosines is not None]
    return Lookalikes(
        np.concatenate([part.faces for part in parts]),
        np.concatenate([part.controls for part in parts]),
        np.concatenate([part.numbers for part in parts]),
        np.concatenate(cosines) if cosines else None,
        parts[0].source,
    )

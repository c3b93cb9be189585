"""Local editing: a part of one face, such as the eyes, from another.

Collins et al. 2020 (arXiv 2004.14367). A catalogue says how much each channel of the generator adds
to each part; those that draw a part, and little else, take the reference's style. StyleGAN1 has
styles as published; StyleGAN2's scale the channels that enter each convolution, and its layers to
RGB keep theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.edits.catalogue import Catalogue
from mien.edits.clusters import check_graphs
from mien.errors import ArchMismatch, InputError
from mien.images import Picture
from mien_engines import Engine

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

# As published, for faces: the least contribution, and how much of other parts may change.
RHO = 0.1
EPSILON: Mapping[str, float] = {"nose": 30.0}
OTHERWISE = 50.0
FIRST, FIRST_EPSILON = 4, 5.0  # layers of 4 and 8 px, which turn heads

Epsilon = float | Sequence[float]


@dataclass(frozen=True, eq=False)
class LocalEdit:
    """An edited face. It can be edited further, and be a reference itself.

    picture: with the edits and the sources. styles: float32, [S'] or, of a StyleGAN1, [2, S].
    network: SHA-256 of the generator's checkpoint.
    """

    picture: Picture
    styles: F32
    network: str

    def save(self, path: str | Path, *, mark: bool = True) -> Path:
        """Write the picture; `Picture.save` has the arguments and the errors."""
        return self.picture.save(path, mark=mark)


def channel_mask(
    contributions: F32,  # [C]
    *,
    rho: float,
    epsilon: float,
) -> Mask:  # [C]
    """Return the channels that take the reference's style (section 3.3).

    By falling contribution m, channels are taken while the sum of what they add elsewhere, 1 - m,
    stays below epsilon; of those, the ones with m > rho. Channels of equal m keep their order,
    which the published code leaves to its sort. Sums are in float64, as there.
    """
    order = np.argsort(-contributions, kind="stable")
    elsewhere = np.cumsum(np.float32(1) - contributions[order], dtype=np.float64)
    mask = np.zeros(contributions.shape, np.bool_)
    mask[order[elsewhere < epsilon]] = True
    chosen: Mask = mask & (contributions > np.float32(rho))
    return chosen


def part_mask(
    catalogue: Catalogue, part: str, *, rho: float = RHO, epsilon: Epsilon | None = None
) -> Mask:  # [S]
    """Return the channels of all layers that take the reference's style for a part.

    epsilon: one for all layers, or one each; None means the published ones: 50, for the nose 30,
        and 5 in the first four layers.

    Raises InputError for a part that there is not, a rho beyond 0 to 1, and an epsilon that is
    negative or of another length.
    """
    layers = catalogue.part(part)
    if not 0 <= rho <= 1:
        raise InputError(f"rho is {rho}, expected 0 to 1")
    limits = _limits(part, len(layers)) if epsilon is None else np.asarray(epsilon, np.float64)
    if limits.shape not in ((), (len(layers),)) or not (limits >= 0).all():
        raise InputError(
            f"epsilon is {epsilon}, expected a number from 0, or {len(layers)} of them",
            hint="One for each style layer",
        )
    each = zip(layers, np.broadcast_to(limits, len(layers)), strict=True)
    return np.concatenate([channel_mask(m, rho=rho, epsilon=float(limit)) for m, limit in each])


def interpolated(
    target: F32,  # [S'] or [2, S]
    reference: F32,
    mask: Mask,  # [S]
    *,
    shift: bool = False,
) -> F32:
    """Return target with the reference's style in the mask's channels (Eq. 5), q being 0 or 1.

    shift: of a StyleGAN1, also what is added to a channel, beside what scales it; the published
    demonstration leaves it. Raises InputError where the generator's styles have no shift.
    """
    if shift and target.ndim == 1:
        raise InputError("this generator's styles scale and do not shift", hint="Leave shift out")
    found = target.copy()
    places = np.flatnonzero(mask)
    if target.ndim == 1 or shift:
        found[..., places] = reference[..., places]
    else:
        found[0, places] = reference[0, places]
    return found


def styles_of(engine: Engine, faces: Sequence[F32 | LocalEdit]) -> list[F32]:
    """Return the styles of codes [L, D], in one pass, and of what was edited before.

    Raises ArchMismatch for an edit of another generator.
    """
    check_graphs(engine)
    for face in faces:
        if isinstance(face, LocalEdit) and face.network != engine.bundle.spec.source.sha256:
            raise ArchMismatch(
                f"the edited face is of another generator than bundle {engine.bundle.name}",
                hint="Edit it with the bundle that drew it",
            )
    codes = [face for face in faces if not isinstance(face, LocalEdit)]
    found = iter(engine.run("styles", ws=np.stack(codes))["styles"] if codes else ())
    return [face.styles if isinstance(face, LocalEdit) else next(found) for face in faces]


def edited_styles(
    engine: Engine,
    catalogue: Catalogue,
    face: F32 | LocalEdit,  # [L, D]
    references: Mapping[str, F32 | LocalEdit],
    *,
    rho: float = RHO,
    epsilon: Epsilon | None = None,
    shift: bool = False,
) -> F32:
    """Return the styles of a face with each part from its own reference.

    Masks are binary, so that this equals one edit after another in the order of references: where
    two parts share a channel, the later one has it.

    Raises InputError as `part_mask` and for no references; ArchMismatch for a catalogue or an
    edit of another generator.
    """
    catalogue.check(engine.bundle)
    if not references:
        raise InputError("no reference was given", hint="Name a part and a face to take it from")
    masks = [part_mask(catalogue, part, rho=rho, epsilon=epsilon) for part in references]
    styles, *others = styles_of(engine, [face, *references.values()])
    for other, mask in zip(others, masks, strict=True):
        styles = interpolated(styles, other, mask, shift=shift)
    return styles


def drawn(engine: Engine, styles: F32) -> NDArray[np.uint8]:  # -> [H, W, 3]
    """Draw one face of its styles."""
    picture: NDArray[np.uint8] = engine.run("render_styles", styles=styles[None])["picture"][0]
    return picture


def _limits(part: str, layers: int) -> NDArray[np.float64]:
    limits = np.full(layers, EPSILON.get(part, OTHERWISE))
    limits[:FIRST] = FIRST_EPSILON
    return limits

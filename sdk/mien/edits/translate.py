"""StarGAN v2: a face in the style of a reference, or of a random code, of another domain.

Choi et al. 2020 (arXiv 1912.01865). The source keeps pose and expression; a style code brings hair,
skin, make-up and beard. It is found once and held (`FaceStyle`), for any number of pictures. Where
the network has a high-pass skip, FAN's heat maps say which parts of the source go round it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mien.edits.crops import size_of
from mien.edits.table import laid_out
from mien.errors import ArchMismatch, InputError
from mien.provenance import digest
from mien_engines import Bundle, Engine

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

FAMILY = "starganv2"
BATCH = 8  # pictures a call
FRAMES = 12  # of an animation, from one reference to the next
MAX_FRAMES = 1000
SEEDS = 1 << 32  # of NumPy's generator

Domain = int | str
Callback = Callable[[int, int], object]  # pictures drawn, and of how many


@dataclass(frozen=True, eq=False)
class FaceStyle:
    """A style code, to be found once and used for many pictures.

    code: float32 [S]. what: where it comes from, for the picture's metadata.
    sources: digests of the references. network: SHA-256 of the checkpoint that it is of.
    """

    code: F32
    what: str
    sources: tuple[str, ...]
    network: str

    def check(self, bundle: Bundle) -> None:
        """Raise ArchMismatch where it is of another network than the bundle's."""
        if self.network != bundle.spec.source.sha256:
            raise ArchMismatch(
                f"the style is of another network than bundle {bundle.name}",
                hint="Find it again: studio.face_style(...)",
            )


def domain_names(engine: Engine) -> tuple[str, ...]:
    """Return the names of the domains; where the bundle has none, their numbers."""
    names = engine.bundle.spec.properties.get("domain_names")
    if isinstance(names, list):
        return tuple(map(str, names))
    return tuple(map(str, range(size_of(engine, "domains"))))


def domain_number(engine: Engine, domain: Domain | None) -> int:
    """Return the number of a domain, given by it or by name. Raises InputError."""
    names = domain_names(engine)
    if str(domain) in names:
        return names.index(str(domain))
    if isinstance(domain, int) and 0 <= domain < len(names):
        return domain
    raise InputError(
        "no domain was given" if domain is None else f"there is no domain {domain!r}",
        hint=f"This network's: {', '.join(names)}",
    )


def style_of_reference(engine: Engine, reference: U8, domain: Domain | None) -> FaceStyle:
    """Return the style of a face [R, R, 3] that is of this domain. Raises InputError."""
    number = domain_number(engine, domain)
    found = engine.run("style_reference", picture=reference[None], domain=np.array([number]))
    return _style(engine, found["style"][0], _towards(engine, number), digest(reference))


def style_of_domain(
    engine: Engine, domain: Domain | None, seed: int | None, psi: float | None = None
) -> FaceStyle:
    """Return a style of nobody: mean + psi (F(z) - mean), of a domain's mean style.

    seed: of z; None means the mean itself. psi: None means 1.
    Raises InputError for a psi that is not finite, or without a seed, and a seed out of range.
    """
    number = domain_number(engine, domain)
    if psi is not None and not np.isfinite(psi):
        raise InputError(f"psi is {psi}, expected a number", hint="0 is the mean, 1 the seed's")
    if psi is not None and seed is None:
        raise InputError("psi was given without a seed", hint="Without either it is the mean")
    if seed is not None and not 0 <= seed < SEEDS:
        raise InputError(f"seed is {seed}, expected 0 to {SEEDS - 1}")
    mean = engine.bundle.constants["style_mean"][number].astype(np.float32)
    if seed is None:
        return _style(engine, mean, _towards(engine, number))
    z = np.random.RandomState(seed).randn(1, size_of(engine, "latent_dim")).astype(np.float32)
    drawn = engine.run("style_latent", z=z, domain=np.array([number]))["style"][0]
    code = drawn if psi is None else mean + np.float32(psi) * (drawn - mean)
    return _style(engine, code, _towards(engine, number))


def blend(a: FaceStyle, b: FaceStyle, share: float) -> FaceStyle:
    """Return a + share (b - a). Raises ArchMismatch for styles of two networks."""
    if a.network != b.network:
        raise ArchMismatch("the styles are of two networks", hint="Find both with one bundle")
    code = a.code + np.float32(share) * (b.code - a.code)
    sources = tuple(dict.fromkeys((*a.sources, *b.sources)))
    what = a.what if a.what == b.what else f"{a.what}, {b.what}"
    return FaceStyle(code, what, sources, a.network)


def way(styles: Sequence[FaceStyle], frames: int = FRAMES) -> list[FaceStyle]:
    """Return styles from the first through all others, `frames` from each to the next.

    The way slows down at every style, so that it can be seen: shares are 3 t^2 - 2 t^3.
    Raises InputError for fewer than two styles, and frames below 1.
    """
    if len(styles) < 2 or not 1 <= frames <= MAX_FRAMES:
        raise InputError(
            f"{len(styles)} styles and {frames} frames were given",
            hint=f"Give two styles or more, and 1 to {MAX_FRAMES} frames between them",
        )
    t = np.arange(frames) / frames
    shares = (3 * t**2 - 2 * t**3).tolist()
    return [*(blend(a, b, share) for a, b in pairwise(styles) for share in shares), styles[-1]]


def translated(engine: Engine, picture: U8, style: FaceStyle) -> U8:  # [R, R, 3] -> [R, R, 3]
    """Draw one aligned face, or one aligned frame, in a style.

    Raises ArchMismatch for a style of another network, and for a network that needs FAN's masks
    in a bundle without FAN.
    """
    check_masks(engine)
    style.check(engine.bundle)
    graph = "translate_frame" if has_skip(engine) else "translate"
    drawn: U8 = engine.run(graph, picture=picture[None], style=style.code[None])["picture_next"][0]
    return drawn


def guided(
    engine: Engine,
    picture: U8,  # [R, R, 3]
    reference: U8,  # [R, R, 3]
    domain: Domain | None,
) -> tuple[U8, str]:  # [R, R, 3]
    """Draw a face in the style of another, in one pass. The second result is as `FaceStyle.what`.

    The picture is that of `style_of_reference` and `translated`. Raises as they do.
    """
    check_masks(engine)
    number = domain_number(engine, domain)
    outputs = engine.run(
        "translate_reference",
        picture=picture[None],
        reference=reference[None],
        domain=np.array([number]),
    )
    return outputs["picture_next"][0], _towards(engine, number)


def translated_all(
    engine: Engine,
    pictures: U8,  # [N, R, R, 3]
    styles: Sequence[FaceStyle],  # M
    callback: Callback | None = None,
) -> U8:  # [M, N, R, R, 3]
    """Draw every face in every style; the masks of each face are drawn once.

    callback: called with how many are drawn, and of how many. Raises as `translated`.
    """
    check_masks(engine)
    for style in styles:
        style.check(engine.bundle)
    codes = np.stack([style.code for style in styles])
    masks = _masks(engine, pictures) if has_skip(engine) else {}
    rows, columns = np.indices((len(codes), len(pictures))).reshape(2, -1)
    drawn = []
    for i in range(0, len(rows), BATCH):
        row, column = rows[i : i + BATCH], columns[i : i + BATCH]
        kept = {name: mask[column] for name, mask in masks.items()}
        outputs = engine.run("translate", picture=pictures[column], style=codes[row], **kept)
        drawn.append(outputs["picture_next"])
        if callback is not None:
            callback(i + len(row), len(rows))
    return np.concatenate(drawn).reshape(len(codes), *pictures.shape)


def translation_sheet(
    engine: Engine,
    pictures: U8,  # [N, R, R, 3]: along the top
    references: U8,  # [M, R, R, 3]: down the left
    styles: Sequence[FaceStyle],  # M, of the references
    callback: Callback | None = None,
) -> U8:
    """Draw every face in the style of every reference, the paper's figure."""
    return laid_out(references, pictures, translated_all(engine, pictures, styles, callback))


def has_skip(engine: Engine) -> bool:
    """Whether high frequencies of the source go round the bottleneck, under masks."""
    return float(engine.bundle.spec.properties.get("w_hpf", 0.0)) > 0  # type: ignore[arg-type]


def check_masks(engine: Engine) -> None:
    """Raise ArchMismatch where the network needs masks, and the bundle has no FAN to draw them."""
    spec = engine.bundle.spec
    if "translate" not in spec.graphs:
        raise ArchMismatch(
            f"bundle {spec.name} is FAN alone: it finds landmarks and translates nothing",
            hint="Make one of nets_ema.ckpt: mien export starganv2 CHECKPOINT -o BUNDLE",
        )
    if has_skip(engine) and "translate_frame" not in spec.graphs:
        raise ArchMismatch(
            f"bundle {spec.name} has a high-pass skip and no FAN to draw its masks with",
            hint="Export it again, of the whole nets_ema.ckpt",
        )


def _masks(engine: Engine, pictures: U8) -> dict[str, F32]:
    parts = [
        engine.run("heatmaps", picture=pictures[i : i + BATCH])
        for i in range(0, len(pictures), BATCH)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _towards(engine: Engine, number: int) -> str:
    name = domain_names(engine)[number]
    return f"to domain {name}" if name.isdigit() else f"to {name}"


def _style(engine: Engine, code: F32, what: str, *sources: str) -> FaceStyle:
    return FaceStyle(code, what, sources, engine.bundle.spec.source.sha256)

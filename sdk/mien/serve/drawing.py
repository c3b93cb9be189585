"""The quick verbs: one picture for one request, on the service's studio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.bundles import built_in_styles
from mien.decode import load_bytes
from mien.edits.catalogue import Catalogue, load_catalogue
from mien.edits.crops import scaled
from mien.edits.express import express
from mien.edits.expression import Expression, load_expression, shipped
from mien.edits.latents import layer_range, mix
from mien.edits.stylize import Style
from mien.errors import ArchMismatch, InputError, MienError
from mien.faces.align import AlignedFace, cut
from mien.images import Picture
from mien.provenance import digest
from mien.serve import wire
from mien.serve.errors import Conflict, NotFound
from mien.serve.limits import Limits
from mien.serve.store import Face, Store, new_id
from mien.studio import Studio

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

STYLED = 256  # px of the crops that styles are drawn on
STYLE_SIDE = 512  # px: a style's texture is judged at this size
# The family of each verb; None is the generator's, which is always there.
VERBS: Mapping[str, str | None] = {
    "project": None,
    "swap": None,
    "edit": None,
    "stylize": "adain",
    "lookalike": "lookalike",
    "merge": "vaegan",
    "translate": "starganv2",
}


@dataclass(frozen=True)
class Found:
    """The faces of a photograph that are kept, and how many there were."""

    size: tuple[int, int]
    faces: list[Face]
    count: int


class Drawer:
    """Draws for clients. Names that they send are looked up among those that are known; none of
    them becomes a path."""

    def __init__(self, studio: Studio, store: Store, limits: Limits) -> None:
        self._studio, self._store, self._limits = studio, store, limits
        self.expressions = _fitting(studio)
        self._catalogue = _own_catalogue(studio)
        self.styles = built_in_styles()
        self._encoded: dict[str, Style] = {}

    @property
    def parts(self) -> list[str]:
        return [] if self._catalogue is None else list(self._catalogue.parts)

    def photo(self, data: bytes) -> Found:
        """Find and align the faces of a photograph, the largest ones from left to right."""
        name = "the photograph"
        pixels = load_bytes(data, name=name, max_pixels=self._limits.pixels)
        found = self._studio.align_all(pixels)
        most = self._limits.faces_per_photo
        chosen = sorted(sorted(range(len(found)), key=lambda i: -_side(found[i]))[:most])
        photo = self._store.photos.add(data)
        faces = [self._face(pixels, found[i], photo) for i in chosen]
        return Found((pixels.shape[1], pixels.shape[0]), faces, len(found))

    def sample(self, asked: wire.SampleIn) -> Face:
        """Make a face that does not exist."""
        code = self._studio.sample(asked.seed, psi=asked.psi)
        crop = self._studio.render(code).array
        face = Face(new_id(), crop, _large(crop), code=code, how=("sample",))
        self._store.faces.add(face.id, face)
        return face

    def style(self, data: bytes) -> str:
        """Read a style picture."""
        pixels = load_bytes(data, name="the style", max_pixels=self._limits.pixels)
        name = new_id()
        self._store.styles.add(name, self._studio.encode_style(_shrunk(pixels)))
        return name

    def draw(self, asked: wire.DrawIn) -> Picture:
        """Draw a face with layers of another, and with expressions."""
        face = self._store.faces[asked.face]
        code, edits, sources = _code(face), list(face.how), [digest(face.crop)]
        if asked.mix is not None:
            other = self._store.faces[asked.mix.other]
            bands = {b: getattr(asked.mix, b) for b in ("coarse", "middle", "fine")}
            code = mix(code, _code(other), layers="all", psi=1 - self._shares(bands))
            edits.append("mix " + " ".join(f"{b} {share:.2f}" for b, share in bands.items()))
            sources.append(digest(other.crop))
        for name, strength in asked.expressions.items():
            code = express(code, self._expression(name), strength)
            edits.append(f"express {name} {strength:.2f}")
        picture = self._studio.render(code).array
        return self._ended(Picture(picture, tuple(edits), tuple(sources)), face, asked)

    def edit(self, asked: wire.EditIn) -> Picture:
        """Give a face parts of others."""
        if self._catalogue is None:
            raise _no_catalogue()
        face = self._store.faces[asked.face]
        others = {part: self._store.faces[name] for part, name in asked.parts.items()}
        codes = {part: _code(other) for part, other in others.items()}
        drawn = self._studio.edit_parts(_code(face), codes, catalogue=self._catalogue)
        picture = Picture(
            drawn.picture.array,
            (*face.how, *drawn.picture.edits),
            tuple(dict.fromkeys(digest(one.crop) for one in (face, *others.values()))),
        )
        return self._ended(picture, face, asked)

    def stylize(self, asked: wire.StylizeIn) -> Picture:
        """Draw a face in a style."""
        face = self._store.faces[asked.face]
        picture = self._studio.stylize(
            face.large,
            self.style_named(asked.style),
            strength=asked.strength,
            match_colour=asked.match_colour,
            keep_colour=asked.keep_colour,
        )
        return self._ended(picture, face, asked)

    def lookalike(self, asked: wire.LookalikeIn) -> Picture:
        """Draw a look-alike under controls."""
        face = self._store.faces[asked.face]
        found = self._studio.lookalikes(face.large, control=asked.controls)
        return self._ended(found.picture(0), face, asked)

    def merge(self, asked: wire.MergeIn) -> Picture:
        """Merge two faces."""
        face = self._store.faces[asked.content]
        picture = self._studio.merge(
            face.large,
            self._store.faces[asked.pattern].large,
            strength=asked.strength,
            blocks=asked.blocks,
        )
        return self._ended(picture, face, asked)

    def translate(self, asked: wire.TranslateIn) -> Picture:
        """Draw a face in the style of another domain."""
        face = self._store.faces[asked.face]
        reference = None if asked.reference is None else self._store.faces[asked.reference].large
        picture = self._studio.translate(
            face.large, reference=reference, domain=asked.domain, seed=asked.seed
        )
        return self._ended(picture, face, asked)

    def style_named(self, name: str) -> Style:
        """Return one of mien's own styles, read once, or one that was sent. Raises NotFound."""
        if name not in self.styles:
            return self._store.styles[name]
        if name not in self._encoded:
            self._encoded[name] = self._studio.encode_style(name)
        return self._encoded[name]

    def able(self, verb: str) -> wire.Able:
        """Say whether a verb works here."""
        try:
            if (family := VERBS[verb]) is not None:
                self._studio.open_family(family)
            if verb == "swap" and "swap_step" not in self._studio.engine.bundle.spec.graphs:
                raise ArchMismatch(
                    f"bundle {self._studio.engine.bundle.name} has no recognition network",
                    hint="Make one that has: mien export stylegan2 ... --arcface ARCFACE.pth",
                )
            if verb == "edit" and self._catalogue is None:
                raise _no_catalogue()
            return wire.Able(able=True)
        except MienError as error:
            return wire.Able(able=False, why=error.message, hint=error.hint)

    @property
    def controls(self) -> int:
        """Numbers that a look-alike is drawn under."""
        return self._studio.lookalike_controls if self.able("lookalike").able else 0

    def _face(self, pixels: U8, found: AlignedFace, photo: str) -> Face:
        large = cut(pixels, found.quad, size=STYLED).image
        face = Face(new_id(), found.image, large, found, photo)
        self._store.faces.add(face.id, face)
        return face

    def _shares(self, bands: Mapping[str, float]) -> F32:  # [L]
        """How much of the other is taken in each layer."""
        shares = np.zeros(self._studio.num_ws, np.float32)
        for band, share in bands.items():
            shares[list(layer_range(band, len(shares)))] = share
        return shares

    def _expression(self, name: str) -> Expression:
        if name not in self.expressions:
            known = ", ".join(self.expressions) or "none for this generator"
            raise NotFound(f"there is no expression {name!r}", hint=f"There are: {known}")
        return self.expressions[name]

    def _ended(self, picture: Picture, face: Face, asked: wire.Drawing) -> Picture:
        """The picture as it was asked for: by itself, or in the photograph."""
        if not asked.paste:
            return picture
        if face.aligned is None:
            raise Conflict("this face is of no photograph", hint="Ask without paste")
        photo = load_bytes(self._store.photos[face.photo], max_pixels=self._limits.pixels)
        return self._studio.paste(photo, face.aligned, picture)


def _code(face: Face) -> F32:
    if face.code is None:
        raise Conflict(
            "the face is not projected yet", hint='Send a job: {"verb": "project", "face": ...}'
        )
    return face.code


def _side(face: AlignedFace) -> float:
    return float(np.hypot(*(face.quad[3] - face.quad[0])))


def _large(crop: U8) -> U8:
    return scaled(crop, STYLED, "face")


def _shrunk(pixels: U8) -> U8:
    """A style at the size that its texture is judged at, if it is larger."""
    from mien.faces.found import scaled_down

    scale = STYLE_SIDE / min(pixels.shape[:2])
    if scale >= 1:
        return pixels
    height, width = (round(side * scale) for side in pixels.shape[:2])
    return scaled_down(pixels, width, height)


def _fitting(studio: Studio) -> dict[str, Expression]:
    """mien's own expressions, where they are of this studio's generator."""
    found = {}
    for name in shipped():
        expression = load_expression(name)
        try:
            expression.check(studio.engine.bundle)
        except ArchMismatch:
            continue
        found[name] = expression
    return found


def _own_catalogue(studio: Studio) -> Catalogue | None:
    try:
        catalogue = load_catalogue("demo")
        catalogue.check(studio.engine.bundle)
    except (MienError, OSError):
        return None
    return catalogue


def _no_catalogue() -> InputError:
    return InputError(
        "there is no catalogue of this generator's channels",
        hint="Make one: mien catalogue -o FILE --bundle BUNDLE",
    )

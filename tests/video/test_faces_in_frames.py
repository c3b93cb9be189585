"""Edits of the face in every frame: only the face changes, and what has no face is said."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from mien import Studio
from mien.bundles import built_in
from mien.demo.run import own_portraits
from mien.errors import InputError, NoFace
from mien.images import load

U8 = NDArray[np.uint8]

pytestmark = pytest.mark.skipif(
    not {"demo", "faces"} <= set(built_in()), reason="the demo's bundles are not built"
)


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with Studio("demo", backend="ort", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def photo() -> U8:
    return load(own_portraits()[0].photo)


def test_an_edit_of_faces_stays_in_the_square_it_came_from(studio: Studio, photo: U8) -> None:
    seen: list[tuple[int, ...]] = []

    def inverted(face: U8) -> U8:
        seen.append(face.shape)
        return 255 - face

    edit = studio.face_edit(inverted, "invert", size=96)
    drawn = edit.draw(photo)
    corners = studio.align(photo, which="largest", size=96).to_photo @ np.array(
        [[0, 96, 0, 96], [0, 0, 96, 96], [1, 1, 1, 1]]
    )
    low, high = np.floor(corners[:2].min(1)), np.ceil(corners[:2].max(1))
    y, x = np.nonzero((drawn != photo).any(2))
    assert seen == [(96, 96, 3)]
    assert len(x) > 1000
    assert (low <= (x.min(), y.min())).all()
    assert (high >= (x.max(), y.max())).all()
    assert edit.edits == ("invert",)


def test_an_expression_of_no_strength_changes_nearly_nothing(studio: Studio, photo: U8) -> None:
    """What the generator cannot draw stays: only the expression's difference is added."""
    crop = studio.align(photo, which="largest")
    kept = studio.paste(photo, crop, crop.image).array.astype(int)
    none, much = (
        np.abs(studio.express_edit("happy", s).draw(photo).astype(int) - kept) for s in (0.0, 1.0)
    )
    assert none.max() == 0
    assert much.max() > 20
    moved = np.nonzero(much.max(2) > 8)[0]
    assert np.median(moved) > crop.to_photo[1] @ (64, 64, 1)  # a smile is in the lower half


def test_settings_name_the_network_and_the_edit(studio: Studio) -> None:
    some, other = (studio.express_edit("happy", s).settings for s in (0.5, 1.0))
    assert some["network"] == other["network"] == studio.engine.bundle.fingerprint
    assert some != other


def test_a_frame_without_a_face_is_said(studio: Studio) -> None:
    edit = studio.face_edit(lambda face: face, "none", size=64)
    with pytest.raises(NoFace):
        edit.draw(np.full((120, 160, 3), 127, np.uint8))


def test_a_domain_or_expression_that_does_not_exist_is_refused(studio: Studio) -> None:
    with pytest.raises(InputError, match="gleeful"):
        studio.express_edit("gleeful")

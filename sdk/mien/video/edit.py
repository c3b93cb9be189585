"""What happens to each frame, and what happens where that fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, MienError, RunError
from mien.video.frame import U8, Frame
from mien.video.smooth import Smoother

Draw = Callable[[U8], U8]  # RGB [H, W, 3] -> the same frame, edited
OnFailure = Literal["stop", "hold", "pass"]


@dataclass(frozen=True)
class FrameEdit:
    """An edit of one frame, made ready: a style encoded, a reference looked up.

    draw: picture -> picture, uint8 RGB [H, W, 3], each frame for itself.
    edits, sources: as in `mien.Picture`; they go into the file.
    settings: what the result depends on; a broken run is gone on with only where they are equal.
    """

    draw: Draw
    edits: tuple[str, ...]
    sources: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


def as_edit(edit: FrameEdit | Draw) -> FrameEdit:
    """Return a plain function as an edit, known by its name."""
    if isinstance(edit, FrameEdit):
        return edit
    name = str(getattr(edit, "__name__", type(edit).__name__))
    return FrameEdit(edit, (name,), settings={"function": name})


@dataclass(frozen=True)
class Failure:
    """A frame that could not be edited. error: the class's name."""

    index: int
    seconds: float
    error: str
    message: str


class Artist:
    """Edits frames in their order, smooths them over time, and follows a rule where one fails.

    on_failure: "stop" raises; "hold" shows the picture before again; "pass" shows the frame as it
        is. smoothing: 0 none, up to 1; see `Smoother`.

    All pictures get the size of the first.
    """

    def __init__(
        self, edit: FrameEdit, *, smoothing: float = 0.0, on_failure: OnFailure = "stop"
    ) -> None:
        if on_failure not in get_args(OnFailure):
            raise InputError(
                f"on_failure is {on_failure!r}, expected {', '.join(get_args(OnFailure))}"
            )
        self._edit, self._on_failure = edit, on_failure
        self._smoother = Smoother(smoothing)
        self._held: U8 | None = None

    def draw(self, frame: Frame) -> tuple[U8, Failure | None]:
        """Return the edited frame, and why it is not one where that failed.

        Raises what the edit raises where the rule is "stop", with the frame's number and time.
        """
        failure = None
        try:
            picture = self._smoother(frame.picture, self._sized(self._edit.draw(frame.picture)))
        except (InputError, RunError) as error:
            if self._on_failure == "stop":
                raise located(error, frame) from error
            failure = Failure(frame.index, frame.seconds, error.code, error.message)
            if self._on_failure == "hold" and self._held is not None:
                picture = self._held
            else:
                picture = self._sized(frame.picture)
        if np.may_share_memory(picture, frame.picture):
            picture = picture.copy()  # the frame's memory may be used for the next one
        self._held = picture
        return picture, failure

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies of all that the next picture depends on, besides its frame."""
        held = {} if self._held is None else {"held": self._held.copy()}
        return held | self._smoother.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from where `state` was taken."""
        self._held = state.get("held")
        self._smoother.restore(state)

    def _sized(self, picture: U8) -> U8:
        if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 3:
            found = getattr(picture, "dtype", type(picture).__name__)
            raise InputError(
                f"the edit returned {found} {getattr(picture, 'shape', '')}, expected uint8 RGB",
                hint="Return [height, width, 3]",
            )
        if self._held is None or picture.shape == self._held.shape:
            return picture
        height, width = self._held.shape[:2]
        return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))


def located(error: MienError, frame: Frame) -> MienError:
    """The same error, which says at which frame it happened."""
    return type(error)(
        f"frame {frame.index} at {frame.seconds:.2f} s: {error.message}",
        hint=error.hint or 'Go on beyond such frames with on_failure="hold" or "pass"',
    )

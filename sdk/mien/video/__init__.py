"""Video: files and GIFs in and out, times kept exactly, sound copied bit for bit.

`read` and `gif` open, `write` and `sound` make the file, `convert` goes from one to the other and
can be broken off anywhere; `edit` is what happens to a frame, `smooth` takes its flicker away.
"""

from mien.video.convert import Converted, Progress, convert
from mien.video.edit import FrameEdit
from mien.video.embed import edited
from mien.video.frame import Facts, Frame
from mien.video.read import Source, open_video

__all__ = [
    "Converted",
    "Facts",
    "Frame",
    "FrameEdit",
    "Progress",
    "Source",
    "convert",
    "edited",
    "open_video",
]

"""Live pictures: a camera, a file at its own speed or a test picture, edited and shown.

When the edit is slower than the source, frames are dropped; nothing ever queues up.
"""

from mien.realtime.pipeline import run
from mien.realtime.report import Report
from mien.realtime.sources import Camera, Player, Synthetic, open_source
from mien.realtime.viewers import Discard, Mjpeg, VirtualCamera, Window, open_viewer

__all__ = [
    "Camera",
    "Discard",
    "Mjpeg",
    "Player",
    "Report",
    "Synthetic",
    "VirtualCamera",
    "Window",
    "open_source",
    "open_viewer",
    "run",
]

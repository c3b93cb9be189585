"""What a client may ask for, and how much of it the service holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of the service. Beyond each stands a typed error, and nothing grows without one.

    body_bytes: of a picture that is sent. json_bytes: of a request in JSON. pixels: of a picture.
    read_s: a request's head has to arrive within it, and so has a body, plus the time that its
        bytes take at `bytes_per_s`. connections: open at once.
    line: quick requests, such as a slider's, that wait or run. quick_threads: that run at once.
    wait_s: a quick request has to begin within it.
    queue: jobs that wait. job_s: of one job; what it found by then is its result.
    abandoned_s: a job that was sent with keep=false ends when nobody has watched it for so long.
    faces, styles: kept in memory, the latest ones; photo_bytes: of the files they came from.
    faces_per_photo: the largest ones.
    jobs: ended ones that are kept. keep_s: for how long.
    live: live sessions. frame_bytes, frame_pixels: of a frame of theirs.
    """

    body_bytes: int = 16 << 20
    json_bytes: int = 64 << 10
    pixels: int = 24_000_000
    read_s: float = 10.0
    bytes_per_s: int = 50_000
    connections: int = 256
    line: int = 16
    quick_threads: int = 2
    wait_s: float = 10.0
    queue: int = 8
    job_s: float = 600.0
    abandoned_s: float = 5.0
    faces: int = 256
    styles: int = 32
    photo_bytes: int = 256 << 20
    faces_per_photo: int = 16
    jobs: int = 64
    keep_s: float = 24 * 3600.0
    live: int = 2
    frame_bytes: int = 512 << 10
    frame_pixels: int = 1_000_000

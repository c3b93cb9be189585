"""Ask a Triton server for look-alikes of a face, and for a film in a style.

mien export-triton LOOKALIKE -o models; mien export-triton ADAIN -o models
tritonserver --model-repository=models
python examples/triton/client.py

Needs tritonclient[grpc] and a running server. It is not among the examples that the tests run: no
server was at hand, and it has not been run against one. Its requests' names, types and shapes are
held against the written configurations (tests/triton).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tritonclient.grpc as triton

TYPES = {"uint8": "UINT8", "float32": "FP32"}


def inputs(**arrays: Any) -> list[triton.InferInput]:
    """Arrays as a request has them."""
    made = []
    for name, array in arrays.items():
        one = triton.InferInput(name, list(array.shape), TYPES[str(array.dtype)])
        one.set_data_from_numpy(array)
        made.append(one)
    return made


def lookalikes(client: Any, face: Any, count: int, seed: int = 0) -> list[Any]:
    """Draw look-alikes of an aligned face, uint8 RGB [128, 128, 3].

    One request each, all under way at once: the server puts them into batches.
    """
    controls = np.random.default_rng(seed).uniform(-1, 1, (count, 10)).astype(np.float32)
    waiting = [
        client.async_infer("lookalike_lookalikes", inputs(picture=face[None], control=row[None]))
        for row in controls
    ]
    return [request.get_result().as_numpy("drawn")[0] for request in waiting]


def film(client: Any, frames: Iterable[Any], style: Any, sequence: int) -> Iterable[Any]:
    """Draw frames, uint8 RGB [H, W, 3] with sides that 4 divides, in the style of a picture.

    The style goes with the first frame; the server holds it until the sequence ends.
    """
    alpha, first = np.ones(1, np.float32), True
    frame, *rest = list(frames)
    for upcoming in [*rest, None]:
        given = {"style": style[None]} if first else {}
        answer = client.infer(
            "adain_film", inputs(picture=frame[None], alpha=alpha, **given),
            sequence_id=sequence, sequence_start=first, sequence_end=upcoming is None,
        )  # fmt: skip
        yield answer.as_numpy("drawn")[0]
        frame, first = upcoming, False


if __name__ == "__main__":
    server = triton.InferenceServerClient("127.0.0.1:8001")
    noise = np.random.default_rng(1).integers(0, 256, (3, 128, 128, 3), np.uint8)
    print(len(lookalikes(server, noise[0], 16)), "look-alikes")
    print(sum(1 for _ in film(server, noise[1:], noise[0], sequence=1)), "frames")

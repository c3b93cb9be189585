"""Find happy, sad and fear in the latent space of the demo's generator; write the shipped files.

    python -m zoo.expressions --data DATA [--keep RESPONSES.npz] [--look SHEET.png]

No photograph of an expression is used. Each layer's code is moved along the principal axes of the
training faces' codes, on faces of its own drawing, and 68 landmarks say what that does to a face:
the response of mouth, brows and eyes, and of pose and shape, which must stay. An expression is
the step in w+ that changes the drawn picture least, outside the mouth and the eyes above all, among
those that move the landmarks as asked: least squares with equality constraints, in closed form.
Responses take ten minutes on one core; kept in a file, they serve when targets are tuned.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from rich.progress import track

from mien.edits.draw import draw
from mien.edits.expression import SHIPPED, Expression
from mien.edits.latents import layer_mask
from mien.images import save
from mien.provenance import digest
from mien.studio import Studio
from zoo.faces import ARCHIVES, load_faces

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

LAYERS = range(1, 9)  # 8 to 64 px: layer 0 turns heads, the last ones only colour
AXES = 40  # principal axes of w in each layer; they hold 97 % of its variance
STEP = 1.0  # standard deviations, to either side
SEEDS = range(101, 107)  # drawn faces that responses are taken on, with as many training faces
CROP = (14, 24, 100)  # left, top and side in px of the face in an aligned crop of 128 px
SMALL = 32  # px at which changes of the picture are weighed

# Weights of the squared change of a pixel, at SMALL: the face may change, eyes and brows more, the
# mouth most. A change of colour counts as three times that of light.
FACE, EYES, MOUTH = np.s_[12:29, 9:23], np.s_[13:18, 9:23], np.s_[22:28, 10:22]
CHEAP = ((FACE, 0.4), (MOUTH, 0.4 / 3), (EYES, 0.2))
PICTURE = 10.0  # weight of the picture's change against the step's length
CENTRE = np.s_[8:28, 6:26]  # where left and right ought to change alike
LIGHT_AND_COLOUR = np.array(
    [[0.299, 0.587, 0.114], [1.5, -1.257, -0.243], [-0.507, -0.993, 1.5]], np.float32
)

KEPT = (
    "yaw", "pitch", "roll", "nose", "jaw", "chin", "eye_distance", "x", "y",
    "mouth_tilt", "mouth_x", "lip_tilt", "eye_tilt", "brow_tilt",
)  # fmt: skip
# What each expression asks for, in standard deviations over the training faces.
TARGETS = {
    "happy": {"corners": 1.2, "width": 1.7, "open": 1.2, "teeth": 2.4, "brow": 0, "inner": 0},
    "sad": {
        "corners": -1.8, "open": -0.3, "teeth": -0.3, "eyes": -0.2, "brow": 0.2, "inner": 0.6,
    },
    "fear": {
        "corners": -1.7, "width": -0.4, "open": 0.6, "teeth": 0, "eyes": 1.6, "brow": 0.9,
        "inner": 0.3,
    },
}  # fmt: skip


def measures(
    marks: F32,  # [N, 68, 2], px
    pictures: U8,  # [N, 128, 128, 3]
) -> dict[str, F64]:
    """Return what an expression changes, and what it must not, each [N].

    Points are turned upright, and lengths are divided by the distance of the eyes.
    """
    left, right = marks[:, 36:42].mean(1), marks[:, 42:48].mean(1)
    across = right - left
    distance = np.linalg.norm(across, axis=1)
    along = across / distance[:, None]
    centre = (left + right) / 2
    relative = (marks - centre[:, None]) / distance[:, None, None]
    down = np.stack([-along[:, 1], along[:, 0]], 1)
    x, y = (relative * along[:, None]).sum(-1), (relative * down[:, None]).sum(-1)
    eye_left = y[:, 40] + y[:, 41] - y[:, 37] - y[:, 38]
    eye_right = y[:, 46] + y[:, 47] - y[:, 43] - y[:, 44]
    mouth, cheeks = pictures[:, 92:100, 56:72], pictures[:, 72:84, 44:84]
    found = {
        "corners": (y[:, 51] + y[:, 57] - y[:, 48] - y[:, 54])
        / 2,  # of the mouth, above its middle
        "width": x[:, 54] - x[:, 48],
        "open": y[:, 66] - y[:, 62],
        "teeth": (mouth.mean((1, 2)) - cheeks.mean((1, 2))) @ LIGHT_AND_COLOUR[0],
        "eyes": (eye_left + eye_right) / 4,
        "brow": -y[:, 17:27].mean(1),
        "inner": y[:, [17, 18, 25, 26]].mean(1) - y[:, 20:24].mean(1),  # ends of the brows, raised
        "yaw": x[:, 30],
        "pitch": y[:, 30] - y[:, 27],
        "roll": along[:, 1],
        "nose": y[:, 33],
        "jaw": x[:, 13] - x[:, 3],
        "chin": y[:, 8],
        "eye_distance": distance,
        "x": centre[:, 0],
        "y": centre[:, 1],
        "mouth_tilt": y[:, 54] - y[:, 48],
        "mouth_x": (x[:, 48] + x[:, 54]) / 2,
        "lip_tilt": x[:, 51] + x[:, 57] - x[:, 48] - x[:, 54],
        "eye_tilt": eye_left - eye_right,
        "brow_tilt": y[:, 17:22].mean(1) - y[:, 22:27].mean(1),
    }
    return {name: value.astype(np.float64) for name, value in found.items()}


def landmark_reader(path: Path) -> Callable[[U8], F32]:
    """Return a function from crops [N, 128, 128, 3] to landmarks [N, 68, 2] in px, by PFLD."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    left, top, side = CROP

    def read(pictures: U8) -> F32:
        faces = pictures[:, top : top + side, left : left + side]
        scaled = [cv2.resize(face, (112, 112), interpolation=cv2.INTER_CUBIC) for face in faces]
        image = np.stack(scaled).transpose(0, 3, 1, 2).astype(np.float32) / 255
        marks = session.run(None, {session.get_inputs()[0].name: image})[0].reshape(-1, 68, 2)
        return (marks * side + (left, top)).astype(np.float32)

    return read


def principal_axes(codes: F32) -> F32:
    """Return axes [AXES, D], each a deviation long, of the means of codes [N, L, D]."""
    values, vectors = np.linalg.eigh(np.cov(codes.mean(1).T))
    largest = np.argsort(values)[::-1][:AXES]
    return (vectors[:, largest] * np.sqrt(values[largest])).T.astype(np.float32)


def moved_codes(base: F32, axes: F32) -> F32:
    """Return base [L, D] moved to either side along each axis in each layer, [2 P, L, D]."""
    moved = np.repeat(base[None], 2 * len(LAYERS) * len(axes), 0)
    i = 0
    for layer in LAYERS:
        for axis in axes:
            moved[i, layer] += STEP * axis
            moved[i + 1, layer] -= STEP * axis
            i += 2
    return moved


def halved(values: NDArray[np.floating]) -> F64:
    """Return (f(+) - f(-)) / 2 of alternating values [2 P, ...]."""
    return (values[::2].astype(np.float64) - values[1::2]) / (2 * STEP)


def picture_costs(pictures: U8) -> F64:
    """Return how much a step changes the picture, [P, P]: weighed, and its difference from its
    mirror image in the middle of the face, so that both halves of a face stay alike."""
    small = [cv2.resize(p, (SMALL, SMALL), interpolation=cv2.INTER_AREA) for p in pictures]
    change = halved(np.stack(small).astype(np.float32) / 255 @ LIGHT_AND_COLOUR.T)
    weights = np.ones((SMALL, SMALL, 1))
    for place, weight in CHEAP:
        weights[place] = weight
    uneven = (change - change[:, :, ::-1])[:, *CENTRE]
    parts = [(change * np.sqrt(weights)), uneven]
    return np.sum(
        [part.reshape(len(part), -1) @ part.reshape(len(part), -1).T for part in parts], 0
    )


def solve(
    costs: F64,  # [P, P]
    responses: Mapping[str, NDArray[Any]],  # of [P]
    targets: Mapping[str, float],
) -> F64:
    """Return the cheapest step [P] whose responses are the targets, 0 for what is KEPT.

    The cost of a step is PICTURE times its change of the picture, plus its squared length in
    deviations of w, plus that of the layers' differences from their mean: layers that agree stay
    near one face.
    """
    layers, count = len(LAYERS), len(costs)
    apart = np.kron(np.eye(layers) - 1 / layers, np.eye(count // layers))
    metric = PICTURE * costs / (np.trace(costs) / count) + np.eye(count) + apart
    wanted = dict.fromkeys(KEPT, 0.0) | dict(targets)
    rows = np.stack([responses[name] for name in wanted])  # [K, P]
    reach = np.linalg.solve(metric, rows.T)  # [P, K]
    between = rows @ reach
    softened = between + 0.01 * np.trace(between) / len(between) * np.eye(len(between))
    step: F64 = reach @ np.linalg.solve(softened, np.array(list(wanted.values())))
    return step


def responses(data: Path, studio: Studio) -> dict[str, NDArray[np.floating]]:
    """Return what steps along `axes` [A, D] do: `costs` [P, P], and by name each measure, [P]."""
    faces = load_faces(data, studio.resolution)
    read = landmark_reader(data / "weights" / "face_det" / "pfld_68.onnx")
    batches = [faces[i : i + 16] for i in range(0, len(faces), 16)]
    codes = np.concatenate(
        [studio.engine.run("invert", picture=b)["ws"] for b in track(batches, "training faces")]
    )
    marks = np.concatenate([read(batch) for batch in batches])
    deviations = {name: value.std() for name, value in measures(marks, faces).items()}
    axes = principal_axes(codes)
    chosen = np.random.RandomState(3).permutation(len(codes))[: len(SEEDS)]
    bases = [*(studio.sample(seed, psi=0.8) for seed in SEEDS), *codes[chosen]]
    costs, found = [], []
    for base in track(bases, "responses"):
        pictures = draw(studio.engine, moved_codes(base, axes))
        costs.append(picture_costs(pictures))
        found.append(measures(read(pictures), pictures))
    # The median over faces: landmarks jump where a step breaks one of them.
    typical = {n: np.median([halved(f[n]) / d for f in found], 0) for n, d in deviations.items()}
    return {"axes": axes, "costs": np.mean(costs, 0), **typical}


def direction(studio: Studio, known: Mapping[str, NDArray[Any]], name: str) -> F32:
    """Return the direction [L, D] of an expression."""
    step = solve(known["costs"], known, TARGETS[name]).reshape(len(LAYERS), -1)
    found = np.zeros((studio.num_ws, studio.w_dim), np.float32)
    found[LAYERS] = step @ known["axes"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with images and weights")
    parser.add_argument("--keep", type=Path, help="keep the responses here (.npz), or take them")
    parser.add_argument("--look", type=Path, help="a sheet to look at: faces, and strengths")
    options = parser.parse_args()
    SHIPPED.mkdir(parents=True, exist_ok=True)
    files = [options.data / "images" / f"{name}.tar" for name in ARCHIVES]
    with Studio("demo", backend="ort") as studio:
        if options.keep is not None and options.keep.exists():
            known = dict(np.load(options.keep))
        else:
            known = responses(options.data, studio)
        if options.keep is not None:
            np.savez(options.keep, allow_pickle=False, **known)
        bundle = studio.engine.bundle
        for name in TARGETS:
            Expression(
                name=name,
                direction=direction(studio, known, name),
                mask=layer_mask(LAYERS, studio.num_ws),
                generator=bundle.name,
                generator_sha256=bundle.spec.source.sha256,
                sources=tuple(map(digest, files)),
                licence="Apache-2.0",
                note="Found in the generator's latent space by export/zoo/expressions.py; the "
                "sources are the training faces, whose landmarks gave the units",
            ).save(SHIPPED / f"{name}.safetensors")
        if options.look is not None:
            look(studio, options.look)


def look(studio: Studio, path: Path) -> None:
    """Draw six faces, a row each: neutral, then every expression at 0.5, 1 and 1.5."""
    rows = []
    for seed in (1, 4, 8, 11, 21, 33):
        code = studio.sample(seed)
        drawn = [studio.animate(code, name, (0.5, 1.0, 1.5)).frames for name in TARGETS]
        rows.append(np.concatenate([studio.render(code).array, *np.concatenate(drawn)], 1))
    save(np.concatenate(rows), path, edits=["express"])


if __name__ == "__main__":
    main()

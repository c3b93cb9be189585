"""Keras' HDF5 weights: networks made and run by Keras itself, exported, run by the engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="Keras is not installed")

import mien_engines  # noqa: E402
from mien_engines.errors import MienError, UnsafeFile  # noqa: E402
from mien_export.export import export  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # Keras'

WIDTHS, SIZE, IDENTITY, CONTROL = (6, 8), 16, 5, 3


def adain(x: Any, style: Any) -> Any:
    ops = keras.ops
    mean, var = ops.mean(x, (1, 2), keepdims=True), ops.var(x, (1, 2), keepdims=True)
    gamma, beta = ops.split(style[:, None, None], 2, -1)
    return (x - mean) / ops.sqrt(var + 1e-5) * (1 + gamma) + beta


def numbers(variable: Any) -> np.ndarray:
    values: np.ndarray = variable.value.detach().numpy()
    return values


@pytest.fixture(scope="module")
def network() -> tuple[Any, Any]:
    """A look-alike network of Keras layers: the encoder, and the decoder."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    x = picture = keras.Input((SIZE, SIZE, 3))
    for i, width in enumerate(WIDTHS):
        name = f"encoder_tower_{{}}_{i}"
        x = layers.Conv2D(width, 4, 2, "same", use_bias=False, name=name.format("convs"))(x)
        x = layers.BatchNormalization(name=name.format("norms"))(x)
        x = layers.LeakyReLU(0.2)(x)
    identity = layers.Dense(IDENTITY, name="encoder_identity")(layers.Flatten()(x))
    encoder = keras.Model(picture, identity)
    who, how = keras.Input((IDENTITY,)), keras.Input((CONTROL,))
    side, widths = SIZE >> len(WIDTHS), WIDTHS[::-1]
    x = layers.Dense(side * side * widths[0], name="decoder_first")(who)
    x = layers.Reshape((side, side, widths[0]))(x)
    for i, width in enumerate((*widths[1:], widths[-1])):
        x = layers.UpSampling2D(2)(x)
        x = layers.Conv2D(width, 3, 1, "same", name=f"decoder_convs_{i}")(x)
        style = layers.Dense(2 * width, name=f"decoder_controls_{i}")(how)
        x = layers.LeakyReLU(0.2)(layers.Lambda(lambda pair: adain(*pair))([x, style]))
    x = layers.Conv2D(3, 3, 1, "same", activation="tanh", name="decoder_last")(x)
    decoder = keras.Model([who, how], x)
    rng = np.random.default_rng(1)
    for model in (encoder, decoder):  # biases, means and variances that matter
        for variable in model.variables:
            value = numbers(variable) + 0.2 * rng.standard_normal(variable.shape)
            variable.assign(np.abs(value) if "variance" in variable.name else value)
    return encoder, decoder


def save(models: tuple[Any, ...], path: Path) -> Path:
    """Write the layers' variables as Keras 2 does: layer / layer / variable:0."""
    with h5py.File(path, "w") as file:
        for layer in (layer for model in models for layer in model.layers):
            for variable in layer.variables:
                name = f"model_weights/{layer.name}/{layer.name}/{variable.name}:0"
                file.create_dataset(name, data=numbers(variable))
    return path


def test_the_engine_computes_what_keras_computes(
    network: tuple[Any, Any], tmp_path: Path, rng: np.random.Generator
) -> None:
    encoder, decoder = network
    export("lookalike", save(network, tmp_path / "keras.h5"), tmp_path / "bundle")
    picture = rng.integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    control = rng.uniform(-1, 1, (3, CONTROL)).astype(np.float32)
    expected = encoder.predict(picture / np.float32(127.5) - 1, verbose=0)
    image = decoder.predict([expected, control], verbose=0)
    with mien_engines.open(tmp_path / "bundle", "ort") as engine:
        identity = engine.run("encode", picture=picture)["identity"]
        drawn = engine.run("generate", identity=identity, control=control)["picture"]
    np.testing.assert_allclose(identity, expected, atol=2e-5)
    np.testing.assert_allclose(drawn, image * 127.5 + 127.5, rtol=0, atol=0.55)


def test_links_and_data_elsewhere_are_refused(network: tuple[Any, Any], tmp_path: Path) -> None:
    outside = save(network, tmp_path / "outside.h5")
    linked = save(network, tmp_path / "linked.h5")
    with h5py.File(linked, "a") as file:
        file["stolen"] = h5py.ExternalLink(str(outside), "/model_weights")
    packed = tmp_path / "packed.h5"
    with h5py.File(packed, "w") as file:
        file.create_dataset("a/kernel", data=np.zeros((4096, 4096), "f4"), compression="gzip")
    elsewhere = tmp_path / "elsewhere.h5"
    with h5py.File(elsewhere, "w") as file:
        file.create_dataset("a/kernel", (4,), "f4", external=[(str(outside), 0, 16)])
    for path in (linked, packed, elsewhere):
        with pytest.raises(UnsafeFile):
            export("lookalike", path, tmp_path / "bundle")


def test_damaged_files_leave_typed_errors_only(
    network: tuple[Any, Any], tmp_path: Path, rng: np.random.Generator
) -> None:
    whole = save(network, tmp_path / "keras.h5").read_bytes()
    for length in range(0, len(whole), len(whole) // 20):
        (tmp_path / "cut.h5").write_bytes(whole[:length])
        with pytest.raises(MienError):
            export("lookalike", tmp_path / "cut.h5", tmp_path / "bundle")

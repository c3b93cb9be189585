"""Systems 0 and 4: the graphs of the VAE-GAN and of look-alikes against their formulas in NumPy."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tests.export.own import LOOK, WIDTHS
from tests.export.rtx import BOTH
from torch import Tensor

import mien_engines
from mien_engines import Bundle
from mien_engines.errors import ArchMismatch, InputError
from mien_export.content import Extras
from mien_export.export import export
from mien_export.nets.encoder import encoder_from_tensors


def tower(state: Mapping[str, Tensor], image: Tensor) -> Tensor:
    """The encoder's maps by the formulas of its layers, in float64."""
    x = image
    for i in range(len(WIDTHS)):
        norm = {k: state[f"encoder.tower.norms.{i}.{k}"].double() for k in NORM}
        x = F.conv2d(x, state[f"encoder.tower.convs.{i}.weight"].double(), None, 2, 1)
        scale = norm["weight"] / (norm["running_var"] + 1e-5).sqrt()
        x = (x - norm["running_mean"][:, None, None]) * scale[:, None, None]
        x = x + norm["bias"][:, None, None]
        x = torch.where(x > 0, x, 0.2 * x)
    return x.flatten(1)


NORM = ("weight", "bias", "running_mean", "running_var")


def linear(state: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].double().T + state[f"{name}.bias"].double()


def drawn(state: Mapping[str, Tensor], net: str, styles: str, codes: list[Tensor]) -> Tensor:
    """A decoder's image: codes[0] makes the first map, each further one styles a block."""
    x = linear(state, f"{net}.first", codes[0]).reshape(len(codes[0]), -1, 4, 4)
    for i, code in enumerate(codes[1:]):
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        weight, bias = (state[f"{net}.convs.{i}.{k}"].double() for k in ("weight", "bias"))
        x = F.conv2d(x, weight, bias, padding=1)
        gamma, beta = linear(state, f"{net}.{styles}.{i}", code).chunk(2, 1)
        mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
        x = (x - mean) / (var + 1e-5).sqrt() * (1 + gamma[..., None, None]) + beta[..., None, None]
        x = torch.where(x > 0, x, 0.2 * x)
    last = {k: state[f"{net}.last.{k}"].double() for k in ("weight", "bias")}
    return torch.tanh(F.conv2d(x, last["weight"], last["bias"], padding=1))


def image_of(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture).double().permute(0, 3, 1, 2) / 127.5 - 1


def levels(image: Tensor) -> np.ndarray:
    return (image.permute(0, 2, 3, 1) * 127.5 + 127.5).numpy()


def pictures(rng: np.random.Generator, batch: int) -> np.ndarray:
    return rng.integers(0, 256, (batch, 32, 32, 3), np.uint8)


def normal(h: Tensor) -> Tensor:
    return (h - h.mean(1, keepdim=True)) / (h.var(1, correction=0, keepdim=True) + 1e-5).sqrt()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("backend", ["ort", "ov"])
def test_merge_is_its_formula(
    own_bundles: dict[str, Bundle],
    own_states: dict[str, dict[str, Tensor]],
    rng: np.random.Generator,
    backend: str,
    batch: int,
) -> None:
    state, a, b = own_states["vaegan"], pictures(rng, batch), pictures(rng, batch)
    weight = np.array([1, 0, 0.5, -0.25], np.float32)
    content, pattern = (linear(state, "encoder.mu", tower(state, image_of(x))) for x in (a, b))
    learned = content
    for i in range(2):
        gamma, beta = linear(state, f"merge.styles.{i}", pattern).chunk(2, 1)
        h = (1 + gamma) * normal(learned) + beta
        learned = learned + linear(state, f"merge.mixes.{i}", torch.where(h > 0, h, 0.2 * h))
    spread = (pattern.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    plain = spread * normal(content) + pattern.mean(1, keepdim=True)
    with mien_engines.open(own_bundles["vaegan"], backend) as engine:
        for graph, merged in (("merge", learned), ("merge_plain", plain)):
            found = engine.run(graph, content=a, pattern=b, weight=weight)
            codes = [content + float(w) * (merged - content) for w in weight]
            expected = drawn(state, "generator", "styles", codes)
            np.testing.assert_allclose(found["codes"], torch.stack(codes, 1).numpy(), atol=1e-4)
            # 0.5 of a level is rounding, the rest what float32 may add to it
            np.testing.assert_allclose(found["picture"], levels(expected), rtol=0, atol=0.55)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("backend", ["ort", "ov"])
def test_lookalikes_are_their_formula(
    own_bundles: dict[str, Bundle],
    own_states: dict[str, dict[str, Tensor]],
    rng: np.random.Generator,
    backend: str,
    batch: int,
) -> None:
    state, picture = own_states["lookalike"], pictures(rng, batch)
    control = rng.uniform(-1, 1, (batch, LOOK.control)).astype(np.float32)
    expected = linear(state, "encoder.identity", tower(state, image_of(picture)))
    with mien_engines.open(own_bundles["lookalike"], backend) as engine:
        identity = engine.run("encode", picture=picture)["identity"]
        np.testing.assert_allclose(identity, expected.numpy(), atol=1e-4)
        found = engine.run("generate", identity=identity, control=control)["picture"]
    codes = [expected, *[torch.from_numpy(control).double()] * len(WIDTHS)]
    image = drawn(state, "decoder", "controls", codes)
    np.testing.assert_allclose(found, levels(image), rtol=0, atol=0.55)


def test_sizes_come_from_the_file(own_bundles: dict[str, Bundle]) -> None:
    assert own_bundles["vaegan"].spec.properties == {"resolution": 32, "latent": 12, "blocks": 4}
    found = own_bundles["lookalike"].spec.properties
    assert found == {"resolution": 32, "identity": 7, "control": 3}


@BOTH
@pytest.mark.parametrize(
    ("family", "graph"),
    [
        *(("vaegan", g) for g in ("encode", "generate")),
        *(("vaegan", f"merge{g}") for g in ("", "_plain", "_codes", "_plain_codes")),
        *(("lookalike", g) for g in ("encode", "generate")),
    ],
)
def test_tensorrt_builds(
    own_bundles: dict[str, Bundle], family: str, graph: str, assert_it_builds: Callable[..., None]
) -> None:
    assert_it_builds(own_bundles[family].graph_path(graph))


@pytest.mark.parametrize("family", ["vaegan", "lookalike"])
def test_another_network_is_refused_by_name(
    own_states: dict[str, dict[str, Tensor]], tmp_path: Path, family: str
) -> None:
    other = {"vaegan": "lookalike", "lookalike": "vaegan"}[family]
    torch.save(own_states[other], tmp_path / "other.pt")
    with pytest.raises(ArchMismatch, match=r"other\.pt: .* has no .*, which a"):
        export(family, tmp_path / "other.pt", tmp_path / "bundle")
    damaged = {k: v for k, v in own_states[family].items() if "last" not in k}
    torch.save(damaged, tmp_path / "damaged.pt")
    with pytest.raises(ArchMismatch, match="lacks 2 of"):
        export(family, tmp_path / "damaged.pt", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("family", ["vaegan", "lookalike"])
def test_files_may_count_the_batches_of_training(
    own_states: dict[str, dict[str, Tensor]], tmp_path: Path, family: str
) -> None:
    state = own_states[family]
    norms = [name.removesuffix("running_var") for name in state if "running_var" in name]
    counts = {f"{norm}num_batches_tracked": torch.tensor(7) for norm in norms}
    assert counts
    save_file(state | counts, tmp_path / "x.safetensors")
    content = importlib.import_module(f"mien_export.families.{family}").content
    assert content(tmp_path / "x.safetensors", Extras()).format == "safetensors"


def test_another_encoder_is_refused_by_name() -> None:
    with pytest.raises(ArchMismatch, match=r"no stages\.0\..* which an encoder"):
        encoder_from_tensors({"a": np.zeros(3, np.float32)})


def test_a_family_that_does_not_exist_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        export("vaegen", tmp_path / "x.pt", tmp_path / "bundle")
    assert "Did you mean vaegan?" in str(error.value.hint)


def test_an_extra_without_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no use for --vgg"):
        export("vaegan", tmp_path / "x.pt", tmp_path / "bundle", Extras(vgg=tmp_path / "vgg.pth"))

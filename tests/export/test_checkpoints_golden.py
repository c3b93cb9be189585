"""Both foreign formats, through the importer and our generator, against the official outputs."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.golden import load_golden, seeded
from tests.golden.foreign import golden_tensors, rosinality_checkpoint, write_nvlabs_pkl

from mien_engines.errors import ArchMismatch
from mien_export.checkpoints import Stylegan2Checkpoint, read_stylegan2
from mien_export.families.stylegan2 import generator_from_checkpoint
from mien_export.nets.stylegan2 import Generator

F32 = NDArray[np.float32]

OF_RANGE = 1e-4  # float32 on another machine agrees to this share of the output's range
NAMES = ("rosinality-64", "nvlabs-ada-64")


def outputs(name: str, generator: Generator) -> dict[str, torch.Tensor]:
    """Everything that the golden files list, from our networks."""
    mapping, synthesis = generator.mapping, generator.synthesis
    w = mapping(torch.from_numpy(seeded.draw(f"{name}/z", (2, 512))))
    drawn = torch.from_numpy(seeded.draw(f"{name}/ws", (1, 10, 512)))
    whole = mapping.truncated(w, torch.ones(10))
    truncated = synthesis(mapping.truncated(w, torch.full((10,), 0.7)))
    shared = {"image_truncated": truncated, "image_from_ws": synthesis(drawn)}
    if name == "rosinality-64":
        return {"w": w, "image_from_w": synthesis(whole), **shared}
    images = {"image_const": synthesis(whole), "image_none": synthesis(whole, 0.0)}
    return {"w": w, **images, **shared}


@pytest.fixture(scope="module")
def found(rosinality_pt: Path, nvlabs_pkl: Path) -> dict[str, dict[str, torch.Tensor]]:
    paths = dict(zip(NAMES, (rosinality_pt, nvlabs_pkl), strict=True))
    with torch.no_grad():
        return {
            name: outputs(name, generator_from_checkpoint(read_stylegan2(path)))
            for name, path in paths.items()
        }


@pytest.mark.parametrize(
    ("name", "output"), [(name, output) for name in NAMES for output in load_golden(name)[1]]
)
def test_outputs_are_those_of_the_official_code(
    found: dict[str, dict[str, torch.Tensor]], name: str, output: str
) -> None:
    expected = load_golden(name)[1][output]
    limit = OF_RANGE * float(np.ptp(expected))
    np.testing.assert_allclose(found[name][output].numpy(), expected, rtol=0, atol=limit)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_an_nvlabs_pickle_of_any_protocol_is_read_bit_for_bit(
    tmp_path: Path, protocol: int
) -> None:
    tensors = golden_tensors("nvlabs-ada-64")
    path = write_nvlabs_pkl(tmp_path / "n.pkl", tensors, "source", clamp=256, protocol=protocol)
    assert pickle.PROTO + bytes([protocol]) == path.read_bytes()[:2]
    read = read_stylegan2(path)
    assert read.conv_clamp == 256
    assert read.notes == ()
    assert set(read.tensors) == set(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(read.tensors[name], value.numpy())


@pytest.mark.parametrize("legacy", [False, True])
def test_a_rosinality_file_is_read_from_either_container(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "r.pt"
    torch.save(rosinality_checkpoint(), path, _use_new_zipfile_serialization=not legacy)
    read = read_stylegan2(path)
    source = golden_tensors("rosinality-64")
    const = read.tensors["synthesis.b4.const"]
    np.testing.assert_array_equal(const, source["input.input"].numpy()[0])
    rgb = read.tensors["synthesis.b64.torgb.weight"]
    np.testing.assert_array_equal(rgb, source["to_rgbs.3.conv.weight"].numpy()[0])
    kernel = read.tensors["synthesis.b8.conv0.weight"]
    scaled = source["convs.0.conv.weight"].numpy()[0] / np.sqrt(512 * 9)
    np.testing.assert_allclose(kernel, scaled, rtol=1e-6)
    assert len(read.sha256) == 64


def rosinality_without(part: str, path: Path) -> Stylegan2Checkpoint:
    checkpoint = rosinality_checkpoint()
    checkpoint["g_ema"] = {k: v for k, v in checkpoint["g_ema"].items() if part not in k}
    torch.save(checkpoint, path)
    return read_stylegan2(path)


def test_missing_filters_are_built_in_and_missing_noise_is_zero(tmp_path: Path) -> None:
    assert rosinality_without("kernel", tmp_path / "r.pt").notes == ()
    read = rosinality_without("noises.", tmp_path / "r.pt")
    assert "9 layers have no noise" in read.notes[0]
    assert not read.tensors["synthesis.b64.conv0.noise_const"].any()
    assert read.tensors["synthesis.b64.conv0.noise_strength"] != 0


def test_a_network_trained_without_noise_is_read(tmp_path: Path) -> None:
    tensors = {k: v for k, v in golden_tensors("nvlabs-ada-64").items() if "noise_" not in k}
    read = read_stylegan2(write_nvlabs_pkl(tmp_path / "n.pkl", tensors))
    assert "9 layers have no noise" in read.notes[0]
    assert read.tensors["synthesis.b4.conv1.noise_strength"] == 0


def test_a_missing_mean_w_is_said_and_estimated(tmp_path: Path) -> None:
    tensors = golden_tensors("nvlabs-ada-64")
    del tensors["mapping.w_avg"]
    read = read_stylegan2(write_nvlabs_pkl(tmp_path / "n.pkl", tensors))
    assert "mapping.w_avg" not in read.tensors
    assert "no mean w" in read.notes[0]
    assert generator_from_checkpoint(read).mapping.w_avg.abs().max() > 0


def test_another_filter_is_refused(tmp_path: Path) -> None:
    checkpoint = rosinality_checkpoint()
    checkpoint["g_ema"]["convs.0.conv.blur.kernel"] = torch.ones(4, 4) / 4
    torch.save(checkpoint, tmp_path / "r.pt")
    with pytest.raises(ArchMismatch, match=r"not the filter \[1, 3, 3, 1\]"):
        read_stylegan2(tmp_path / "r.pt")

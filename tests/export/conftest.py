"""Checkpoints in foreign formats, and bundles made of them, once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.export import own
from tests.export.tiny_starganv2 import PLAIN, SKIP, tiny_checkpoint
from tests.golden.foreign import golden_tensors, write_nvlabs_pkl, write_rosinality_pt
from torch import Tensor

from mien_engines import Bundle
from mien_export.export import export


@pytest.fixture(scope="session")
def rosinality_pt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rosinality_pt(tmp_path_factory.mktemp("checkpoints") / "rosinality.pt")


@pytest.fixture(scope="session")
def nvlabs_pkl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    source = f"open({str(folder / 'was-run')!r}, 'w')"
    return write_nvlabs_pkl(folder / "network.pkl", golden_tensors("nvlabs-ada-64"), source)


@pytest.fixture(scope="session")
def rosinality_bundle(rosinality_pt: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles") / "rosinality"
    export("stylegan2", rosinality_pt, folder)
    return Bundle.open(folder)


@pytest.fixture(scope="session")
def nvlabs_bundle(nvlabs_pkl: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles") / "nvlabs"
    export("stylegan2", nvlabs_pkl, folder)
    return Bundle.open(folder)


@pytest.fixture(scope="session")
def own_states() -> dict[str, dict[str, Tensor]]:
    return own.states()


@pytest.fixture(scope="session")
def own_bundles(
    own_states: dict[str, dict[str, Tensor]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Bundle]:
    """Bundles of the families vaegan and lookalike."""
    folder = tmp_path_factory.mktemp("own")
    torch.save(own_states["vaegan"], folder / "vaegan.pt")
    save_file(own_states["lookalike"], folder / "lookalike.safetensors")
    export("vaegan", folder / "vaegan.pt", folder / "vaegan")
    export("lookalike", folder / "lookalike.safetensors", folder / "lookalike")
    return {name: Bundle.open(folder / name) for name in ("vaegan", "lookalike")}


@pytest.fixture(scope="session")
def star_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of StarGAN v2: with the high-pass skip and FAN, and without."""
    folder = tmp_path_factory.mktemp("starganv2")
    files = {name: folder / f"{name}.ckpt" for name in ("skip", "plain")}
    for config, path in zip((SKIP, PLAIN), files.values(), strict=True):
        torch.save(tiny_checkpoint(config), path)
    return files


@pytest.fixture(scope="session")
def star_bundles(star_files: dict[str, Path]) -> dict[str, Bundle]:
    for name, path in star_files.items():
        export("starganv2", path, path.parent / name)
    return {name: Bundle.open(path.parent / name) for name, path in star_files.items()}

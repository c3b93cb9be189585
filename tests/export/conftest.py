"""Checkpoints in foreign formats, and bundles made of them, once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.golden.foreign import golden_tensors, write_nvlabs_pkl, write_rosinality_pt

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

"""The archives hold what they should, install without a compiler, and name what they stand on."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from tools import distribution, notices

import mien

ROOT = Path(__file__).parents[1]
BUILD = "import sys, scikit_build_core.build as b; b.build_{kind}(sys.argv[1])"


def built(kind: str, project: Path, folder: Path) -> Path:
    pytest.importorskip("scikit_build_core")
    command = [sys.executable, "-c", BUILD.format(kind=kind), str(folder)]
    subprocess.run(command, cwd=project, check=True, capture_output=True, timeout=1200)
    return next(folder.glob("*.whl" if kind == "wheel" else "*.tar.gz"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("sdist", ROOT, tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of the source archive, as an installer without a wheel would."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sources) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    return built("wheel", next((folder / "unpacked").iterdir()), folder)


@pytest.mark.slow
def test_an_index_would_take_both_archives(sources: Path, wheel: Path) -> None:
    pytest.importorskip("twine")
    command = [sys.executable, "-m", "twine", "check", "--strict", sources, wheel]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


@pytest.mark.slow
def test_both_archives_hold_the_packages_alone_and_the_wheel_installs(
    sources: Path, wheel: Path, tmp_path: Path
) -> None:
    assert distribution.faults(sources) == []
    assert distribution.faults(wheel) == []
    inside = set(distribution.names(wheel))
    for package in ("sdk/mien", "engines/mien_engines", "export/mien_export"):
        folder = ROOT / package
        for file in folder.rglob("*.py"):
            assert file.relative_to(folder.parent).as_posix() in inside
    assert "mien/zoo/demo/weights.safetensors" in inside
    there = tmp_path / "there"
    distribution.install(wheel, there, options=("--no-deps", "--no-index"))
    assert distribution.run(there, "bin/mien", "--version") == f"mien {mien.__version__}\n"


def test_what_does_not_belong_in_an_archive_is_named(tmp_path: Path) -> None:
    wheel, sources = tmp_path / "mien-0.whl", tmp_path / "mien-0.tar.gz"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in (
            "mien/studio.py",
            "mien/notes.txt",
            "tests/test_a.py",
            "mien-0.dist-info/NOTICE",
        ):
            archive.writestr(name, "")
    with tarfile.open(sources, "w:gz") as archive:
        for name in ("pyproject.toml", "secret.env", "export/zoo/a.py", "sdk/mien/a.py"):
            archive.addfile(tarfile.TarInfo(f"mien-0/{name}"), io.BytesIO())
    assert distribution.faults(wheel) == ["mien/notes.txt", "tests/test_a.py"]
    assert distribution.faults(sources) == ["secret.env", "export/zoo/a.py"]


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == mien.__version__
    assert f"## [{mien.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_third_party_notices_name_every_package_and_its_licence() -> None:
    pytest.importorskip("ray")  # what the extras need is told by what is installed
    page = notices.PAGE.read_text("utf-8")
    rows = re.findall(r"^\| (\S+) \| (\d\S*) \|.*\n", page, re.MULTILINE)
    assert sorted(notices.canonicalize_name(name) for name, _ in rows) == notices.needed()
    for name, listed in rows:  # others may be installed; of the same version the whole row holds
        if version(name) == listed:
            assert notices.row(notices.metadata(name)) in page


def test_no_licence_is_left_open() -> None:
    assert "not stated" not in notices.PAGE.read_text("utf-8")

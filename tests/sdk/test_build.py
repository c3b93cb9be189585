"""`mien build`, and what `mien doctor` says of TensorRT."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.engines.fake_gpu import FakeDevice, fake_host, fake_trt

import mien.doctor
from mien.bundles import BUILT_IN
from mien.cli.main import main
from mien_engines import Choice
from mien_engines.backends.trt import Host
from mien_engines.device_cuda import cuda_device
from mien_engines.trt_library import Library

pytestmark = pytest.mark.skipif(
    not (BUILT_IN / "adain" / "bundle.json").is_file(), reason="the bundle is not there"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIEN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    found = fake_host()
    monkeypatch.setattr(Host, "here", classmethod(lambda cls, name, needs_device=True: found))
    return found


def test_plans_are_built_checked_and_listed(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    # The samples of this network are small, and the fake builds in no time.
    assert main(["build", "adain", "--graph", "style", "--graph", "transfer"]) == 0
    said = capsys.readouterr()
    assert "TensorRT 11.4.0.106, Fake GPU" in said.out
    assert said.out.count("accepted") == 2
    assert not said.err
    assert main(["build", "adain", "--graph", "style"]) == 0
    assert "kept" in capsys.readouterr().out
    assert main(["build", "adain", "--graph", "style", "--precision", "fp16", "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    (plan,) = record["plans"]
    assert plan["state"] == "refused"  # the bundle admits no fp16 for it
    assert plan["detail"].startswith("the bundle admits no fp16")


def test_a_float16_form_is_made_and_passes_the_gate(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["build", "adain", "--precision", "fp16", "--graph", "transfer", "--json"]
    assert main([*arguments, "--keep", "Resize", "--size", "H=64:128:256"]) == 0
    (plan,) = json.loads(capsys.readouterr().out)["plans"]
    assert plan["state"] == "accepted"
    assert 0 < plan["error"] <= plan["tolerance"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backend", "ort"], "plans are built for trt or rtx, not for 'ort'"),
        (["--precision", "int8"], "There are: fp32, fp16, bf16"),
        (["--size", "H"], "is not NAME=LEAST:USUAL:GREATEST"),
        (["--size", "Z=1:1:1"], "no graph has an open dimension 'Z'"),
        (["--graph", "nothing"], "has no graph 'nothing'. It has: style, stylize, transfer"),
    ],
)
def test_wrong_arguments_end_in_one_line(
    host: Host, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["build", "adain", *arguments]) == 1
    assert said in capsys.readouterr().err


def test_without_a_gpu_nothing_is_said_to_be_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blind = Host(Library("rtx", fake_trt(FakeDevice())), None)
    monkeypatch.setattr(Host, "here", classmethod(lambda cls, name, needs_device=True: blind))
    assert main(["build", "adain", "--backend", "rtx", "--graph", "style"]) == 0
    said = capsys.readouterr().out
    assert "no GPU: plans are built, not checked" in said
    assert "not checked" in said
    assert "accepted" not in said


def test_the_doctor_says_which_tensorrt_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"tensorrt": "11.4.0.106"}
    monkeypatch.setattr(mien.doctor, "_version", versions.get)
    monkeypatch.setattr(mien.doctor, "cuda_device", FakeDevice)
    assert mien.doctor._tensorrt() == (
        "TensorRT 11.4.0.106; Fake GPU (sm 9.0, driver 580.1); 0 plans kept"
    )
    versions.clear()
    assert "pip install 'mien[rtx]'" in mien.doctor._tensorrt()
    versions["tensorrt-rtx"] = "1.7"
    monkeypatch.setattr(mien.doctor, "cuda_device", cuda_device)
    if "no GPU" not in mien.doctor._tensorrt():
        assert cuda_device().info().name in mien.doctor._tensorrt()


def test_the_doctor_says_what_a_backend_has_to_remark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = mien.doctor.checkup(measure=False)
    choice = Choice(graph="render", backend="trt", precision="f32", remarks=("runs slowly",))
    with_remark = replace(found, choices=(choice.model_dump(),), problems=())
    monkeypatch.setattr(mien.doctor, "checkup", lambda *a, **k: with_remark)
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[said.index("render: trt") + 1] == "    runs slowly"
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["choices"][0]["remarks"] == ["runs slowly"]

"""Whoever drives the device waits, warms up, captures once, and gives everything back."""

from __future__ import annotations

import gc
import logging
import threading

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines.fake_gpu import LOST, OOM, BuildingTrt, FakeDevice, fake_host

from mien_engines import Bundle
from mien_engines.backends.lane import STRIDE
from mien_engines.backends.trt import TrtSession
from mien_engines.errors import (
    BuildFailed,
    DeviceLost,
    DeviceOutOfMemory,
    InputError,
    MienError,
    RunError,
)

F32 = NDArray[np.float32]


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


def opened(device: FakeDevice, bundle: Bundle, graph: str, most: int = 64) -> TrtSession:
    backend = BuildingTrt(fake_host(device), most)
    session = backend.open(bundle.graph_path(graph), bundle.graph(graph))
    assert isinstance(session, TrtSession)
    return session


def rows(n: int, seed: int = 0) -> dict[str, F32]:
    return {"x": np.random.default_rng(seed).standard_normal((n, 3)).astype(np.float32)}


def start(n: int = 3) -> dict[str, F32]:
    w, target = np.random.default_rng(1).standard_normal((2, n, 5)).astype(np.float32)
    return {"w": w, "target": target, "rate": np.array(0.25, np.float32)}


def test_the_first_run_warms_up_the_second_is_captured_and_the_rest_are_replays(
    device: FakeDevice, tiny: Bundle
) -> None:
    with opened(device, tiny, "linear") as session:
        for run in range(5):
            session.run(rows(2, run))
        names = [name for name, _ in device.log]
        capture = names.index("begin capture")
        assert names[:capture].count("execute") == 1  # the warm-up
        assert names.count("begin capture") == names.count("end capture") == 1
        assert names.count("execute") == 2  # and the one that was recorded
        assert names.count("launch") == 4
        inside = names[capture + 1 : names.index("end capture")]
        assert inside == ["upload", "execute", "download"]
        # A frame is one launch and one wait.
        assert names[-2:] == ["launch", "synchronize"]


def test_a_replayed_frame_has_the_numbers_of_its_own_inputs(
    device: FakeDevice, tiny: Bundle
) -> None:
    with (
        opened(device, tiny, "linear") as session,
        BuildingTrt(fake_host()).open(tiny.graph_path("linear"), tiny.graph("linear")) as fresh,
    ):
        for run in range(4):
            feeds = rows(2, run)
            found = session.run(feeds)["y"]
            np.testing.assert_array_equal(found, fresh.run(feeds)["y"])
        kept = session.run(rows(2, 7))["y"]
        before = kept.copy()
        session.run(rows(2, 8))
        np.testing.assert_array_equal(kept, before)  # it is the caller's own


CAPTURE = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED operation not permitted when stream is capturing"


@pytest.mark.parametrize("who", ["TensorRT", "begin capture", "end capture"])
def test_a_plan_that_refuses_its_capture_runs_without_and_says_so_once(
    device: FakeDevice, tiny: Bundle, caplog: pytest.LogCaptureFixture, who: str
) -> None:
    session = opened(device, tiny, "descent")
    if who == "TensorRT":
        session._engine.capturable = False
    else:
        device.fail[who] = (1, f"cuStreamEndCapture failed: {CAPTURE}")
    honest = opened(FakeDevice(), tiny, "descent")
    with caplog.at_level(logging.WARNING, "mien"):
        for n in (3, 3, 3, 2, 2, 2):
            found, expected = session.run(start(n)), honest.run(start(n))
            for name in expected:
                np.testing.assert_array_equal(found[name], expected[name])
        loops = [one.loop(start()) for one in (session, honest)]
        for loop in loops:
            for count in (4, 4, 1):
                loop.advance(count, {"rate": np.full(count, 0.2, np.float32)})
        np.testing.assert_array_equal(loops[0].read("w_next"), loops[1].read("w_next"))
    assert device.calls("begin capture") == 1
    assert device.calls("launch") == 0
    (remark,) = session.remarks()
    assert "without a CUDA graph" in remark
    assert ("not stream capturable" if who == "TensorRT" else "not permitted") in remark
    assert len([record for record in caplog.records if "CUDA graph" in record.message]) == 1
    assert honest.remarks() == ()
    del loop, loops
    session.close()
    assert device.leaked == {}


def test_a_capture_that_is_out_of_memory_is_not_taken_for_a_refusal(
    device: FakeDevice, tiny: Bundle
) -> None:
    session = opened(device, tiny, "linear")
    session.run(rows(2))
    device.fail["end capture"] = (1, OOM)
    with pytest.raises(DeviceOutOfMemory):
        session.run(rows(2))
    assert session.remarks() == ()
    device.fail.clear()
    for run in range(3):
        session.run(rows(2, run))
    assert device.calls("launch")
    session.close()
    assert device.leaked == {}


def test_nothing_is_allocated_after_the_first_frame(device: FakeDevice, tiny: Bundle) -> None:
    with opened(device, tiny, "linear") as session:
        session.run(rows(2))
        allocated = device.calls("allocate") + device.calls("pin") + device.calls("context")
        for run in range(20):
            session.run(rows(2, run))
        assert allocated == device.calls("allocate") + device.calls("pin") + device.calls("context")


def test_closing_gives_everything_back_after_the_work_has_ended(
    device: FakeDevice, tiny: Bundle
) -> None:
    session = opened(device, tiny, "linear")
    for n in (1, 2, 2, 5):
        session.run(rows(n))
    session.close()
    assert device.leaked == {}
    names = [name for name, _ in device.log]
    first_free = min(names.index("free"), names.index("unpin"))
    assert "synchronize" in names[:first_free]
    session.close()  # a second time does nothing


@pytest.mark.parametrize("what", ["allocate", "pin", "stream", "context"])
def test_out_of_memory_at_any_allocation_leaks_nothing_and_the_next_run_works(
    tiny: Bundle, what: str
) -> None:
    probe = FakeDevice()
    with opened(probe, tiny, "descent") as session:
        session.loop(start()).advance(3, {"rate": np.full(3, 0.25, np.float32)})
        count = probe.calls(what)
    assert count
    for at in range(1, count + 1):
        device = FakeDevice()
        device.fail[what] = (at, OOM)
        session = opened(device, tiny, "descent")
        with pytest.raises(DeviceOutOfMemory, match=r"out of memory.*smaller batch"):
            session.loop(start()).advance(3, {"rate": np.full(3, 0.25, np.float32)})
        assert device.lost == ""
        device.fail.clear()
        assert np.isfinite(session.run(start())["loss"]).all()
        gc.collect()
        session.close()
        assert device.leaked == {}, f"at {what} number {at}"


@pytest.mark.parametrize("what", ["upload", "execute", "download", "synchronize", "launch"])
def test_a_lost_device_is_told_once_and_for_all(
    device: FakeDevice, tiny: Bundle, what: str
) -> None:
    session = opened(device, tiny, "linear")
    for run in range(3):
        session.run(rows(2, run))
    device.fail[what] = (device.calls(what) + 1, LOST)
    # A new shape also uploads, executes and downloads outside a graph.
    with pytest.raises(DeviceLost, match=r"illegal memory access.*Start the program again"):
        session.run(rows(2)), session.run(rows(3))
    asked = len(device.log)
    with pytest.raises(DeviceLost, match="failed before"):
        session.run(rows(2))
    assert not any(name in ("upload", "execute", "launch") for name, _ in device.log[asked:])
    session.close()  # frees what can be freed, and raises nothing


def test_other_failures_of_the_driver_are_run_errors(device: FakeDevice, tiny: Bundle) -> None:
    session = opened(device, tiny, "linear")
    device.fail["upload"] = (1, "cuMemcpyHtoDAsync failed: invalid argument")
    with pytest.raises(RunError, match=r"a copy to the GPU: .* invalid argument") as caught:
        session.run(rows(1))
    assert not isinstance(caught.value, DeviceLost | DeviceOutOfMemory)
    assert session.run(rows(1))["y"].shape == (1, 5)
    session.close()
    assert device.leaked == {}


def test_a_refused_execution_is_an_error_and_never_the_old_outputs(
    device: FakeDevice, tiny: Bundle
) -> None:
    session = opened(device, tiny, "linear")
    session.run(rows(2))
    engine = session._engine
    engine.refuse = "IExecutionContext::enqueueV3: Error Code 3: API Usage Error"
    with pytest.raises(RunError, match=r"graph linear.*enqueueV3"):
        session.run(rows(2, 1))
    engine.refuse = ""
    session.run(rows(2, 1))
    assert session.remarks() == ()  # it was not for the capture
    session.close()
    assert device.leaked == {}  # also what a broken capture had recorded


def test_a_plan_that_is_not_one_is_refused(device: FakeDevice, tiny: Bundle) -> None:
    with pytest.raises(BuildFailed, match=r"TensorRT 11.* does not take the plan.*magic tag"):
        BuildingTrt(fake_host(device)).session(tiny.graph("linear"), b"nonsense")


def test_a_shape_that_the_plan_was_not_built_for_is_named(device: FakeDevice, tiny: Bundle) -> None:
    session = opened(device, tiny, "linear", most=4)
    with pytest.raises(InputError, match=r"not built for input x of shape \(5, 3\).*--size"):
        session.run(rows(5))
    assert device.leaked == {}


def test_eight_threads_never_share_a_lane(device: FakeDevice, tiny: Bundle) -> None:
    session = opened(device, tiny, "linear")
    expected = [session.run(rows(1 + i % 2, i))["y"] for i in range(8)]
    wrong: list[int] = []
    together = threading.Barrier(8)

    def work(i: int) -> None:
        together.wait()
        for _ in range(10):
            if not np.array_equal(session.run(rows(1 + i % 2, i))["y"], expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert not device.shared  # no stream had work of two threads in it
    assert 2 <= device.calls("context") <= 8
    session.close()
    assert device.leaked == {}


def test_lanes_of_shapes_long_unused_are_given_back(device: FakeDevice, tiny: Bundle) -> None:
    with opened(device, tiny, "linear") as session:
        for n in range(1, 13):
            session.run(rows(n))
        assert len(device.streams) == 8
    assert device.leaked == {}


@pytest.mark.parametrize("counts", [[1], [4, 4, 4], [3, 1, 5], [STRIDE + 5, 2]])
def test_steps_on_the_device_give_the_bits_of_single_steps(
    device: FakeDevice, tiny: Bundle, counts: list[int]
) -> None:
    session = opened(device, tiny, "descent")
    together, single = session.loop(start()), session.loop(start())
    done = 0
    for count in counts:
        rates = np.array([1 / (3 + done + i) for i in range(count)], np.float32)
        together.advance(count, {"rate": rates})
        for rate in rates:
            single.set("rate", np.asarray(rate))
            single.step()
        done += count
        assert together.steps == single.steps == done
        for name in ("w_next", "loss"):
            np.testing.assert_array_equal(together.read(name), single.read(name))
        np.testing.assert_array_equal(together.state()["w"], single.state()["w"])
    single.step()  # the last rate stays
    together.step()
    np.testing.assert_array_equal(together.read("w_next"), single.read("w_next"))


def test_many_steps_are_one_visit_of_the_host(device: FakeDevice, tiny: Bundle) -> None:
    loop = opened(device, tiny, "descent").loop(start())
    rates = np.full(9, 0.1, np.float32)
    for _ in range(2):  # the first warms up, the second is captured
        loop.advance(9, {"rate": rates})
    seen = len(device.log)
    loop.advance(9, {"rate": rates})
    assert [name for name, _ in device.log[seen:]] == ["upload", "launch", "synchronize"]


def test_a_dropped_loop_gives_its_lane_to_the_next(device: FakeDevice, tiny: Bundle) -> None:
    session = opened(device, tiny, "descent")
    for _ in range(3):
        session.loop(start()).step()
        gc.collect()
    assert device.calls("context") == 1
    kept = session.loop(start())
    session.close()
    assert device.leaked  # a loop that is held keeps its lane
    del kept
    gc.collect()
    assert device.leaked == {}


def test_every_message_of_the_driver_becomes_one_of_our_errors(device: FakeDevice) -> None:
    for message, kind in {
        "cuMemAlloc failed: out of memory": DeviceOutOfMemory,
        "cuMemHostAlloc failed: out of memory": DeviceOutOfMemory,
        "[defaultAllocator.cpp::allocate::57] Error Code 1: Cuda Runtime (out of memory)":
            DeviceOutOfMemory,
        "cuStreamSynchronize failed: unspecified launch failure": DeviceLost,
        "cuMemcpyDtoHAsync failed: uncorrectable ECC error encountered": DeviceLost,
        "cuCtxSynchronize failed: device-side assert triggered": DeviceLost,
        "cuGraphLaunch failed: CUDA_ERROR_INVALID_VALUE invalid argument": RunError,
    }.items():  # fmt: skip
        fresh = FakeDevice()
        with pytest.raises(kind) as caught, fresh.checked("a test"):
            raise RuntimeError(message)
        assert type(caught.value) is kind
        assert "a test" in str(caught.value)
        assert bool(fresh.lost) == (kind is DeviceLost)
    with pytest.raises(MienError, match="as it was"), device.checked("a test"):
        raise InputError("as it was")

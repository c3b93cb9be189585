"""Plans are whole or absent, used only where they belong, and loaded only from their owner."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import onnx
import pytest

from mien_engines import Bundle
from mien_engines import cache as cache_module
from mien_engines.errors import Busy, InputError, NotBuilt, Untrusted
from mien_engines.plan_file import (
    MACHINE,
    PlanHeader,
    PlanKey,
    Verdict,
    graph_digest,
    packed,
    unpacked,
)
from mien_engines.plan_upkeep import timing_path
from mien_engines.plans import PlanCache

KEY = PlanKey(
    graph="render", digest="0" * 64, library="trt", version="11.4.0.106", gpu="Fake GPU", sm="9.0",
    driver="580.1", precision="fp16", sizes={"N": (1, 1, 8)}, flags=("strongly typed",),
)  # fmt: skip
WANTED: dict[str, Any] = {
    name: getattr(KEY, name)
    for name in ("graph", "digest", "precision", "library", "version", "gpu", "sm", "driver",
                 "flags", "revision")
}  # fmt: skip


def header(plan: bytes, key: PlanKey = KEY, accepted: bool = True) -> PlanHeader:
    return PlanHeader(
        key=key,
        verdict=Verdict(accepted=accepted, error=0.001, tolerance=0.04),
        sha256=hashlib.sha256(plan).hexdigest(),
        nbytes=len(plan),
        layers=3,
        seconds=0.5,
    )


@pytest.fixture
def plans(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "cache" / "plans")


def test_a_plan_comes_back_as_it_was(plans: PlanCache, rng: np.random.Generator) -> None:
    plan = rng.bytes(10_000)
    assert plans.store(header(plan), plan)
    found, content = plans.load(plans.find(WANTED))
    assert content == plan
    assert found == header(plan)
    assert list(plans.path(KEY).parent.iterdir()) == [plans.path(KEY)]


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from mien_engines.errors import Untrusted
from mien_engines.plan_file import unpacked
from mien_engines.plans import PlanCache
from tests.engines.test_plans import KEY, header

plans, path = PlanCache(Path(sys.argv[1])), PlanCache(Path(sys.argv[1])).path(KEY)
random.seed(7)
outcomes = {"whole": 0, "absent": 0}
for attempt in range(100):
    if attempt % 10 == 0:
        path.unlink(missing_ok=True)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for _ in range(10**6):
                plan = os.urandom(1 << 10) * random.randint(256, 2048)
                with plans.building(KEY):
                    plans.store(header(plan), plan)
                os.write(tell, b".")
        finally:
            os._exit(1)
    if attempt % 2:  # in the midst of a later one; else perhaps of the first
        os.read(told, 1)
    time.sleep(random.random() * 0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(told)
    os.close(tell)
    if path.exists():
        unpacked(path)  # raises where a byte is missing
        outcomes["whole"] += 1
    else:
        outcomes["absent"] += 1
    with plans.building(KEY, wait_s=60):  # the dead hold no lock
        pass
print(outcomes["whole"], outcomes["absent"])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, which Windows has not")
def test_a_hundred_builders_killed_at_random_leave_no_torn_plan(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "plans")],
        capture_output=True, text=True, timeout=600, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([".", *sys.path])},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    whole, absent = map(int, ran.stdout.split())
    assert whole + absent == 100
    assert whole >= 50  # every second killed one had written a plan before


@pytest.mark.parametrize("code", [28, 122, 27], ids=["ENOSPC", "EDQUOT", "EFBIG"])
def test_where_it_cannot_be_written_no_part_stays(
    plans: PlanCache,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    def full(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    cache_module._say_once.cache_clear()
    with caplog.at_level(logging.WARNING, "mien"):
        assert not plans.store(header(b"plan"), b"plan")
    assert not list(plans.root.rglob("*.plan"))
    assert not list(plans.root.rglob("*.tmp"))
    assert "MIEN_CACHE_DIR" in caplog.text


def test_a_real_limit_of_a_file_leaves_no_part(plans: PlanCache) -> None:
    resource = pytest.importorskip("resource", reason="needs limits of processes")
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from mien_engines.plans import PlanCache\n"
        "from tests.engines.test_plans import header\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "plan = bytes(3 << 20)\n"
        "sys.exit(0 if not PlanCache(Path(sys.argv[1])).store(header(plan), plan) else 1)"
    )
    assert resource
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([".", *sys.path])}
    subprocess.run([sys.executable, "-c", code, str(plans.root)], check=True, env=environment)
    assert not [path for path in plans.root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("where", ["file/plans", "readonly/plans"])
def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("no folder can be made below a file")
    (tmp_path / "readonly").mkdir(mode=0o555)
    if where.startswith("readonly") and os.access(tmp_path / "readonly", os.W_OK):
        pytest.skip("this user may write everywhere")
    plans = PlanCache(tmp_path / where)
    with plans.building(KEY):
        assert not plans.store(header(b"plan"), b"plan")
    # It lasts as long as the process, and is that process's own.
    assert plans.load(plans.find(WANTED)) == (header(b"plan"), b"plan")
    with pytest.raises(NotBuilt):
        PlanCache(tmp_path / "other").find(WANTED)


BUILDER = """
import sys, time
from pathlib import Path
from mien_engines.plans import PlanCache
from tests.engines.test_plans import KEY, header

plans = PlanCache(Path(sys.argv[1]))
said = []
with plans.building(KEY, wait_s=300, waiting=said.append):
    if plans.path(KEY).exists():
        print("found", *said)
    else:
        time.sleep(1.0)
        plans.store(header(b"plan"), b"plan")
        print("built")
"""


def test_eight_processes_build_once_and_the_others_wait(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([".", *sys.path])}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", BUILDER, str(tmp_path / "plans")],
            stdout=subprocess.PIPE, text=True, env=environment,
        )
        for _ in range(8)
    ]  # fmt: skip
    said = [process.communicate(timeout=600)[0].strip() for process in running]
    assert sorted(line.split()[0] for line in said) == ["built"] + 7 * ["found"]


def test_who_waits_is_told_for_whom_and_gives_up_in_time(plans: PlanCache) -> None:
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with plans.building(KEY):
            holding.set()
            done.wait(120)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(120)
    told: list[str] = []
    try:
        with (
            pytest.raises(Busy, match=rf"process {os.getpid()} has been building.*render"),
            plans.building(KEY, wait_s=0.1, waiting=told.append),
        ):
            raise AssertionError("two builders at once")
    finally:
        done.set()
        holder.join()
    assert told == [f"process {os.getpid()} builds it; waiting"]
    with plans.building(KEY, wait_s=0.1):
        pass


HOLDER = """
import sys, time
from pathlib import Path
from mien_engines.plans import PlanCache
from tests.engines.test_plans import KEY
with PlanCache(Path(sys.argv[1])).building(KEY):
    print("holding", flush=True)
    time.sleep(600)
"""


def test_the_lock_of_a_killed_builder_is_free(plans: PlanCache) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([".", *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(plans.root)],
        stdout=subprocess.PIPE, text=True, env=environment,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "holding"
        holder.kill()
        holder.wait()
    with plans.building(KEY, wait_s=60):
        pass


@pytest.mark.parametrize(
    ("field", "other"),
    [("version", "11.3.0.1"), ("gpu", "Other GPU"), ("sm", "8.9"), ("driver", "570.1"),
     ("revision", 0)],
)  # fmt: skip
def test_a_plan_of_another_machine_is_not_used_and_the_difference_is_named(
    plans: PlanCache, field: str, other: Any
) -> None:
    plans.store(header(b"plan", KEY.model_copy(update={field: other})), b"plan")
    with pytest.raises(
        NotBuilt,
        match=rf"graph render has no plan of trt in fp16.*for {field} {other}, "
        rf"this is {WANTED[field]}.*mien build BUNDLE --backend trt --precision fp16",
    ):
        plans.find(WANTED)


def test_a_plan_with_another_kernel_in_it_is_not_used(plans: PlanCache) -> None:
    older = ("strongly typed", "AdaIN plugin of kernels 1f")
    plans.store(header(b"plan", KEY.model_copy(update={"flags": older})), b"plan")
    with pytest.raises(
        NotBuilt,
        match="it was built for flags strongly typed, AdaIN plugin of kernels 1f, "
        "this is strongly typed",
    ):
        plans.find(WANTED)


@pytest.mark.parametrize(
    ("field", "other"), [("graph", "mix"), ("digest", "1" * 64), ("precision", "f32")]
)
def test_a_plan_of_something_else_is_not_found(plans: PlanCache, field: str, other: str) -> None:
    plans.store(header(b"plan", KEY.model_copy(update={field: other})), b"plan")
    with pytest.raises(NotBuilt, match="has no plan"):
        plans.find(WANTED)


def test_what_was_not_accepted_is_not_used(plans: PlanCache) -> None:
    plans.store(header(b"plan", accepted=False), b"plan")
    with pytest.raises(NotBuilt, match="it was not accepted"):
        plans.find(WANTED)


def test_every_field_of_the_key_makes_another_file(plans: PlanCache) -> None:
    others: dict[str, Any] = {
        "graph": "mix", "digest": "1" * 64, "library": "rtx", "version": "12", "gpu": "B",
        "sm": "8",
        "driver": "1", "precision": "f32", "sizes": {"N": (1, 1, 4)}, "keep": ("Resize",),
        "flags": (), "revision": 2,
    }  # fmt: skip
    assert others.keys() == set(PlanKey.model_fields)
    paths = {plans.path(KEY.model_copy(update={name: value})) for name, value in others.items()}
    assert len(paths | {plans.path(KEY)}) == len(others) + 1


@pytest.mark.parametrize(("field", "other"), [("sm", "8.9"), ("driver", "570.1")])
def test_stale_plans_of_this_gpu_go_and_those_of_others_stay(
    plans: PlanCache, caplog: pytest.LogCaptureFixture, field: str, other: Any
) -> None:
    old, mine, theirs = (
        KEY.model_copy(update=change)
        for change in ({field: other}, {}, {"gpu": "Other GPU", field: other})
    )
    for key in (old, mine, theirs):
        plans.store(header(b"plan", key), b"plan")
    machine = {name: WANTED[name] for name in MACHINE}
    with caplog.at_level(logging.INFO, "mien"):
        assert plans.tidy(machine) == [plans.path(old)]
    assert f"it was built for {field}" in caplog.text
    assert plans.path(mine).exists()
    assert plans.path(theirs).exists()


@pytest.mark.parametrize(
    ("field", "other"),
    [("version", "10.16.1.1"), ("flags", ()), ("revision", 0), ("library", "rtx")],
)
def test_two_environments_on_one_machine_leave_each_other_their_plans(
    plans: PlanCache, field: str, other: Any
) -> None:
    machines = [WANTED, WANTED | {field: other}]
    for machine in machines:
        key = KEY.model_copy(update={name: machine[name] for name in MACHINE})
        plans.store(header(b"plan", key), b"plan")
        timing_path(plans.root, machine).write_text("")
    for machine in machines:
        assert plans.tidy(machine) == []
        plans.find(machine)
        assert timing_path(plans.root, machine).exists()


def test_equal_graphs_with_other_weights_have_other_digests(
    tiny: Bundle, new_bundle: Callable[..., Bundle]
) -> None:
    other = new_bundle("other", seed=1)
    mine, theirs = (graph_digest(b.graph_path("linear")) for b in (tiny, other))
    assert tiny.graph_path("linear").read_bytes() == other.graph_path("linear").read_bytes()
    assert mine != theirs
    # A graph without weights outside is the same in both.
    assert graph_digest(tiny.graph_path("picture")) == graph_digest(other.graph_path("picture"))
    changed = onnx.load(tiny.graph_path("picture"))
    changed.graph.node[0].op_type = "Tanh"
    (other.folder / "picture.onnx").write_bytes(changed.SerializeToString())
    assert graph_digest(tiny.graph_path("picture")) != graph_digest(other.graph_path("picture"))


def test_any_flipped_byte_keeps_a_plan_from_being_loaded(
    plans: PlanCache, rng: np.random.Generator
) -> None:
    plan = rng.bytes(90)
    whole = packed(header(plan), plan)
    plans.store(header(plan), plan)
    path = plans.path(KEY)
    # Every byte of magic, length and plan, and those of the header that say what it is.
    places = [
        *range(24),
        *range(len(whole) - 90, len(whole)),
        whole.index(header(plan).sha256.encode()),
    ]
    for place in places:
        spoiled = bytearray(whole)
        spoiled[place] ^= 0x40
        path.write_bytes(spoiled)
        with pytest.raises(Untrusted):
            plans.load(path)
    for cut in (0, 10, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(Untrusted):
            plans.load(path)
    path.write_bytes(whole + b"more")
    with pytest.raises(Untrusted, match="damaged"):
        plans.load(path)


def test_a_plan_from_elsewhere_is_refused_unless_trusted(plans: PlanCache, tmp_path: Path) -> None:
    elsewhere = tmp_path / "given.plan"
    elsewhere.write_bytes(packed(header(b"plan"), b"plan"))
    with pytest.raises(Untrusted, match=r"from elsewhere.*trust_engine=True"):
        plans.load(elsewhere)
    assert plans.load(elsewhere, trust_engine=True)[1] == b"plan"
    assert unpacked(elsewhere)[1] == b"plan"


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_plan_that_others_can_write_is_refused(plans: PlanCache, mode: int) -> None:
    plans.store(header(b"plan"), b"plan")
    path = plans.path(KEY)
    path.chmod(mode)
    with pytest.raises(Untrusted, match=r"others than you can write.*chmod go-w"):
        plans.load(path)
    path.chmod(0o600)
    path.parent.chmod(0o777)
    with pytest.raises(Untrusted, match="others than you can write"):
        plans.load(path)
    path.parent.chmod(0o700)
    plans.root.chmod(0o722)
    with pytest.raises(Untrusted, match="others than you can write"):
        plans.load(path)
    plans.root.chmod(0o700)
    plans.load(path)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Of users whose groups are theirs alone: what they make, their group may write."""
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has other modes")
@pytest.mark.parametrize("locked", [True, False], ids=["by the lock", "by the plan"])
def test_folders_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path, locked: bool) -> None:
    plans = PlanCache(tmp_path / "new" / "cache" / "plans")
    if locked:
        with plans.building(KEY):
            plans.store(header(b"plan"), b"plan")
    else:
        plans.store(header(b"plan"), b"plan")
    assert plans.load(plans.find(WANTED))[1] == b"plan"
    below = [path for path in (tmp_path / "new").rglob("*") if path.is_dir()]
    assert {path.stat().st_mode & 0o777 for path in [tmp_path / "new", *below]} == {0o700}
    assert len(below) == 3
    (tmp_path / "control").mkdir()
    assert (tmp_path / "control").stat().st_mode & 0o777 == 0o775  # the umask was that


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has other owners")
def test_a_plan_of_someone_else_is_refused(
    plans: PlanCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans.store(header(b"plan"), b"plan")
    monkeypatch.setattr(os, "geteuid", lambda: plans.root.stat().st_uid + 1)
    with pytest.raises(Untrusted, match="others than you"):
        plans.load(plans.path(KEY))


def test_a_link_in_the_cache_is_refused(plans: PlanCache, tmp_path: Path) -> None:
    elsewhere = tmp_path / "given.plan"
    elsewhere.write_bytes(packed(header(b"plan"), b"plan"))
    path = plans.path(KEY)
    path.parent.mkdir(mode=0o700, parents=True)
    path.symlink_to(elsewhere)
    with pytest.raises(Untrusted, match="is a link"):
        plans.load(path)
    path.unlink()
    path.parent.rmdir()
    (tmp_path / "folder").mkdir(mode=0o700)
    path.parent.symlink_to(tmp_path / "folder")
    path.write_bytes(packed(header(b"plan"), b"plan"))
    with pytest.raises(Untrusted, match="is a link"):
        plans.load(path)


def test_what_was_used_least_recently_goes_first(tmp_path: Path) -> None:
    plan = bytes(1000)
    size = len(packed(header(plan), plan))
    plans = PlanCache(tmp_path / "plans", limit_bytes=3 * size + 50)
    keys = [KEY.model_copy(update={"graph": f"g{i}"}) for i in range(4)]
    for age, key in zip((40, 30, 20), keys, strict=False):
        plans.store(header(plan, key), plan)
        os.utime(plans.path(key), (time.time() - age, time.time() - age))
    plans.load(plans.path(keys[0]))  # the oldest, and now the newest
    plans.store(header(plan, keys[3]), plan)
    assert [plans.path(key).exists() for key in keys] == [True, False, True, True]


def test_one_plan_beyond_the_limit_is_kept_all_the_same(tmp_path: Path) -> None:
    plans = PlanCache(tmp_path / "plans", limit_bytes=10)
    assert plans.store(header(bytes(100)), bytes(100))
    assert plans.path(KEY).exists()


def test_the_limit_is_set_in_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_PLANS_GB", "0.5")
    assert PlanCache().limit_bytes == 500_000_000
    monkeypatch.setenv("MIEN_PLANS_GB", "")
    assert PlanCache().limit_bytes == 16_000_000_000
    monkeypatch.delenv("MIEN_PLANS_GB")
    assert PlanCache().limit_bytes == 16_000_000_000
    for wrong in ("much", "inf", "nan", "-1", "1e999"):
        monkeypatch.setenv("MIEN_PLANS_GB", wrong)
        with pytest.raises(InputError, match=rf"MIEN_PLANS_GB is '{wrong}', expected gigabytes"):
            PlanCache()


def test_what_cannot_be_removed_is_not_counted_as_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = bytes(1000)
    keys = [KEY.model_copy(update={"graph": f"g{i}"}) for i in range(3)]
    plans = PlanCache(tmp_path / "plans", limit_bytes=2 * len(packed(header(plan, keys[0]), plan)))
    for age, key in zip((40, 30), keys, strict=False):
        plans.store(header(plan, key), plan)
        os.utime(plans.path(key), (time.time() - age, time.time() - age))
    unlink = Path.unlink

    def refuses(path: Path, missing_ok: bool = False) -> None:
        if path == plans.path(keys[0]):
            raise PermissionError(13, "it is open elsewhere")  # as Windows has it
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuses)
    plans.store(header(plan, keys[2]), plan)
    assert [plans.path(key).exists() for key in keys] == [True, False, True]
    plans.limit_bytes = 0
    assert plans.trim() == [plans.path(keys[2])]


def test_83_orphans_of_killed_writers_are_swept(plans: PlanCache) -> None:
    plans.store(header(b"plan"), b"plan")
    folder = plans.path(KEY).parent
    for i in range(83):
        orphan = folder / f".render.plan.{i}.tmp"
        orphan.write_bytes(b"half")
        os.utime(orphan, (0, 0))
    cache_module._sweep.cache_clear()  # as a new process
    plans.store(header(b"plan"), b"plan")
    assert not list(folder.glob("*.tmp"))


def test_what_killed_builders_left_is_swept_after_an_hour(plans: PlanCache) -> None:
    """Locks, notes of who holds them, parts, kernels without a plan, empty folders."""
    folder, empty = plans.path(KEY).parent, plans.root / "mix-0"
    plans.store(header(b"plan"), b"plan")
    plans.path(KEY).with_suffix(".kernels").write_bytes(b"of the plan")
    empty.mkdir()
    left = [folder / name for name in ("a.lock", "a.pid", "b.lock", "c.kernels", ".d.tmp")]
    young = folder / "young.lock"
    held = filelock.FileLock(folder / "held.lock")
    held.acquire()
    for path in (*left, young):
        path.write_text("")
    for path in (*left, folder / "held.lock", plans.path(KEY).with_suffix(".kernels"), empty):
        os.utime(path, (0, 0))
    plans.tidy(WANTED)
    assert [path for path in (*left, empty) if path.exists()] == []
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [plans.path(KEY).name, plans.path(KEY).with_suffix(".kernels").name, young.name,
         "held.lock"]
    )  # fmt: skip
    held.release()


def test_a_folder_that_cannot_be_tidied_is_no_error(
    plans: PlanCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_: Any) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("mien_engines.plans.sweep", gone)
    monkeypatch.setattr("mien_engines.plans.trim", gone)
    with caplog.at_level(logging.WARNING, "mien"):
        assert plans.store(header(b"plan"), b"plan")
        plans.tidy(WANTED)
    assert caplog.text.count(f"the plans in {plans.root} are not tidied: ") == 2
    assert plans.load(plans.find(WANTED))[1] == b"plan"


def test_times_of_kernels_under_another_driver_go_with_its_plans(plans: PlanCache) -> None:
    others = ({"driver": "570.1"}, {"gpu": "B"}, {"library": "rtx"}, {"version": "10.16.1.1"})
    machines = [WANTED, *(WANTED | other for other in others)]
    paths = [timing_path(plans.root, machine) for machine in machines]
    assert len(set(paths)) == 5
    plans.root.mkdir(parents=True)
    for path in paths:
        path.write_text("")
    assert plans.tidy(WANTED) == [paths[1]]
    assert [path.exists() for path in paths] == [True, False, True, True, True]


def test_a_clock_that_was_set_back_neither_hides_nor_evicts(tmp_path: Path) -> None:
    plan = bytes(1000)
    size = len(packed(header(plan), plan))
    plans = PlanCache(tmp_path / "plans", limit_bytes=2 * size + 50)
    keys = [KEY.model_copy(update={"graph": f"g{i}"}) for i in range(3)]
    for key in keys[:2]:
        plans.store(header(plan, key), plan)
    tomorrow, yesterday = time.time() + 86_400, time.time() - 86_400
    os.utime(plans.path(keys[0]), (tomorrow, tomorrow))
    os.utime(plans.path(keys[1]), (yesterday, yesterday))
    assert plans.find(WANTED | {"graph": "g0"}) == plans.path(keys[0])
    newer = keys[0].model_copy(update={"sizes": {"N": (1, 1, 2)}})
    plans.store(header(b"plan", newer), b"plan")
    assert plans.find(WANTED | {"graph": "g0"}) == plans.path(newer)
    plans.path(newer).unlink()
    plans.store(header(plan, keys[2]), plan)
    assert [plans.path(key).exists() for key in keys] == [True, False, True]

"""Row S6, and what becomes of jobs: lines that are full, twins, watchers that leave, restarts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.serve.running import API, PATIENCE_S, Held, Paced, Running, running

from mien.edits.settings import ProjectionSettings
from mien.errors import InputError
from mien.serve.folder import JobFolder
from mien.serve.limits import Limits
from mien.serve.service import Service
from mien.studio import Studio

LIMITS = Limits(queue=2, abandoned_s=600.0, job_s=600.0)
STEPS = 6


@pytest.fixture(scope="module")
def shared_one(holding: Held, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(holding, tmp_path_factory.mktemp("jobs"), limits=LIMITS) as started:
        yield started


@pytest.fixture
def one(shared_one: Running, held: Held) -> Iterator[Running]:
    """A service without a job."""
    yield shared_one
    for job in shared_one.client.get(f"{API}/jobs").json():
        shared_one.client.delete(f"{API}/jobs/{job['id']}")


def submit(one: Running, face: str, **more: Any) -> httpx.Response:
    asked = {"verb": "project", "face": face, "steps": STEPS, **more}
    return one.client.post(f"{API}/jobs", json=asked)


def let(studio: Held, steps: int) -> None:
    for _ in range(steps):
        studio.gate.release()


def begun(studio: Held) -> None:
    assert studio.began.acquire(timeout=PATIENCE_S)


def events(one: Running, job: str, most: int | None = None) -> list[tuple[str, dict[str, Any]]]:
    """The events of a job; all of them, or the first few, after which the client leaves."""
    found: list[tuple[str, dict[str, Any]]] = []
    with one.client.stream("GET", f"{API}/jobs/{job}/events") as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        name = ""
        for line in stream.iter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                found.append((name, json.loads(line[6:])))
                if len(found) == most:
                    return found
    return found


def test_a_job_tells_how_far_it_is_until_its_end(one: Running, held: Held) -> None:
    face = one.nobody()
    answer = submit(one, face)
    assert answer.status_code == 202
    job = answer.json()["id"]
    assert answer.headers["Location"] == f"{API}/jobs/{job}"
    seen: list[Any] = []
    watcher = threading.Thread(target=lambda: seen.extend(events(one, job)))
    watcher.start()
    begun(held)
    let(held, STEPS)
    watcher.join(PATIENCE_S)
    names, records = zip(*seen, strict=True)
    assert set(names[:-1]) <= {"progress"}
    assert names[-1] == "end"
    steps = [record["step"] for record in records]
    assert steps == sorted(steps)
    assert steps[-1] == records[-1]["steps"] == STEPS
    assert records[-1]["state"] == "done"
    assert records[-1]["result"]["face"] == face


def test_a_full_line_says_when_to_come_again_and_a_twin_is_the_same_job(
    one: Running, held: Held
) -> None:
    faces = [one.nobody(seed) for seed in range(4)]
    jobs = [submit(one, faces[0]).json()["id"]]
    begun(held)
    jobs += [submit(one, face).json()["id"] for face in faces[1:3]]
    refused = submit(one, faces[3])
    assert refused.status_code == 429
    assert refused.json()["code"] == "Busy"
    assert int(refused.headers["Retry-After"]) > 0
    twin = submit(one, faces[1])
    assert (twin.status_code, twin.json()["id"]) == (200, jobs[1])
    assert one.client.get(f"{API}/jobs/{jobs[2]}").json()["before"] == 1
    assert [job["id"] for job in one.client.get(f"{API}/jobs").json()] == jobs
    let(held, 3 * STEPS)
    assert [one.ended(job)["state"] for job in jobs] == ["done"] * 3


def test_a_cancelled_job_keeps_what_it_found_and_goes_on(one: Running, held: Held) -> None:
    face = one.nobody()
    job = submit(one, face).json()["id"]
    begun(held)
    let(held, 2)
    while one.client.get(f"{API}/jobs/{job}").json()["step"] < 2:
        time.sleep(0.01)
    one.client.post(f"{API}/jobs/{job}/cancel")
    record = one.ended(job)
    assert (record["state"], record["ended"], record["step"]) == ("cancelled", "stop", 2)
    assert record["result"]["face"] == face
    assert one.client.post(f"{API}/jobs/{job}/resume").status_code == 200
    begun(held)
    let(held, STEPS)
    assert one.ended(job)["state"] == "done"
    again = one.client.post(f"{API}/jobs/{job}/resume")
    assert (again.status_code, again.json()["code"]) == (409, "Conflict")


def test_a_job_that_waits_is_cancelled_before_it_begins(one: Running, held: Held) -> None:
    first, second = (submit(one, one.nobody(seed)).json()["id"] for seed in (1, 2))
    begun(held)
    assert one.client.post(f"{API}/jobs/{second}/cancel").json()["state"] == "cancelled"
    let(held, STEPS)
    assert one.ended(first)["state"] == "done"
    assert not held.began.acquire(timeout=0.1)


def soon_abandoned(one: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let jobs be left alone for a moment only, from now on: those that were sent have begun."""
    monkeypatch.setattr(one.service.jobs, "_limits", replace(LIMITS, abandoned_s=0.2))


def test_a_job_that_is_not_to_be_kept_ends_when_its_watcher_has_left(
    one: Running, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(one, one.nobody(), keep=False).json()["id"]
    begun(held)
    soon_abandoned(one, monkeypatch)
    events(one, job, most=1)
    assert one.ended(job)["state"] == "cancelled"


def test_a_job_that_is_to_be_kept_goes_on_alone(
    one: Running, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is not, and was left later, has ended: so there was time enough for it, too."""
    kept, other = (
        submit(one, one.nobody(seed), keep=keep).json()["id"]
        for seed, keep in enumerate((True, False))
    )
    begun(held)
    soon_abandoned(one, monkeypatch)
    for job in (kept, other):
        events(one, job, most=1)
    assert one.ended(other)["state"] == "cancelled"
    let(held, STEPS)
    assert one.ended(kept)["state"] == "done"


def test_a_removed_job_leaves_nothing_on_disk(one: Running, held: Held) -> None:
    job = submit(one, one.nobody()).json()["id"]
    begun(held)
    place = one.folder / job
    assert place.stat().st_mode & 0o077 == 0
    assert one.client.delete(f"{API}/jobs/{job}").status_code == 204
    assert one.client.get(f"{API}/jobs/{job}").status_code == 404
    until = time.monotonic() + PATIENCE_S
    while place.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not place.exists()


def test_a_job_that_fails_says_why_and_the_next_one_runs(one: Running, held: Held) -> None:
    held.fails = True
    job = submit(one, one.nobody(1)).json()["id"]
    let(held, 1)
    record = one.ended(job)
    assert record["state"] == "failed"
    assert record["error"] == {
        "code": "NotFinite", "message": "the loss is nan", "hint": "A smaller rate",
    }  # fmt: skip
    held.fails = False
    job = submit(one, one.nobody(2)).json()["id"]
    let(held, STEPS)
    assert one.ended(job)["state"] == "done"


def test_a_job_beyond_its_time_ends_with_the_best_so_far(held: Held, tmp_path: Path) -> None:
    with running(held, tmp_path, limits=Limits(job_s=0.3)) as one:
        let(held, 1)
        record = one.ended(submit(one, one.nobody()).json()["id"])
    assert (record["state"], record["ended"]) == ("done", "seconds")
    assert record["result"]["face"]


def test_a_stopped_service_goes_on_with_its_jobs_at_the_next_start(
    held: Held, tmp_path: Path
) -> None:
    with running(held, tmp_path, limits=LIMITS) as one:
        faces = [one.nobody(seed) for seed in (1, 2)]
        jobs = [submit(one, face).json()["id"] for face in faces]
        begun(held)
        let(held, 2)
    with running(held, tmp_path, limits=LIMITS) as one:
        let(held, 2 * STEPS)
        for job, face in zip(jobs, faces, strict=True):
            assert one.ended(job)["state"] == "done"
            assert one.client.get(f"{API}/faces/{face}").json()["ready"]
    with running(held, tmp_path, limits=LIMITS) as one:
        assert [job["state"] for job in one.client.get(f"{API}/jobs").json()] == ["done"] * 2
        assert one.client.get(f"{API}/jobs/{jobs[0]}/picture").status_code == 200


def test_two_services_do_not_share_a_folder(one: Running, studio: Studio) -> None:
    with pytest.raises(InputError, match="another service keeps its jobs in"):
        Service(studio, one.folder, Limits())


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="jobs cannot be kept in"):
        JobFolder(tmp_path / "file" / "jobs")


def test_a_damaged_job_is_left_out_and_others_are_taken_up(one: Running, held: Held) -> None:
    let(held, STEPS)
    job = submit(one, one.nobody()).json()["id"]
    one.ended(job)
    for i, damage in enumerate(("", "{}", "[]", '{"id": "x"}', "{" * 10_000)):
        bad = one.folder / f"{i:032x}"
        bad.mkdir()
        (bad / "job.json").write_text(damage)
    (one.folder / "notes").mkdir()  # somebody else's
    folder = JobFolder.__new__(JobFolder)
    folder._root = one.folder
    assert [found.id for found, _ in folder.load()] == [job]
    assert not list(one.folder.glob("0000*"))
    assert (one.folder / "notes").exists()


def test_ended_jobs_are_forgotten_when_they_are_too_many(held: Held, tmp_path: Path) -> None:
    with running(held, tmp_path, limits=Limits(jobs=2)) as one:
        jobs = []
        for seed in range(4):
            let(held, STEPS)
            jobs.append(submit(one, one.nobody(seed)).json()["id"])
            one.ended(jobs[-1])
        kept = [job["id"] for job in one.client.get(f"{API}/jobs").json()]
    assert kept == jobs[-3:]  # two that ended before the last was sent, and that one


@pytest.mark.slow
def test_a_projection_that_a_restart_broke_off_ends_with_the_bits_of_an_unbroken_one(
    studio: Studio, tmp_path: Path, portrait: Path
) -> None:
    settings = ProjectionSettings(steps=16)
    with Paced() as paced, paced.held(), running(paced, tmp_path) as one:
        face = one.photo(portrait)
        crop = one.service.store.faces[face].crop
        job = submit(one, face, steps=16).json()["id"]
        while one.client.get(f"{API}/jobs/{job}").json()["step"] < 4:
            time.sleep(0.01)
    record = json.loads((tmp_path / job / "job.json").read_text())
    assert record["state"] == "waiting"
    assert 4 <= record["step"] < 16
    with running(studio, tmp_path) as one:
        assert one.ended(job)["state"] == "done"
        found = one.service.store.faces[face].code
    whole = studio.project(crop, settings, every=4)
    np.testing.assert_array_equal(found, whole.ws)

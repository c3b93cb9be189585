"""Rows S1 and S7: whom the service listens to, and which pages and hosts it answers."""

from __future__ import annotations

import inspect
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.serve.running import API, Running, running
from tests.serve.sockets import LiveClient, Refused, answer_to

import mien.serve
from mien.cli.main import main
from mien.cli.serve import command
from mien.errors import BackendUnavailable, InputError, MissingDependency
from mien.serve.application import app
from mien.serve.guard import Guard, host_of, is_loopback
from mien.serve.process import _listen, address, check_host, run
from mien.studio import Studio

TOKEN = "a-token-of-thirty-two-letters-xx"


def test_it_listens_to_this_machine_alone_unless_told_otherwise() -> None:
    assert inspect.signature(run).parameters["host"].default == "127.0.0.1"
    assert inspect.signature(command).parameters["host"].default == "127.0.0.1"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "studio.example"])
def test_a_host_that_others_reach_needs_a_token(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(InputError, match="no token was given"):
        check_host(host, None)
    check_host(host, TOKEN)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_loopback_needs_none(host: str) -> None:
    check_host(host, None)


@pytest.mark.parametrize("token", ["", "short", "with spaces in the token!", "x" * 129])
def test_a_token_that_is_easily_guessed_is_refused(token: str) -> None:
    with pytest.raises(InputError, match="16 to 128"):
        check_host("127.0.0.1", token)


def test_the_command_line_says_so_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--host", "0.0.0.0", "--backend", "ort"]) == 1
    said = capsys.readouterr().err
    assert "no token was given" in said
    assert len(said.splitlines()) == 1


def test_the_token_is_where_browsers_do_not_send_it() -> None:
    assert address("127.0.0.1", 80, None) == "http://127.0.0.1:80/"
    assert address("::1", 80, TOKEN) == f"http://[::1]:80/#token={TOKEN}"


@pytest.mark.parametrize(
    ("header", "name"),
    [("A.Example:80", "a.example"), ("[::1]:80", "::1"), ("127.0.0.1", "127.0.0.1"), ("", "")],
)
def test_the_name_of_a_host_is_read(header: str, name: str) -> None:
    assert host_of(header) == name


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.", "10.0.0.1", "", "[::2]", "127.0.0.2"],
)
@pytest.mark.parametrize("path", ["/", "/health", f"{API}/jobs", "/js/main.js"])
def test_another_name_for_this_machine_is_not_answered(
    service: Running, host: str, path: str
) -> None:
    refused = service.client.get(path, headers={"Host": host})
    assert refused.status_code == 403
    assert refused.json()["code"] == "Forbidden"


def test_its_own_names_are_answered(service: Running) -> None:
    for host in ("127.0.0.1", "localhost:80", "[::1]:8777"):
        assert service.client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"]
)
def test_a_page_of_another_site_posts_nothing(service: Running, origin: str) -> None:
    refused = service.client.post(f"{API}/samples", json={"seed": 1}, headers={"Origin": origin})
    assert refused.status_code == 403


def test_its_own_page_posts(service: Running) -> None:
    own = {"Origin": f"http://127.0.0.1:{service.port}", "Sec-Fetch-Site": "same-origin"}
    assert service.client.post(f"{API}/samples", json={"seed": 1}, headers=own).status_code == 201


def test_a_picture_tag_of_another_site_reads_nothing_but_a_link_to_the_page_is_followed(
    service: Running,
) -> None:
    tag = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert service.client.get(f"{API}/jobs", headers=tag).status_code == 403
    assert service.client.get("/styles/waves.jpg", headers=tag).status_code == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert service.client.get("/", headers=link).status_code == 200
    assert service.client.get(f"{API}/jobs", headers=link).status_code == 403


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""],
)
def test_what_a_form_can_send_is_not_read(service: Running, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    refused = service.client.post(f"{API}/samples", content=b'{"seed": 1}', headers=headers)
    assert refused.status_code in (413, 415)


@pytest.fixture(scope="module")
def locked(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(studio, tmp_path_factory.mktemp("jobs"), token=TOKEN) as one:
        yield one


@pytest.mark.parametrize(
    "shown", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer \xe9"]
)
def test_without_the_token_there_is_nothing(locked: Running, shown: str | None) -> None:
    headers = {} if shown is None else {"Authorization": shown.encode("latin-1")}
    for path in (f"{API}/jobs", f"{API}/openapi.json", "/metrics"):
        refused = locked.client.get(path, headers=headers)  # type: ignore[arg-type]
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"


def test_with_the_token_there_is_everything_and_the_page_needs_none(locked: Running) -> None:
    shown = {"Authorization": f"Bearer {TOKEN}"}
    assert locked.client.get(f"{API}/jobs", headers=shown).status_code == 200
    assert locked.client.get("/metrics", headers=shown).status_code == 200
    assert locked.client.get("/").status_code == 200
    assert locked.client.get("/health").status_code == 200


def test_a_live_session_needs_the_token_and_an_own_page(locked: Running) -> None:
    own = f"http://127.0.0.1:{locked.port}"
    for protocols, origin in (
        ([], None),
        (["mien", "token.wrong"], own),
        (["mien", f"token.{TOKEN}"], "http://evil.example"),
        (["mien", f"token.{TOKEN}"], "null"),
    ):
        with pytest.raises(Refused, match="403"):
            LiveClient(locked.port, f"{API}/live", protocols=protocols, origin=origin)
    shown = ["mien", f"token.{TOKEN}"]
    with LiveClient(locked.port, f"{API}/live", protocols=shown, origin=own) as live:
        assert live.subprotocol == "mien"


def test_an_address_is_answered_where_any_is_own_and_a_name_is_not(
    studio: Studio, tmp_path: Path
) -> None:
    served = app(studio, folder=tmp_path, token=TOKEN, literals=True, hosts=("mien.example",))
    guard = next(m for m in served.user_middleware if m.cls is Guard)
    assert guard.kwargs["literals"]
    judged = Guard(served, **guard.kwargs)
    for host, own in (("10.1.2.3", True), ("mien.example", True), ("evil.example", False)):
        scope = {
            "type": "http", "method": "GET", "path": "/health",
            "headers": [(b"host", host.encode())],
        }  # fmt: skip
        assert (judged.objection(scope) is None) == own
    served.state.service.jobs.close()


def test_two_hosts_are_no_host(service: Running) -> None:
    hosts = b"Host: 127.0.0.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    status = answer_to(service.port, b"GET /health HTTP/1.1\r\n" + hosts).split(b" ")[1]
    assert status in (b"400", b"403")


def test_a_port_that_is_taken_is_said_and_small_answers_do_not_wait_for_more() -> None:
    with closing(_listen("127.0.0.1", 0)) as listening:
        assert listening.proto == socket.IPPROTO_TCP  # by which asyncio sets TCP_NODELAY
        with pytest.raises(BackendUnavailable, match="cannot be listened on"):
            _listen("127.0.0.1", listening.getsockname()[1])


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ModuleNotFoundError("No module named 'fastapi'", name="fastapi")

    monkeypatch.setattr("mien.serve.importlib.import_module", missing)
    with pytest.raises(MissingDependency, match=r"pip install 'mien\[serve\]'"):
        _ = mien.serve.run

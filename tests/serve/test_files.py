"""Rows S4 and S8: what there is at an address, and what a browser is told of it."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image
from tests.serve.running import API, Running
from tests.serve.sockets import answer_to

from mien.serve.files import PAGE

UP = ("..", "%2e%2e", "%2E%2E", ".%2e", "..%2f..", "..%5c..", "..;", "%252e%252e", "....//", "..\\")
INSIDE = ("etc/passwd", "index.html", "../../store.py", "windows/win.ini")
ODD = (
    "/C:/windows/win.ini", "/c%3a%5cwindows", "//etc/passwd", "///", "/%00", "/index.html%00.png",
    "/js/%00main.js", "/js/", "/js", "/css/../js/main.js", "/./index.html", "/index.html/",
    "/INDEX.HTML", "/page/index.html", "/portraits/ada.json", "/styles/../bundle.json",
    "/.git/config", "/__init__.py", "/%ff%fe", "/%F0%9F%98%80",
)  # fmt: skip
PATHS = [f"/{up}/{inside}" for up in UP for inside in INSIDE] + list(ODD)


@pytest.mark.parametrize("path", PATHS)
def test_there_is_nothing_beside_the_pages_own_files(service: Running, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    answer = answer_to(service.port, request.encode())
    assert answer.split(b" ")[1] in (b"404", b"307"), answer[:200]
    assert b"root:" not in answer


@pytest.mark.parametrize("where", ["faces", "jobs"])
@pytest.mark.parametrize("name", ["..%2f..%2fetc%2fpasswd", "%00", "0" * 31, "A" * 32, "g" * 32])
def test_a_name_that_is_none_of_ours_names_nothing(service: Running, where: str, name: str) -> None:
    for tail in ("", "/picture"):
        assert service.client.get(f"{API}/{where}/{name}{tail}").status_code in (404, 422)
    unknown = service.client.get(f"{API}/{where}/{'0' * 32}")
    assert unknown.status_code == 404
    assert unknown.json()["hint"]


def test_the_page_runs_its_own_files_alone(service: Running) -> None:
    page = service.client.get("/")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    assert not re.search(r"https?://", page.text)
    assert not re.search(r"\son\w+=|<script(?![^>]*\ssrc=)|\sstyle=", page.text)
    for address in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
        assert service.client.get(address).status_code == 200


@pytest.mark.parametrize("file", sorted(PAGE.rglob("*.*")), ids=lambda path: path.name)
def test_no_file_of_the_page_loads_anything_from_elsewhere(file: object) -> None:
    text = file.read_text().replace("http://www.w3.org/", "")  # type: ignore[attr-defined]
    assert not re.search(r"https?://|@import|innerHTML|eval\(", text)


def test_every_module_that_is_imported_is_there(service: Running) -> None:
    targets = {
        (path.parent / target).resolve().relative_to(PAGE.resolve()).as_posix()
        for path in PAGE.rglob("*.js")
        for target in re.findall(r'from "([^"]+)"', path.read_text())
    }
    assert len(targets) > 20
    for target in targets:
        answer = service.client.get(f"/{target}")
        assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"


def test_a_file_that_the_browser_has_is_not_sent_again(service: Running) -> None:
    first = service.client.get("/js/main.js")
    again = service.client.get("/js/main.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert service.client.head("/js/main.js").status_code == 200


def test_a_picture_is_a_download_of_one_type_that_can_do_nothing(service: Running) -> None:
    face = service.nobody()
    for kind in ("png", "jpeg", "webp"):
        answer = service.client.post(f"{API}/draw", json={"face": face, "kind": kind})
        assert answer.headers["Content-Type"] == f"image/{kind}"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="mien-draw.{kind}"'
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert Image.open(io.BytesIO(answer.content)).format == kind.upper()


@pytest.mark.parametrize("path", ["/", "/health", "/nothing", f"{API}/jobs", "/metrics"])
def test_every_answer_is_guarded(service: Running, path: str) -> None:
    headers = service.client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Frame-Options"] == "DENY"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "server" not in headers

"""The page's files and mien's own pictures, read once, found by their address in a table.

An address is looked up among those that there are; none is ever made into a path.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from mien.bundles import BUILT_IN
from mien.serve.headers import PAGE_POLICY

PAGE = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
}


@dataclass(frozen=True)
class File:
    """A file's bytes, type, and tag by which a browser knows that it has them."""

    data: bytes
    kind: str
    tag: str

    @classmethod
    def of(cls, path: Path) -> File:
        data = path.read_bytes()
        return cls(data, TYPES[path.suffix], f'"{hashlib.sha256(data).hexdigest()[:16]}"')

    def response(self, request: Request) -> Response:
        """Return it, or that the browser has it."""
        headers = {"ETag": self.tag, "Cache-Control": "no-cache"}
        if self.kind.startswith("text/html"):
            headers["Content-Security-Policy"] = PAGE_POLICY
        if request.headers.get("if-none-match") == self.tag:
            return Response(status_code=304, headers=headers)
        return Response(self.data, headers=headers | {"Content-Type": self.kind})


def page_files() -> dict[str, File]:
    """Return the page's files by address."""
    found = {}
    for path in PAGE.rglob("*"):
        if path.suffix in TYPES:
            found["/" + path.relative_to(PAGE).as_posix()] = File.of(path)
    found["/"] = found["/index.html"]
    for kind in ("styles", "portraits"):
        for path in (BUILT_IN / kind).glob("*.jpg"):
            found[f"/{kind}/{path.name}"] = File.of(path)
    return found


def portraits() -> list[str]:
    """Return the addresses of mien's own portraits, of people that there are not."""
    return [f"/portraits/{path.name}" for path in sorted((BUILT_IN / "portraits").glob("*.jpg"))]

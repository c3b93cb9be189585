"""Who may ask: the host that is asked for, the page that asks, and the token.

A page of another site can make a browser send requests to this machine: to its address, or, after
its name was made to resolve to 127.0.0.1 (DNS rebinding), as if they were of one origin. So the
Host header has to name the service, an Origin has to be the service's own, and what a browser
marks as cross-site is refused unless it is a person who follows a link to the page.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Collection, Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from mien.serve.errors import Forbidden, NoToken, ServiceError
from mien.serve.refuse import refuse

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")
SUBPROTOCOL = "mien"  # of the live session; the token comes as another one, "token.TOKEN"
GUARDED = ("/api/", "/metrics")


class Guard:
    """Lets through what is for this service, from its own page or from no page, with the token.

    hosts: names that the service goes by. literals: whether any IP address is one of them; an
        address cannot be rebound, a name can.
    token: what requests below /api and for /metrics must show; None asks for none.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Collection[str], literals: bool, token: str | None
    ) -> None:
        self._app = app
        self._hosts, self._literals, self._token = frozenset(hosts), literals, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if (error := self.objection(scope)) is not None:
            return await refuse(error, scope, receive, send)
        return await self._app(scope, receive, send)

    def objection(self, scope: Scope) -> ServiceError | None:
        """Return why a request is not let through, or None."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            return Forbidden(
                f"the host {', '.join(hosts)[:100]!r} is not this service's",
                hint="Use the address that mien serve printed, or start it with --name",
            )
        if not _from_own_page(headers, hosts[0], scope):
            return Forbidden("the request comes from a page of another site")
        if self._token and scope["path"].startswith(GUARDED):
            shown = _token_of(headers, scope)
            if not secrets.compare_digest(shown.encode(), self._token.encode()):
                return NoToken(
                    "the token is wrong" if shown else "a token is needed",
                    hint="Send Authorization: Bearer TOKEN; in the browser, open the address "
                    "that mien serve printed",
                )
        return None

    def _is_own(self, header: str) -> bool:
        name = host_of(header)
        return name in self._hosts or (self._literals and is_address(name))


def host_of(header: str) -> str:
    """Return the name of a Host header, without the port, in small letters."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]


def is_address(name: str) -> bool:
    """Return whether a host is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Return whether a host to listen on is reached from this machine alone."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def _from_own_page(headers: Mapping[str, str], host: str, scope: Scope) -> bool:
    origin = headers.get("origin")
    if origin is not None:
        return origin.partition("://")[2].lower() == host.lower()
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return True  # programs send no such header
    follows_link = headers.get("sec-fetch-mode") == "navigate" and scope.get("method") == "GET"
    return follows_link and not scope["path"].startswith(GUARDED)


def _token_of(headers: Headers, scope: Scope) -> str:
    """The token as a program or a page sends it; a browser's WebSocket has no other header."""
    kind, _, shown = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return shown.strip()
    if scope["type"] == "websocket":
        asked = scope.get("subprotocols", ())
        return next((part[6:] for part in asked if part.startswith("token.")), "")
    return ""

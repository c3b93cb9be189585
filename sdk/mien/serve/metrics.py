"""Numbers for Prometheus: requests and how long they take, work that waits, jobs, live frames."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
LONG_S = (1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0)
OTHER = "other"  # addresses that there are not: their number would have no bound


class Metrics:
    """What is counted. Any thread may write."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Histogram(
            "mien_request_seconds", "From a request's head to its answer's end",
            labels, buckets=BUCKETS_S, registry=self.registry,
        )  # fmt: skip
        self.draws = Histogram(
            "mien_draw_seconds", "Drawing a picture, the networks included",
            ("verb",), buckets=BUCKETS_S, registry=self.registry,
        )  # fmt: skip
        self.waits = Histogram(
            "mien_wait_seconds", "From a quick request to its beginning",
            buckets=BUCKETS_S, registry=self.registry,
        )  # fmt: skip
        self.jobs = Histogram(
            "mien_job_seconds", "A job from its start to its end",
            ("verb", "state"), buckets=LONG_S, registry=self.registry,
        )  # fmt: skip
        self.refused = Counter(
            "mien_refused", "Requests that were refused", ("code",), registry=self.registry
        )
        self.left = Counter(
            "mien_left", "Requests whose sender left before the work began", registry=self.registry
        )
        self.frames = Histogram(
            "mien_live_frame_seconds", "Drawing a live frame",
            buckets=BUCKETS_S, registry=self.registry,
        )  # fmt: skip

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Add a number that is read when it is asked for."""
        Gauge(name, what, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """Return all of it, in Prometheus' text format."""
        return generate_latest(self.registry)


class Timed:
    """Times every request, by its route and not by its address."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began, status = time.perf_counter(), 500

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            route = getattr(scope.get("route"), "path", OTHER)
            method = scope["method"] if route != OTHER else OTHER
            passed = time.perf_counter() - began
            self._metrics.requests.labels(method, route, str(status)).observe(passed)

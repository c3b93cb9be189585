"""How many requests a service answers, how long they take, and what becomes of clients that vanish.

    python benchmarks/serve_load.py [--seconds 5] [--backend ort]

A service runs as its own process on the loopback interface; clients are threads of this one. Each
asks for a face mixed with another, again as soon as it is answered, as a slider does: 1, 4 and 16
clients. Beside each row stands the time of drawing alone, as the service itself states it, and how
many were turned away because the line was full. Then clients send a request and break the
connection: the service has to draw for none of those that still waited, to have its whole line free
again, and to answer the next one. Last, a job whose sender vanishes has to end. It stops by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import numpy as np
from rounds import machine

API = "/api/v1"
CLIENTS = (1, 4, 16)
VANISHING = 200
PATIENCE_S = 120.0
HOST = "127.0.0.1"


@contextmanager
def service(backend: str | None) -> Iterator[int]:
    """Run `mien serve` on a free port and yield it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mien", "serve", "--port", "0", "--jobs", folder, "--json"]
        command += ["--backend", backend] if backend else []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["address"]
            port = int(address.rpartition(":")[2].strip("/"))
            until = time.monotonic() + PATIENCE_S
            while not asked(port, "GET", "/health")["ready"] and time.monotonic() < until:
                time.sleep(0.2)
            try:
                yield port
            finally:
                process.terminate()
                process.wait(20)


def asked(port: int, method: str, path: str, body: Any = None) -> Any:
    """Ask once and return the JSON that is answered."""
    connection = HTTPConnection(HOST, port, timeout=PATIENCE_S)
    sent = None if body is None else json.dumps(body)
    headers = {} if body is None else {"Content-Type": "application/json"}
    connection.request(method, path, sent, headers)
    answer = connection.getresponse().read()
    connection.close()
    return json.loads(answer) if answer else None


def client(port: int, body: str, until: float, found: list[tuple[int, float, float]]) -> None:
    """Ask again and again on one connection; note status, seconds, and seconds of drawing."""
    connection = HTTPConnection(HOST, port, timeout=PATIENCE_S)
    while time.perf_counter() < until:
        began = time.perf_counter()
        connection.request("POST", f"{API}/draw", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        passed = time.perf_counter() - began
        drawn = re.search(r"draw;dur=([\d.]+)", answer.getheader("Server-Timing") or "")
        found.append((answer.status, passed, float(drawn[1]) / 1e3 if drawn else 0.0))
    connection.close()


def loaded(port: int, body: str, clients: int, seconds: float) -> dict[str, Any]:
    """Return a row: so many clients for so long."""
    found: list[tuple[int, float, float]] = []
    until = time.perf_counter() + seconds
    began = time.perf_counter()
    threads = [
        threading.Thread(target=client, args=(port, body, until, found)) for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    passed = time.perf_counter() - began
    times = [one for status, one, _ in found if status == 200]
    drawing = [one for status, _, one in found if status == 200]
    p50, p99 = (1e3 * float(np.percentile(times, q)) for q in (50, 99))
    return {
        "clients": clients,
        "requests_per_second": round(len(times) / passed, 1),
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
        "draw_p50_ms": round(1e3 * float(np.percentile(drawing, 50)), 1),
        "answered": len(times),
        "turned_away": sum(status == 429 for status, *_ in found),
        "other": sum(status not in (200, 429) for status, *_ in found),
    }


def vanished(port: int, body: str) -> dict[str, Any]:
    """Send requests and break the connections; return what the service did, and has left."""
    request = (
        f"POST {API}/draw HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    before = metrics(port)
    for _ in range(VANISHING):
        with socket.create_connection((HOST, port), timeout=PATIENCE_S) as one:
            one.sendall(request)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until = time.monotonic() + PATIENCE_S
    while (after := metrics(port))["mien_line_length"] and time.monotonic() < until:
        time.sleep(0.05)
    drawn = after["mien_wait_seconds_count"] - before["mien_wait_seconds_count"]
    return {
        "vanished": VANISHING,
        "drawn_all_the_same": int(drawn),
        "left_in_the_line": int(after["mien_line_length"]),
        "next_one_answered": "id" in asked(port, "POST", f"{API}/samples", {"seed": 3}),
    }


def lost_jobs(port: int, steps: int) -> dict[str, Any]:
    """Send a job for each of four faces, look at none of them, and return how they ended."""
    faces = [asked(port, "POST", f"{API}/samples", {"seed": seed})["id"] for seed in range(4)]
    body = {"verb": "project", "steps": steps}
    jobs = [asked(port, "POST", f"{API}/jobs", body | {"face": face})["id"] for face in faces]
    until = time.monotonic() + PATIENCE_S
    states: list[str] = []
    while time.monotonic() < until:
        states = [asked(port, "GET", f"{API}/jobs/{job}")["state"] for job in jobs]
        if all(state in ("done", "failed") for state in states):
            break
        time.sleep(0.2)
    return {"jobs": len(jobs), "done": states.count("done")}


def metrics(port: int) -> dict[str, float]:
    """Return the service's numbers that have no labels."""
    connection = HTTPConnection(HOST, port, timeout=PATIENCE_S)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.MULTILINE)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--backend")
    parser.add_argument("--steps", type=int, default=10, help="of each job")
    options = parser.parse_args()
    os.environ.setdefault("PYTHONPATH", os.pathsep.join(sys.path))
    print(json.dumps(machine()))
    with service(options.backend) as port:
        face, other = (
            asked(port, "POST", f"{API}/samples", {"seed": seed})["id"] for seed in (1, 2)
        )
        body = json.dumps({"face": face, "mix": {"other": other, "coarse": 0.5, "fine": 1.0}})
        loaded(port, body, 1, 1.0)
        for clients in CLIENTS:
            print(json.dumps(loaded(port, body, clients, options.seconds)), flush=True)
        print(json.dumps(vanished(port, body)), flush=True)
        print(json.dumps(lost_jobs(port, options.steps)), flush=True)


if __name__ == "__main__":
    main()

"""Use the service as a program does: a face, a picture with an expression, a job's progress.

python examples/23_serve.py

The service runs in this process here; `mien serve` is one of its own.
"""

import json
import threading
import time
from pathlib import Path
from urllib.request import Request, urlopen

import uvicorn

import mien
from mien.serve import app


def post(path: str, **asked: object) -> bytes:
    kind = {"Content-Type": "application/json"}
    with urlopen(Request(f"{api}/{path}", json.dumps(asked).encode(), kind)) as answer:
        return answer.read()


with mien.Studio("demo", backend="ort") as studio:
    served = uvicorn.Config(app(studio, folder="jobs"), port=0, ws="wsproto", log_level="error")
    server = uvicorn.Server(served)
    threading.Thread(target=server.run).start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]  # a free one: 0 was asked for
    api = f"http://127.0.0.1:{port}/api/v1"
    face = json.loads(post("samples", seed=3))["id"]
    Path("happy.png").write_bytes(post("express", face=face, expression="happy"))
    job = json.loads(post("jobs", verb="project", face=face, steps=8))["id"]
    with urlopen(f"{api}/jobs/{job}/events") as events:  # server-sent, until the job's end
        for line in events:
            print(line.decode().strip()[:120])
    server.should_exit = True

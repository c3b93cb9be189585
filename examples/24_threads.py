"""Serve style transfer over HTTP: a thread for each request, one Studio for all.

python examples/24_threads.py
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.request import urlopen

import mien
from mien.bundles import built_in_styles
from mien.errors import InputError


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # /STYLE/SEED
        style, _, seed = self.path.strip("/").partition("/")
        if style not in built_in_styles() or not seed.isdigit():
            return self.send_error(404)
        try:
            picture = studio.stylize(studio.render(studio.sample(int(seed))), style)
            body = picture.save(f"{style}-{seed}.png").read_bytes()
        except mien.MienError as error:
            status = 400 if isinstance(error, InputError) else 500
            return self.send_error(status, error.code, str(error))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)  # 0: any port that is free
home = f"http://127.0.0.1:{server.server_port}"
with mien.Studio(threads=1) as studio, server, ThreadPoolExecutor(4) as pool:
    Thread(target=server.serve_forever).start()
    for body in pool.map(lambda seed: urlopen(f"{home}/waves/{seed}").read(), range(8)):
        print(f"{len(body)} bytes")
    server.shutdown()

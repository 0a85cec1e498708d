"""A server that plays the Hub for datasets: files of some, and refusals of others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

REFUSED = {"GatedRepo": 403, "RepoNotFound": 401}
"""The `X-Error-Code` of a dataset that nobody may read, and its status."""
_COMMIT = "a" * 40

Datasets = Mapping[str, "Mapping[str, bytes] | str"]
"""The files of a dataset by its name, or why it is refused."""


@contextmanager
def fake_hub(datasets: Datasets) -> Iterator[str]:
    """The address of a server that has these."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *told: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path).removeprefix("/api").strip("/").split("/")
            name, rest = "/".join(path[1:3]), path[3:]
            files = datasets.get(name, "RepoNotFound")
            if isinstance(files, str):
                self._send(REFUSED[files], b"{}", {"X-Error-Code": files})
            elif rest[:1] in ([], ["revision"]):
                told = {"id": name, "sha": _COMMIT, "siblings": [{"rfilename": f} for f in files]}
                self._send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})
            elif rest[:1] == ["tree"]:
                listed = [
                    {"type": "file", "path": file, "size": len(raw), "oid": sha1(raw).hexdigest()}
                    for file, raw in files.items()
                ]
                self._send(200, json.dumps(listed).encode(), {"Content-Type": "application/json"})
            elif rest[:1] == ["resolve"] and "/".join(rest[2:]) in files:
                raw = files["/".join(rest[2:])]
                marks = {"ETag": f'"{sha1(raw).hexdigest()}"', "X-Repo-Commit": _COMMIT}
                self._send(200, raw, marks)
            else:
                self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})

        def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

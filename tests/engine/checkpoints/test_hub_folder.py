"""Names of the Hub, against a server that answers as it does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from architectures import model_folder

from lmm_tui.engine.checkpoints import hub_folder as module
from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.engine.checkpoints.hub_folder import cached_folder, hub_folder, name_of_cached
from lmm_tui.engine.checkpoints.weights import read_weights

COMMIT = "1" * 40
REFUSALS: dict[str, tuple[int, dict[str, str]]] = {
    "gated": (401, {"X-Error-Code": "GatedRepo"}),
    "not-allowed": (403, {"X-Error-Code": "GatedRepo"}),
    "missing": (401, {"X-Error-Code": "RepoNotFound"}),
    "lost": (404, {}),
    "bad-token": (401, {"X-Error-Message": "Invalid credentials"}),
    "disabled": (403, {"X-Error-Message": "Access to this resource is disabled."}),
    "sick": (503, {}),
}


class Hub(ThreadingHTTPServer):
    """Answers by the name that is asked for; `me/old` was renamed to `me/new`."""

    daemon_threads = True

    def __init__(self, files: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.closed = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        if "/me/hangs" in self.path:
            self.server.closed.wait()
        elif "/me/old" in self.path:
            self._answer(307, {"location": self.path.replace("/me/old", "/me/new")}, b"")
        elif "/me/portal" in self.path:
            self._answer(200, {}, b"<html>log in</html>")
        elif "/api/models/me/new" in self.path:
            self._answer(200, {}, json.dumps(self._about()).encode())
        elif f"/me/new/resolve/{COMMIT}/" in self.path:
            data = (self.server.files / self.path.rpartition("/")[2]).read_bytes()
            found = {"etag": f'"{len(data)}"', "x-repo-commit": COMMIT, "accept-ranges": "none"}
            self._answer(200, found, data)
        else:
            name = self.path.partition("/me/")[2].partition("/")[0]
            self._answer(*REFUSALS.get(name, (404, {})), b"{}")

    do_HEAD = do_GET

    def _about(self) -> object:
        names = [file.name for file in self.server.files.iterdir()]
        if "/tree/" in self.path:
            return [{"type": "file", "path": name, "size": 1, "oid": "2" * 40} for name in names]
        siblings = [{"rfilename": name} for name in names]
        return {"id": "me/new", "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}

    def _answer(self, code: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    server = Hub(tmp_path / "files")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    pattern = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", pattern)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.closed.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gated", "its owner asks for consent on 127.0.0.1:.*hf auth login"),
        ("not-allowed", "its owner asks for consent on"),
        ("missing", "neither a path here, nor a model of 127.0.0.1:[0-9]+ that you can see"),
        ("lost", r"answers with error 404 \(Not Found\); give a local folder"),
        ("bad-token", r"answers with error 401 \(Invalid credentials\)"),
        ("disabled", r"answers with error 403 \(Access to this resource is disabled.\)"),
        ("sick", r"answers with error 503 \(Service Unavailable\)"),
        ("portal", "nor in the cache, and 127.0.0.1:[0-9]+ cannot be used"),
        ("hangs", "did not answer within 0.2 s"),
    ],
)
def test_what_the_hub_does_not_give_is_said(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.setattr(module, "_ANSWER_S", 0.2 if name == "hangs" else 60.0)
    with pytest.raises(WeightsError, match=f"^me/{name}: .*{said}"):
        read_weights(Path("me") / name)


def test_a_renamed_model_is_followed_and_serves_from_the_cache_afterwards(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_folder("llama", hub.files)
    weights = read_weights(Path("me/old"))
    assert weights.shape.num_layers == 2
    folder = hub_folder("me/old")
    assert name_of_cached(folder) == "me/old" and name_of_cached(hub.files) is None
    for switch in (("ENDPOINT", "http://127.0.0.1:9"), ("HF_HUB_OFFLINE", True)):
        monkeypatch.setattr(f"huggingface_hub.constants.{switch[0]}", switch[1])
        assert hub_folder("me/old") == cached_folder("me/old") == folder
    with pytest.raises(WeightsError, match="nor in the cache, and HF_HUB_OFFLINE is set"):
        hub_folder("me/new")

"""`convert --push-to-hub`, against a server that speaks the Hub's HTTP."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from small_runs import SMALLEST, curve, train

from lmm_tui.cli.commands.convert import command
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.engine.checkpoints.hub_upload import check_name, upload
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.evaluation.job import EvaluationOutcome, Job, Score
from lmm_tui.engine.evaluation.records import Record, file_in_run, write_record
from lmm_tui.engine.model.decoder import Decoder


class Hub(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.made: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.refuses = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        answer: dict[str, Any] = {}
        if self.server.refuses:
            self._answer({"error": "no"}, self.server.refuses)
            return
        if self.path == "/api/repos/create":
            self.server.made.append(json.loads(body))
            answer = {"url": f"{self.server.address}/me/tiny", "name": "me/tiny", "id": "me/tiny"}
        elif "/preupload/" in self.path:
            named = [file["path"] for file in json.loads(body)["files"]]
            answer = {
                "files": [
                    {"path": name, "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                    for name in named
                ]
            }
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = line["value"]
                    self.server.files[content["path"]] = base64.b64decode(content["content"])
            answer = {
                "commitUrl": f"{self.server.address}/me/tiny/commit/1",
                "commitOid": "1" * 40,
                "hookOutput": "",
                "pullRequestUrl": None,
            }
        self._answer(answer, 200)

    def _answer(self, answer: dict[str, Any], code: int) -> None:
        content = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def source(tmp_path: Path) -> str:
    words = Tokenizer.train(["the cat sat on the mat"] * 9, 280)
    words.save(tmp_path)
    decoder = Decoder(ModelShape(words.vocab_size, 32, 1, 4, 2, 8, 64))
    decoder.init_weights(0)
    torch.save(decoder.state_dict(), tmp_path / "chat_32.pth")
    return str(tmp_path / "chat_32.pth")


def called(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def test_all_that_was_written_arrives_whole_and_private(
    hub: Hub, source: str, tmp_path: Path
) -> None:
    done = called(source, str(tmp_path / "hf"), "--push-to-hub", "me/tiny")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == f"{hub.address}/me/tiny"
    assert hub.made[0]["visibility"] == "private"
    assert {name: data for name, data in hub.files.items() if name != "README.md"} == {
        file.name: file.read_bytes() for file in (tmp_path / "hf").iterdir()
    }
    done = called(source, str(tmp_path / "m.gguf"), "--push-to-hub", "me/tiny", "--public")
    assert done.exit_code == 0 and hub.made[1]["visibility"] == "public"
    assert {"m.gguf", "Modelfile"} <= hub.files.keys()


@pytest.mark.parametrize("code", [401, 403])
def test_who_may_not_write_is_told_what_to_do(hub: Hub, code: int) -> None:
    hub.refuses = code
    with pytest.raises(WeightsError, match=r"does not let you write there; log in with `hf auth"):
        upload({"a.txt": b"a"}, "me/tiny", public=False)


def test_offline_the_model_is_still_written_here(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"cannot be reached \(.*; the model is written here"):
        upload({"a.txt": b"a"}, "me/tiny", public=False)


@pytest.mark.parametrize("name", ["a/b/c", "../x", "", "me/", "a b", "me/x--y", "https://x.y/z"])
def test_what_is_no_name_is_refused_before_anything_is_written(
    name: str, source: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match="is no name of a model"):
        check_name(name)
    done = called(source, str(tmp_path / "hf"), "--push-to-hub", name)
    assert done.exit_code and not (tmp_path / "hf").exists()


def test_the_card_has_data_curves_and_evaluation_and_nothing_private(
    hub: Hub, tmp_path: Path
) -> None:
    runs = tmp_path / "secret-place"
    changes = {"runs_dir": str(runs), "name": "tiny", "device": "cpu", "train.steps": 4}
    more = {"log.val_every": 2, "log.sample_every": 0, "data.cache_dir": str(tmp_path / "cache")}
    run_dir = train(resolve(assignments={**SMALLEST, **changes, **more})).run_dir
    scores = (Score("lmm_sums", "exact_match", 0.25, 0.05, None, 100, None),)
    record = Record(0.0, "tiny", 4, Job("m", ("lmm_sums",)), EvaluationOutcome(scores, 0, "", {}))
    write_record(record, file_in_run(record, run_dir), run_dir)
    done = called("tiny", str(tmp_path / "hf"), "--push-to-hub", "me/tiny", "--runs-dir", str(runs))
    assert done.exit_code == 0, done.output
    card = hub.files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: text-generation\n")
    assert "# tiny" in card and "`builtin`" in card and "| optim.name | adamw |" in card
    last = curve(run_dir)[4]
    assert any(line.startswith("| 4 | " + f"{last:.4f}"[:5]) for line in card.splitlines())
    assert "0.250" in card.partition("Evaluation")[2]
    assert "secret" not in card and str(tmp_path) not in card
    assert run_dir.read_info().host not in card

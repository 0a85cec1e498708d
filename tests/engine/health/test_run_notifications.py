"""Who is told that a run ended, has an alert or met its target."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.sections.notify_config import NotifyConfig
from lmm_tui.engine.health.run_notifications import RunNotifications


@pytest.fixture
def received():
    """The content type and the body of each POST to `received.url`."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            got.append((self.headers["Content-Type"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield got, f"http://127.0.0.1:{server.server_port}/topic"
    server.shutdown()
    server.server_close()


def event(kind: str, message: str, level: str = "info") -> dict:
    return {"time": 0.0, "step": 200, "kind": kind, "level": level, "message": message}


def test_ends_and_alerts_arrive_as_text_and_as_json(received) -> None:
    got, url = received
    section = NotifyConfig(ntfy=url, webhook=url, on=["end", "alert"])
    told = RunNotifications(section, "story", pytest.fail)
    told.event(event("alert", "loss is NaN", "error"))
    told.event(event("alert", "slow", "info"))
    told.event(event("target", "val/loss is 3.1"))
    told.event(event("end", "finished"))
    told.close()
    texts = [body for kind, body in got if kind.startswith("text/plain")]
    assert texts == ["story: loss is NaN (step 200)", "story: finished (step 200)"]
    records = [json.loads(body) for kind, body in got if kind == "application/json"]
    assert [record["kind"] for record in records] == ["alert", "end"]
    assert {record["run"] for record in records} == {"story"}


def test_a_target_is_met_once_and_not_by_nan() -> None:
    told = RunNotifications(NotifyConfig(target="val/loss < 3.2"), "story", pytest.fail)
    rows = [{"val/loss": 3.3}, {"train/loss": 1.0}, {"val/loss": float("nan")}, {"val/loss": 3.1}]
    assert [told.met(row) for row in rows[:3]] == [None] * 3
    assert "3.1" in told.met(rows[3]) and told.met({"val/loss": 2.0}) is None


@pytest.mark.parametrize("target", ["val/loss", "val/loss = 3", "val/loss < x", "< 3"])
def test_what_is_no_target_is_refused(target) -> None:
    with pytest.raises(ConfigError, match=r"notify\.target"):
        resolve(assignments={"notify.target": target})

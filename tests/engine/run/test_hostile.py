"""Hostile clients of a training run: none of them changes it or costs it a step."""

import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import curve

from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.run.control_client import send
from lmm_tui.engine.run.control_protocol import ControlError
from lmm_tui.engine.training.live_model import LiveModel
from lmm_tui.engine.training.run_host import EngineHost
from lmm_tui.metrics.readers.json_lines import JsonlFollower


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineHost]:
    folder = tmp_path_factory.mktemp("hostile")
    tiny = {"vocab_size": 300, "hidden_size": 32, "num_layers": 1, "intermediate_size": 64}
    settings = {
        "runs_dir": str(folder),
        "name": "hostile",
        "device": "cpu",
        "train.steps": 1_000_000,
        "train.threads": 1,
        "data.seq_len": 32,
        "data.builtin_mb": 0.1,
        "data.cache_dir": str(folder / "cache"),
        "log.val_every": 0,
        "log.probe_every": 0,
        "log.sample_every": 0,
        "log.checkpoint_every": 0,
        "log.tensorboard": False,
    }
    settings |= {f"model.{key}": value for key, value in tiny.items()}
    host = EngineHost(resolve(assignments=settings))
    host.start()
    while host.status.status.step < 5:
        assert not host.join(0.01), host.error
    yield host
    host.stop()
    assert host.join(120)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
wrong_values = st.fixed_dictionaries(
    {"command": st.just("set"), "args": st.dictionaries(st.text(max_size=8), junk, max_size=3)}
)
no_commands = st.fixed_dictionaries({"command": junk, "args": junk})
messages = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"[" * 20_000, b"x" * 70_000, b'{"command": "stop"', b"\0\n\x1b[2J", b"\n\n"]),
    st.one_of(wrong_values, no_commands, junk).map(lambda value: json.dumps(value).encode()),
)


@given(sent=st.lists(messages, min_size=1, max_size=12), whole=st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_message_stops_stalls_or_changes_a_run(
    host: EngineHost, sent: list[bytes], whole: bool
) -> None:
    step = host.status.status.step
    before = host.run_dir.config.read_bytes()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(os.fspath(host.run_dir.socket_path()))
        try:
            client.sendall(b"\n".join(sent) + (b"\n" if whole else b""))
            if whole:
                client.recv(1)
        except OSError:
            pass  # The server may close the connection.
    while host.status.status.step == step:
        assert not host.join(0.001), host.error
    assert host.run_dir.config.read_bytes() == before
    assert not any(event.get("ok") for event in JsonlFollower(host.run_dir.events).poll())


WRONG = [
    ("set", {"lr": None}),
    ("set", {"lr": True}),
    ("set", {"lr": "0.1"}),
    ("set", {"lr": [0.1]}),
    ("set", {"lr": {}}),
    ("set", {"log_every": 1e30}),
    ("set", {"log_every": 10**400}),
    ("set", {"val_every": False}),
    ("set", {"clip": float("inf")}),
    ("set", {"clip": float("nan")}),
    ("evaluate", {"tasks": ""}),
    ("evaluate", {"tasks": None}),
    ("evaluate", {"tasks": True}),
    ("evaluate", {"tasks": ["arc_easy"]}),
    ("evaluate", {"tasks": "arc_easy,"}),
    ("evaluate", {"task": "arc_easy"}),
    ("stop", {"checkpoint": None}),
    ("stop", {"checkpoint": 0}),
    ("checkpoint", {"pin": 1}),
    ("checkpoint", {"pin": None}),
    ("pause", {"now": True}),
    ("probe", {"x": None}),
    ("sample", {"prompt": None}),
    ("sample", {"prompt": 7}),
    ("sample", {"prompt": "x", "max_tokens": True}),
    ("sample", {"prompt": "x", "max_tokens": None}),
    ("sample", {"prompt": "x", "temperature": "1"}),
    ("sample", {"prompt": "a long one " * 5_400}),
    ("talk", {"prompt": "a long one " * 5_400}),
    ("talk", {"prompt": None}),
    ("talk", {"prompt": 5}),
    ("talk", {"turns": None}),
    ("talk", {"turns": [["user", None]]}),
    ("talk", {"turns": [[["user"], "x"]]}),
    ("talk", {"turns": {"user": "x"}}),
    ("talk", {"prompt": "x", "so_far": [True]}),
    ("talk", {"prompt": "x", "so_far": [5] * 9000}),
    ("talk", {"prompt": "x", "temperature": None}),
    ("talk", {"prompt": "x", "tokens": 1e30}),
    ("read", {"text": None}),
    ("read", {"text": 12345}),
    ("read", {"text": True}),
    ("rollback", {"before": True}),
    ("rollback", {"before": 1e30}),
]


@pytest.mark.parametrize(("command", "args"), WRONG, ids=lambda given: str(given)[:40])
def test_a_wrong_argument_is_refused_and_training_goes_on(
    host: EngineHost, command: str, args: dict[str, object]
) -> None:
    reply = send(host.run_dir.socket_path(), command, args, timeout_s=120)
    assert not reply.ok and len(reply.message) < 300
    step = host.status.status.step
    while host.status.status.step == step:
        assert not host.join(0.001), host.error


WORDS = st.sampled_from(
    ["lr", "clip", "log_every", "prompt", "max_tokens", "tasks", "pin", "before", "turns", "text"]
)


@given(
    command=st.sampled_from(["set", "sample", "talk", "read", "evaluate", "rollback", "probe"]),
    args=st.dictionaries(WORDS, junk, min_size=1, max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_asked_is_answered(
    host: EngineHost, command: str, args: dict[str, object]
) -> None:
    send(host.run_dir.socket_path(), command, args, timeout_s=120)
    assert not host.join(0), host.error


def test_an_exception_of_a_command_is_its_answer(
    host: EngineHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(live: object) -> str:
        raise ZeroDivisionError("in the model")

    monkeypatch.setattr(LiveModel, "validate", fails)
    reply = send(host.run_dir.socket_path(), "evaluate")
    assert not reply.ok and reply.message == "evaluate: ZeroDivisionError: in the model"
    assert not host.join(0), host.error


def test_afterwards_two_monitors_are_served_at_once_and_no_step_is_missing(
    host: EngineHost,
) -> None:
    reply = send(host.run_dir.socket_path(), "set", {"lr": 1e-5})
    assert reply.ok and reply.step <= host.status.status.step
    path = host.run_dir.socket_path()
    with ThreadPoolExecutor(2) as monitors:
        asked = [monitors.submit(send, path, "set", {"clip": 1 + n / 10}) for n in range(20)]
        asked += [monitors.submit(send, path, name) for name in ("pause", "resume") * 3]
        replies = [one.result(120) for one in asked]
    assert all(one.ok and one.step >= reply.step for one in replies)
    assert send(path, "resume").ok
    stopped = send(path, "stop")
    assert host.join(120) and stopped.ok
    assert list(curve(host.run_dir)) == list(range(1, stopped.step + 1))
    with pytest.raises(ControlError, match="not active"):
        send(path, "pause")
    assert not host.mailbox.send("pause").result(120).ok


def test_a_client_sends_nothing_to_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(os.fspath(path))
        stranger.listen()
        monkeypatch.setattr(
            "lmm_tui.engine.run.peer_credentials.os.geteuid", lambda: os.getuid() + 1
        )
        with pytest.raises(ControlError, match="another user listens"):
            send(path, "set", {"lr": 1e-5}, timeout_s=120)

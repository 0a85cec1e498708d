"""The live model and a checkpoint take the same commands and give the same replies."""

import json
import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from lmm_tui.cockpit.chat_backend import (
    ChatBackend,
    CheckpointBackend,
    SamplingOptions,
    backends,
    label_of,
    parse_sampling,
    recent,
    reply_to,
    shaped,
)
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.training.run_host import EngineHost

GREEDY = SamplingOptions(temperature=0, max_tokens=20)
TURNS = [["user", "the cat"]]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A run that really trains, paused after some steps, with a checkpoint of just there."""
    folder = tmp_path_factory.mktemp("talk")
    settings = {
        "runs_dir": folder,
        "name": "talker",
        "device": "cpu",
        "train.steps": 1_000_000,
        "train.threads": 1,
        "data.seq_len": 32,
        "data.builtin_mb": 0.1,
        "data.cache_dir": folder / "cache",
        "model.vocab_size": 300,
        "model.hidden_size": 32,
        "model.num_layers": 1,
        "model.intermediate_size": 64,
        "log.val_every": 0,
        "log.probe_every": 0,
        "log.sample_every": 0,
        "log.checkpoint_every": 0,
        "log.tensorboard": False,
    }
    host = EngineHost(resolve(assignments={key: str(value) for key, value in settings.items()}))
    host.start()
    while host.status.status.step < 5:
        assert not host.join(0.01), host.error
    session = Reader(host.run_dir.path)
    assert session.send("pause").ok
    assert session.send("checkpoint").ok
    yield host
    host.stop()
    assert host.join()


@pytest.fixture
def session(host):
    return Reader(host.run_dir.path)


def said(partner, *, piece, manner=GREEDY, stopped=lambda: False):
    replies = [*reply_to(partner, TURNS, manner, seed=1, stopped=stopped, piece=piece)]
    assert all(reply.ok for reply in replies), replies
    return replies


def test_a_reply_in_pieces_is_the_reply_in_one_go(session):
    live = backends(session.run_dir)[0]
    pieces, whole = said(live, piece=3), said(live, piece=20)
    assert len(pieces) > 1 == len(whole)
    assert pieces[-1].data["text"] == whole[0].data["text"]
    texts = [reply.data["ids"] for reply in pieces]
    assert all(late[: len(early)] == early for early, late in pairwise(texts))


def test_a_checkpoint_says_and_reads_what_the_model_did_and_outlives_its_process(
    session, forked_children
):
    assert session.send("checkpoint").ok  # Another test may have trained the model further.
    live, saved = backends(session.run_dir)
    try:
        assert said(saved, piece=20)[-1].data == said(live, piece=20)[-1].data
        assert label_of(saved).endswith(" · cpu fp32")
        asked = {"text": "the cat sat on the mat"}
        mine, its = live.ask("read", asked), saved.ask("read", asked)
        assert mine.data["tokens"] == its.data["tokens"]
        assert mine.data["losses"][1:] == pytest.approx(its.data["losses"][1:], abs=1e-3)
        (child,) = forked_children
        child.kill()
        child.wait()
        assert "ask again" in saved.ask("talk", {"prompt": "x"}).message
        assert saved.ask("talk", {"prompt": "x"}).ok
    finally:
        saved.close()
    assert len(forked_children) == 2
    assert all(child.poll() is not None for child in forked_children)


def test_a_token_that_is_likeliest_has_the_loss_of_its_probability(session):
    read = backends(session.run_dir)[0].ask("read", {}).data
    assert read["losses"][0] is None and read["top"][0] == []
    for token, loss, top in list(zip(read["tokens"], read["losses"], read["top"], strict=True))[1:]:
        assert len(top) == 5
        chances = [chance for _, chance in top]
        assert chances == sorted(chances, reverse=True) and sum(chances) <= 1.001
        for word, chance in top:
            if word == token:
                assert 2.718281828**-loss == pytest.approx(chance, abs=1e-3)
                break


def test_commands_to_the_model_are_no_events_and_training_keeps_running(session, host):
    before = host.run_dir.events.read_text()
    live = backends(session.run_dir)[0]
    steps = []
    assert session.send("resume").ok
    try:
        deadline = time.monotonic() + 120
        while len(set(steps)) < 3 and time.monotonic() < deadline:
            steps.append(live.ask("talk", {"prompt": "the", "tokens": 2}).step)
    finally:
        assert session.send("pause").ok
    assert len(set(steps)) >= 3
    new = host.run_dir.events.read_text().removeprefix(before).splitlines()
    assert "talk" not in "".join(json.loads(line)["message"] for line in new)


def test_a_reply_stops_when_told(session):
    asked = []
    live = backends(session.run_dir)[0]
    replies = said(live, piece=2, stopped=lambda: len(asked) > 1 or asked.append(1))
    assert len(replies) == 2


@pytest.mark.parametrize(
    "command, args, words",
    [
        ("talk", {}, "turns: expected"),
        ("talk", {"turns": [["robot", "x"]]}, "turns: expected"),
        ("talk", {"turns": [["user", 3]]}, "turns: expected"),
        ("talk", {"turns": 7}, "turns: expected"),
        ("talk", {"prompt": "x", "so_far": [10**9]}, "so_far: expected"),
        ("talk", {"prompt": "x", "so_far": [True]}, "so_far: expected"),
        ("talk", {"prompt": "x", "tokens": 0}, "tokens: expected"),
        ("talk", {"prompt": "x", "seed": "a"}, "seed: expected"),
        ("talk", {"prompt": "x", "temperature": -1}, "temperature"),
        ("talk", {"prompt": "x", "colour": "red"}, "unknown option colour"),
        ("read", {"text": "x"}, "two tokens"),
        ("read", {"texts": "x"}, "unknown option texts"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_in_a_sentence(session, command, args, words):
    reply = backends(session.run_dir)[0].ask(command, args)
    assert not reply.ok and words in reply.message


def test_a_checkpoint_that_cannot_be_read_says_why_and_leaves_no_process(tmp_path, forked_children):
    path = tmp_path / "run" / "checkpoints" / "step-000000003"
    path.mkdir(parents=True)
    partner = CheckpointBackend(path)
    reply = partner.ask("talk", {"prompt": "x"})
    assert not reply.ok and "config.toml" in reply.message
    partner.close()
    assert [child.poll() is None for child in forked_children] == [False]
    assert not partner.ask("talk", {"prompt": "x"}).ok


def test_a_long_talk_fits_into_a_line_of_the_control_socket():
    turns = [["user" if n % 2 == 0 else "assistant", "小" * 900] for n in range(41)]
    kept = recent(turns)
    assert len(json.dumps(kept)) < 40_000
    assert kept[-1] == turns[-1] and kept[0][0] == "user"
    assert len(json.dumps(recent([["user", "😀" * 100_000]]))) < 60_000


@pytest.mark.parametrize("text", ["top_p=0", "heat=1", "max_tokens=x", "temperature", "top_p=2"])
def test_invalid_sampling_options_are_refused(text):
    with pytest.raises(ValueError, match=text.partition("=")[0]):
        parse_sampling(text)


def test_sampling_options_are_parsed_as_they_are_printed():
    manner = SamplingOptions(0.5, 0.9, 40)
    assert parse_sampling(str(manner)) == manner
    assert parse_sampling("") == SamplingOptions()


ODD_REPLIES = [
    ("talk", {}),
    ("talk", {"ids": ["1"], "text": "x", "ended": True}),
    ("talk", {"ids": [1], "text": ["x"], "ended": True}),
    ("talk", {"ids": [1], "text": "x", "ended": "no"}),
    ("read", {"tokens": ["a"], "losses": [], "top": [[]]}),
    ("read", {"tokens": "a", "losses": [1.0], "top": [[]]}),
    ("read", {"tokens": ["a"], "losses": ["1"], "top": [[]]}),
    ("read", {"tokens": ["a"], "losses": [1.0], "top": [[["a"]]]}),
    ("read", {"tokens": ["a"], "losses": [1.0], "top": [[["a", "b"]]]}),
    ("read", {"tokens": ["a"], "losses": [1.0], "top": [5]}),
]


@pytest.mark.parametrize(("command", "data"), ODD_REPLIES)
def test_a_reply_of_another_shape_is_a_failed_one(command: str, data: dict[str, Any]) -> None:
    refused = shaped(command, Reply(True, "fine", 3, data))
    assert not refused.ok and "update lmm-tui" in refused.message


def test_a_reply_of_the_right_shape_is_kept() -> None:
    talked = Reply(True, "x", 3, {"ids": [1], "text": "x", "ended": False})
    read = {"tokens": ["a", "b"], "losses": [None, 1.5], "top": [[], [["b", 0.5]]]}
    assert shaped("talk", talked) is talked
    assert shaped("read", Reply(True, "x", 3, read)).ok


def test_a_reply_that_does_not_grow_is_the_last() -> None:
    class Stuck(ChatBackend):
        name = "stuck"

        def ask(self, command: str, args: Mapping[str, Any]) -> Reply:
            return Reply(True, "x", 3, {"ids": [1], "text": "x", "ended": False})

        def close(self) -> None:
            pass

    options = SamplingOptions()
    turns = [["user", "hello"]]
    replies = reply_to(Stuck(), turns, options, seed=0, stopped=lambda: False)
    assert len(list(replies)) == 2

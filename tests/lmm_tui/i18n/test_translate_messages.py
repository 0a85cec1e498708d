"""Messages of the lower layers are Chinese where they are shown, with their values."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from repository import ROOT
from templates import finished, sentences

from lmm_tui.cli import main
from lmm_tui.cli.progress_printer import event_line
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.control_protocol import decode_reply, encode_reply
from lmm_tui.engine.run.events import EventLog, RunEvent
from lmm_tui.engine.run.history import RunHistory
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import RunStatus
from lmm_tui.errors import LmmError
from lmm_tui.i18n import language
from lmm_tui.i18n.language import catalogue
from lmm_tui.i18n.translate_messages import is_joint, messages, translate_message
from lmm_tui.message import PLACE, Message

CHINESE = messages("zh")
LIBRARIES = tomllib.loads((ROOT / "lmm_tui/i18n/zh/messages/libraries.toml").read_text("utf-8"))
"""What libraries word: templates that do not stand in our code."""


def places(template: str) -> Counter[str]:
    return Counter(place[0] for place in PLACE.finditer(template))


def test_every_template_in_the_code_has_its_chinese() -> None:
    known = CHINESE.keys() | catalogue("zh").keys()
    missing = {
        sentence.template: sentence.place
        for sentence in sentences()
        if sentence.template not in known and not is_joint(sentence.template)
    }
    assert not missing


def test_no_template_is_an_f_string() -> None:
    assert not finished()


def test_every_place_has_a_value() -> None:
    without = {
        sentence.place: sentence.template
        for sentence in sentences()
        if {place["name"] for place in PLACE.finditer(sentence.template)} - sentence.values
    }
    assert not without


def test_the_chinese_has_no_template_that_is_not_in_the_code() -> None:
    assert not CHINESE.keys() - {it.template for it in sentences()} - LIBRARIES.keys()


def test_the_chinese_has_the_places_of_the_english() -> None:
    assert not [key for key in CHINESE if places(key) != places(CHINESE[key])]


def test_english_is_shown_as_it_is() -> None:
    refusal = Message("not evaluated: {why}", why="x")
    assert translate_message(refusal) == "not evaluated: x"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("plot", "nowhere", "--text"), "nowhere：runs 中没有这次运行；用 `lmm-tui runs` 列出"),
        (
            ("train", "--config", "odd.toml"),
            "odd.toml:2：train.stepz：未知的键；是否指 train.steps？",
        ),
        (
            ("train", "--data", "odd.jsonl", "--steps", "1"),
            'odd.jsonl:1：没有 "text"；实际有 "txt"；请指定列，例如 --set data.columns.text=列名；'
            "1 行中有 1 行有误，超过 1%：请修正或去掉它们",
        ),
        (
            ("train", "--stp", "1"),
            "没有选项 '--stp'。（是否指其一：'--set'、'--steps'、'--trust'？）；"
            "见 `lmm-tui train --help`",
        ),
        (("runs", "--nonsense"), "没有选项 '--nonsense'；见 `lmm-tui runs --help`"),
        (("train", "--steps", "x"), "'--steps' 的值不对：'x' 不是整数；见 `lmm-tui train --help`"),
    ],
)
def test_a_refusal_is_chinese_but_for_names(
    args: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd.toml").write_text("[train]\nstepz = 3\n")
    Path("odd.jsonl").write_text('{"txt": "one"}\n')
    Path("runs").mkdir()
    try:
        assert main.run(["--lang", "zh", *args]) == main.USER_ERROR
    finally:
        language.use("en")
    assert capfd.readouterr().err.strip() == f"lmm-tui: {said}"


INFINITE = Message("{name} is {value}", name="train/loss", value=float("nan"))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            Message("{shown}; first bad layer {first}", shown=[INFINITE], first="layers.0"),
            "train/loss 为 nan；最先出问题的层为 layers.0",
        ),
        (
            Message("{path}: {why}", path="a.txt", why=LmmError("is empty")),
            "a.txt：是空的",
        ),
        (
            Message(
                "{path}: cannot be read ({error})",
                path="a.txt",
                error=OSError(28, "No space left on device"),
            ),
            "a.txt：无法读取（[Errno 28] 设备上没有空间了）",
        ),
    ],
)
def test_messages_in_messages_are_translated_and_names_are_not(
    in_chinese: None, message: Message, said: str
) -> None:
    assert translate_message(message) == said


def test_what_others_say_is_left_as_it_is(in_chinese: None) -> None:
    for text in ("RuntimeError: shapes cannot be multiplied (3x4, 5x6)", "no validation data", ""):
        assert translate_message(text) == text
    stranger = Message("made up by {who.__class__}", who="x")
    assert translate_message(stranger) == "made up by {who.__class__}"


def test_an_event_is_told_in_chinese(in_chinese: None) -> None:
    what = Message("loss is {loss}, gradient norm {norm}", loss=float("nan"), norm=2)
    assert (
        event_line(RunEvent(9, "alert", what, "error"))
        == "!! 第 9 步：告警：损失为 nan，梯度范数为 2"
    )


def test_what_a_run_wrote_is_chinese_where_it_is_read(in_chinese: None, tmp_path: Path) -> None:
    refusal = LmmError(
        "{path}: is damaged; delete {parent}, and it will be made again", path=1, parent=2
    )
    samples = [
        Message("{what}; lower the learning rate if more follow", what=str(refusal)),
        Message("{rule}: {done}", rule=3, done=Message("a checkpoint is written")),
        Message("tokenising"),
        str(refusal),
    ]
    run = RunDir(tmp_path)
    events = EventLog(run)
    for message in samples:
        events.write("alert", message, step=9)
        run.write_status(RunStatus(error=message, verdict={"text": message, "step": 9}))
        reply = decode_reply(encode_reply(Reply(False, message)))
        status = run.read_status()
        for text in (status.error, status.verdict["text"], reply.message):
            assert text == message
            assert not re.search("[A-Za-z]", translate_message(str(text)))
    events.close()
    found, _ = RunHistory(run).poll()
    assert [event.message for event in found] == samples
    assert not re.search("[A-Za-z]", "".join(map(event_line, found)))

"""What the floors below word is Chinese where it is shown, with all that was said in it."""

from __future__ import annotations

import itertools
import string
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import PROGRAM
from repository import ROOT
from spoken import said_by_floors

from lmm_tui.cli.progress_printer import event_line
from lmm_tui.i18n.language import catalogue
from lmm_tui.i18n.translate_messages import LONGEST, MessageTemplate, messages, translate_message

CHINESE = messages("zh")
MATCHES = MessageTemplate.matches
OTHERS = tomllib.loads((ROOT / "lmm_tui/i18n/zh/messages/libraries.toml").read_text("utf-8"))
"""What libraries word, and how sentences are joined."""
TEMPLATES = [english for english in CHINESE if "{0}" in english]


def test_all_that_the_floors_say_has_its_chinese() -> None:
    said = said_by_floors()
    missing = {text: said[text] for text in said.keys() - CHINESE.keys() - catalogue("zh").keys()}
    assert not missing


def test_the_chinese_has_nothing_that_the_floors_do_not_say() -> None:
    assert not CHINESE.keys() - said_by_floors().keys() - OTHERS.keys()


def places(text: str) -> Counter[str]:
    return Counter(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


def test_a_sentence_is_told_again_with_all_that_stands_in_it(in_chinese: None) -> None:
    for english in TEMPLATES:
        template = MessageTemplate(english, CHINESE[english])
        count = len(template.literals) - 1
        assert places(english) == places(CHINESE[english]) == Counter(map(str, range(count)))
        values = [f"value-{at}" for at in range(count)]
        said = template.translation.format(*values)
        assert translate_message(english.format(*values)) == said or template.is_joint


def test_whatever_stands_in_a_sentence_it_is_told(in_chinese: None) -> None:
    @given(st.sampled_from(TEMPLATES), st.lists(st.text(), min_size=8, max_size=8))
    def check(english: str, values: list[str]) -> None:
        sentence = english.format(*values)
        same = CHINESE[english].format(*values) == sentence
        assert (
            translate_message(sentence) != sentence or same or MessageTemplate(english, "").is_joint
        )

    check()


def test_english_is_told_as_it_is() -> None:
    refusal = "/runs/fox: no such run in /runs; `lmm-tui runs` lists them"
    assert translate_message(refusal) == refusal


def refused(*args: str, folder: Path) -> str:
    """What the program says of a refused command line under `--lang zh`."""
    done = subprocess.run(
        [*PROGRAM, "--lang", "zh", *args],
        capture_output=True,
        check=False,
        cwd=folder,
        encoding="utf-8",
        env={"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 2, done.stderr
    return done.stderr.strip()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("plot", "nowhere", "--text"), "nowhere：runs 中没有这个训练；用 `lmm-tui runs` 列出"),
        (
            ("train", "--config", "odd.toml"),
            "odd.toml:2：train.stepz：未知的键；是否指 train.steps？",
        ),
        (
            ("train", "--data", "odd.jsonl", "--steps", "1"),
            'odd.jsonl:1：没有键 "text"；1 行中有 1 行有误，超过 1%：请修正或去掉它们',
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
    tmp_path: Path, args: tuple[str, ...], said: str
) -> None:
    (tmp_path / "odd.toml").write_text("[train]\nstepz = 3\n")
    (tmp_path / "odd.jsonl").write_text('{"txt": "one"}\n')
    (tmp_path / "runs").mkdir()
    assert refused(*args, folder=tmp_path) == f"lmm-tui: {said}"


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        (
            "warning: the gradient of layers.0 is 12x the median at step 14; suspect too high "
            "an LR, or the layer's initialisation: gradients explode there (and 2 more)",
            "警告：第 14 步 layers.0 的梯度是中位数的 12 倍；"
            "疑为学习率过高，或该层初始化不当：梯度在此爆炸（另有 2 项）",
        ),
        (
            "train/loss is nan, train/grad_norm is inf; first bad layer layers.0",
            "train/loss 为 nan，train/grad_norm 为 inf；最先出问题的层为 layers.0",
        ),
        (
            "loss is nan, gradient norm nan: step left out, back to the weights of step-1, "
            "learning rate x 0.5",
            "损失为 nan，梯度范数为 nan：该步略过，退回 step-1 的权重，学习率 x 0.5",
        ),
        ("val loss 2.31, val PPL 10.1", "验证损失 2.31，验证 PPL 10.1"),
        ("entropy 0.125, top1_acc 0.5", "熵 0.125，top-1 准确率 0.5"),
        ("tokenising 45%", "分词 45%"),
        (
            "unknown command 'x'; choose from pause, resume, stop",
            "未知命令 'x'；可选 pause、resume、stop",
        ),
        (
            "Missing argument 'COMMAND'. Choose from: pause, resume; see `lmm-tui send --help`",
            "缺少参数 'COMMAND'。可选：pause、resume；见 `lmm-tui send --help`",
        ),
        (
            "No such option: --stp (Possible options: --set, --steps); see `lmm-tui --help`",
            "没有选项 --stp。（是否指其一：--set、--steps？）；见 `lmm-tui --help`",
        ),
        ("x86_64 CPU, 1 thread", "x86_64 CPU，1 线程"),
        (
            "data.seq_len: not even one pair of answers of 128 tokens fits into the memory of "
            "cuda:0; take a smaller model, or data.seq_len 64",
            "data.seq_len：cuda:0 的内存连一个 128 词元的偏好对也放不下；"
            "请用更小的模型，或把 data.seq_len 设为 64",
        ),
    ],
)
def test_sentences_in_sentences_are_told_again_and_names_are_not(
    in_chinese: None, sentence: str, said: str
) -> None:
    assert translate_message(sentence) == said


def test_what_others_say_is_left_as_it_is(in_chinese: None) -> None:
    for sentence in ("RuntimeError: shapes cannot be multiplied (3x4, 5x6)", "x: y; z", "a, b", ""):
        assert translate_message(sentence) == sentence
    assert translate_message(long := "a: " * 100_000) == long


def test_the_work_for_a_sentence_full_of_joints_grows_with_its_square_at_most(
    in_chinese: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = itertools.count()

    def matches(template: MessageTemplate, message: str) -> Iterator[list[str]]:
        next(tried)
        return MATCHES(template, message)

    monkeypatch.setattr(MessageTemplate, "matches", matches)
    translate_message("; ".join(f"a{at}: b c, d e" for at in range(100))[:LONGEST])
    assert 1000 < next(tried) < 50_000


def test_an_event_is_told_in_chinese(in_chinese: None) -> None:
    event = {
        "step": 9,
        "kind": "alert",
        "level": "error",
        "message": "loss is nan, gradient norm 2",
    }
    assert event_line(event) == "!! 第 9 步：告警：损失为 nan，梯度范数为 2"

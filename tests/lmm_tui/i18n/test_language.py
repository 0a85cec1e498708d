"""All that the interface says in English it says in Chinese, and in the language asked for."""

from __future__ import annotations

import re
import string
import subprocess
from pathlib import Path

import pytest
from fake_run import FakeRun
from looking import screen_text, settled, until_read
from processes import PROGRAM
from repository import ROOT
from rich.cells import cell_len
from said import CHINESE, said_from_tables, said_in_code
from syrupy.assertion import SnapshotAssertion

from lmm_tui.cli import main
from lmm_tui.cli.command_line import COMMANDS
from lmm_tui.cli.commands.eval import _translate_line
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.keys import KEYS
from lmm_tui.engine.run.reader import Reader
from lmm_tui.i18n import language
from lmm_tui.i18n.language import locale_language, tr


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_all_that_is_said_has_its_chinese() -> None:
    missing = (said_in_code() | said_from_tables()) - CHINESE.keys()
    assert not missing


def test_the_chinese_has_nothing_that_nobody_says() -> None:
    said = said_in_code() | said_from_tables()
    assert not CHINESE.keys() - said


def test_a_translation_has_the_same_places_for_values() -> None:
    for english, chinese in CHINESE.items():
        if "{" in english:
            assert places(english) == places(chinese), english


@pytest.mark.parametrize(
    ("environment", "spoken"),
    [
        ({"LC_ALL": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW.UTF-8"}, "zh"),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "", "LC_MESSAGES": "zh_CN.UTF-8", "LANG": "de_DE.UTF-8"}, "zh"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
        ({}, "en"),
    ],
)
def test_the_locale_chooses_as_posix_has_it(environment: dict[str, str], spoken: str) -> None:
    assert locale_language(environment) == spoken


@pytest.mark.parametrize(
    ("args", "locale", "encoding", "chinese"),
    [
        ([], "zh_CN.UTF-8", "utf-8", True),
        (["--lang", "en"], "zh_CN.UTF-8", "utf-8", False),
        (["--lang", "zh"], "en_US.UTF-8", "utf-8", True),
        (["--lang", "zh"], "en_US.UTF-8", "latin-1", False),
    ],
)
def test_what_is_asked_for_wins_over_the_locale(
    args: list[str], locale: str, encoding: str, chinese: bool
) -> None:
    done = subprocess.run(
        [*PROGRAM, *args, "--help"],
        capture_output=True,
        env={"LC_ALL": locale, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert ("列出" in done.stdout.decode(encoding)) is chinese, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_is_chinese_in_lines_that_fit(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        assert main.run(["--lang", "zh", name, "--help"]) == 0
        first = capsys.readouterr().out
        assert main.run([name, "--help", "--lang", "zh"]) == 0
        assert capsys.readouterr().out == first
    finally:
        language.use("en")
    assert not re.search(r"[a-z]+ [a-z]+ [a-z]+ [a-z]+", first), "four English words in a row"
    assert max(map(cell_len, first.splitlines())) <= 90  # Examples stay as they are written.


def test_a_wrong_option_is_refused_in_the_language_asked_for_behind_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        assert main.run(["runs", "--no-such-thing", "--lang=zh"]) == main.USER_ERROR
    finally:
        language.use("en")
    assert re.search(r"[\u4e00-\u9fff]", capsys.readouterr().err)


def test_a_word_that_means_two_things_is_said_by_what_it_is_about(in_chinese: None) -> None:
    assert tr("run") == "运行" and tr("run", about="Evaluate") == "开始评测"
    titles = {key.id: key.label for key in KEYS}
    assert titles["runs.resume"] == "续训" and tr("quit", about="Evaluate") == tr("quit")


def test_the_head_of_a_table_of_scores_keeps_its_columns(in_chinese: None) -> None:
    head = "TASK      METRIC       QUESTIONS  CHANCE        STEP 40"
    said = _translate_line(head)
    assert cell_len(said) == len(head) and "第40步" in said and not re.search("[A-Z]", said)


def test_english_is_as_it_stands() -> None:
    assert tr("quit") == "quit" and tr("{count} of {all}", count=3, all=4) == "3 of 4"


@pytest.mark.parametrize("size", [(200, 50), (80, 24)], ids="{0[0]}x{0[1]}".format)
async def test_the_dashboard_in_chinese_keeps_its_columns(
    in_chinese: None, tmp_path: Path, snapshot: SnapshotAssertion, size: tuple[int, int]
) -> None:
    run = FakeRun(tmp_path / "first-words", host="gpu-box", pid=4242)
    run.train(1, 400)
    async with CockpitApp(Reader(run.dir.path)).run_test(size=size) as pilot:
        await until_read(pilot, "训练中")
        await settled(pilot)
        seen = screen_text(pilot.app)
    run.close()
    assert all(cell_len(line) <= size[0] for line in seen.splitlines())
    assert seen == snapshot

"""One corpus of hostile strings goes through every command, export and picture: nothing of it comes
out as it went in, and pictures and tables are well-formed."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hostile_strings import CORPUS, EVIL, FORMULAS, hostile_run, unsafe
from looking import screen_text
from processes import ROOT

from lmm_tui.cli.command_line import COMMANDS
from lmm_tui.cli.main import run
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.terminal.safe_streams import cleaned_errors

PRINTABLE = EVIL.replace("\0", "")
"""An argument holds no NUL."""

WORDS = {
    "launch": ["launch", "--detach", "--set", f"optim.lr={PRINTABLE}"],
    "train": ["train", "--print-config", "--set", f"log.prompts={json.dumps([EVIL])}"],
    "train, a stage": ["train", "--set", f"stage={PRINTABLE}"],
    "train, a key": ["train", "--set", f"{PRINTABLE}=1"],
    "train, a file": ["train", "--config", PRINTABLE[:60]],
    "parity": ["parity", PRINTABLE[:60]],
    "plan": ["plan", PRINTABLE[:60]],
    "plan, a card": ["plan", "--gpu", EVIL],
    "plan, a run": ["plan", "{run}", "--gpu", "h100", "--measured", "{run}"],
    "train, weights": ["train", "--from", "{run}", "--steps", "1", "--runs-dir", "{out}"],
    "resume": ["resume", "{run}"],
    "pipeline": ["pipeline", PRINTABLE[:60]],
    "sweep": ["sweep", "--set", f"optim.lr={PRINTABLE[:40]},1"],
    "sweep, a name": ["sweep", PRINTABLE[:60]],
    "worker": ["worker", PRINTABLE[:60]],
    "monitor": ["monitor", "{run}"],
    "runs": ["runs", "--runs-dir", "{runs}"],
    "runs as JSON": ["runs", "--json", "--runs-dir", "{runs}"],
    "runs as CSV": ["runs", "--csv", "--runs-dir", "{runs}"],
    "runs, filtered": ["runs", f"{PRINTABLE[:40]}=1", PRINTABLE[:40], "--runs-dir", "{runs}"],
    "runs, columns": ["runs", "--columns", f"name,note,{PRINTABLE[:40]}", "--runs-dir", "{runs}"],
    "tag": ["tag", "{run}", PRINTABLE[:40]],
    "tag, a run": ["tag", PRINTABLE[:60], "night"],
    "status": ["status", "{run}"],
    "status as JSON": ["status", "--json", "{run}"],
    "plot": ["plot", "--text", "{run}"],
    "plot to a file": ["plot", "{run}", "-o", "{out}/page.svg"],
    "plot the screen": ["plot", "{run}", "--screen", "{out}/screen.svg"],
    "compare": ["compare", "{run}", "{run}/metrics.jsonl"],
    "compare as JSON": ["compare", "{run}", "--json"],
    "compare, a column": ["compare", "{run}", "-o", "{out}/x.svg", "--x", PRINTABLE[:40]],
    "report": ["report", "{run}", "-o", "{out}/report.html"],
    "report as Markdown": ["report", "{run}", "-o", "{out}/report.md"],
    "spikes": ["spikes", "{run}"],
    "spikes as JSON": ["spikes", "--json", "{run}"],
    "health": ["health", "{run}"],
    "health as JSON": ["health", "--json", "{run}"],
    "health, rules": ["health", "{run}", "--rules", "{run}/note.txt"],
    "export": ["export", "{run}", "--to", "csv", "-o", "{out}/rows.csv"],
    "export, a metric": ["export", "{run}", "--to", "csv", "--metric", PRINTABLE],
    "send": ["send", "{run}", "set", f"{PRINTABLE}=1"],
    "eval": ["eval", "--run", "{run}"],
    "eval, a folder": ["eval", "--model-path", "{run}", "--tasks", "arc_easy"],
    "convert": ["convert", "{run}", "{out}/model"],
    "mcp": ["mcp", "--runs-dir", "{run}/note.txt", "--help"],
    "serve-run": ["serve-run", PRINTABLE[:60]],
    "data": ["data", "{run}/samples.jsonl"],
    "data as JSON": ["data", "--json", "{run}/samples.jsonl"],
    "data, a file": ["data", PRINTABLE[:60]],
    "data, a column": ["data", "{run}/samples.jsonl", "--column", f"text={PRINTABLE[:40]}"],
    "cache": ["cache", "list", "--cache-dir", "{runs}"],
    "cache, a folder": ["cache", "prune", "--cache-dir", PRINTABLE[:60]],
    "names": ["names"],
    "names as JSON": ["names", "--json"],
    "doctor": ["doctor"],
    "no command": [PRINTABLE],
}
"""What is called, by what it is called for; each command stands here once or more."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return hostile_run(tmp_path_factory.mktemp("runs"))


def test_every_command_stands_here() -> None:
    assert {words[0] for words in WORDS.values()} - {PRINTABLE} == COMMANDS.keys()


@pytest.mark.usefixtures("forked_children", "empty_pages")
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", WORDS)
def test_no_command_prints_it(
    name: str,
    language: str,
    hostile: RunDir,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    places = {"run": hostile.path, "runs": hostile.path.parent, "out": tmp_path}
    words = [_filled(word, places) for word in WORDS[name]]
    code = run([*words, "--lang", language])
    printed = capfd.readouterr()
    if name == "serve-run":  # Its stdout is compressed.
        assert code == 2
    elif "--json" in words:
        assert not unsafe(printed.out) and json.loads(printed.out) is not None
    else:
        assert not unsafe(printed.out)
    assert not unsafe(printed.err) and "Traceback" not in printed.err


def _filled(word: str, places: dict[str, Path]) -> str:
    for name, path in places.items():
        word = word.replace(f"{{{name}}}", str(path))
    return word


def test_a_printed_config_reads_back(capfd: pytest.CaptureFixture[str]) -> None:
    prompts = [attack.replace("\0", "") for attack in CORPUS.values()]
    assert run(["train", "--print-config", "--set", f"log.prompts={json.dumps(prompts)}"]) == 0
    printed = capfd.readouterr().out
    assert not unsafe(printed) and tomllib.loads(printed)["log"]["prompts"] == prompts


def test_a_table_holds_no_formula_and_reads_back(hostile: RunDir, tmp_path: Path) -> None:
    target = tmp_path / "rows.csv"
    assert run(["export", str(hostile.path), "--to", "csv", "-o", str(target)]) == 0
    text = target.read_text(encoding="utf-8")
    assert not unsafe(text.replace("\r\n", "\n"))
    header, *rows = csv.reader(text.splitlines())
    assert not [cell for cell in header if cell.strip()[:1] in tuple("=+-@＝＋－＠")]
    assert all(cell == "" or float(cell) is not None for row in rows for cell in row)
    session = Reader(target)
    session.poll()
    names = {name for name in FORMULAS if name.isprintable()}
    assert names <= {name.removeprefix("train/") for name in session.series.names()}


def test_a_page_of_curves_is_well_formed_and_drawing_it_prints_nothing_of_it(
    hostile: RunDir, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["plot", str(hostile.path), "-o", str(tmp_path / "page.svg")]) == 0
    printed = capfd.readouterr()
    assert not unsafe(printed.out + printed.err)
    _check_picture((tmp_path / "page.svg").read_text(encoding="utf-8"))


def test_a_screen_kept_as_a_picture_is_well_formed(hostile: RunDir, tmp_path: Path) -> None:
    target = tmp_path / "screen.svg"
    assert run(["plot", str(hostile.path), "--screen", str(target)]) == 0
    _check_picture(target.read_text(encoding="utf-8"))


def _check_picture(text: str) -> None:
    assert not unsafe(text)
    tree = ElementTree.fromstring(text)
    tags = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert not tags & {"script", "foreignObject", "iframe"}
    for element in tree.iter():
        assert not [name for name in element.attrib if name.startswith("on")]
        links = [value for name, value in element.attrib.items() if name.endswith("href")]
        assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)


async def test_toasts_titles_and_the_clipboard_hold_nothing_of_it(hostile: RunDir) -> None:
    app = CockpitApp(Reader(hostile.path))
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await pilot.pause()
        app.screen.toast(EVIL, EVIL, severe=True)
        await pilot.pause()
        shown = " ".join(f"{toast.title} {toast.message}" for toast in app._notifications)
        assert "pwned" in shown and not unsafe(shown)
        assert not unsafe(screen_text(app))
        app.copy_to_clipboard(EVIL)
        assert "pwned" in app.clipboard and not unsafe(app.clipboard)
        assert not unsafe(f"{app.title} {app.sub_title} {app.screen.title} {app.screen.sub_title}")


LIBRARY = f"""
import logging, sys, threading, warnings
from lmm_tui.cli import command_line, main
evil = {EVIL!r}
def command(*args, **kwargs):
    logging.getLogger("transformers").warning(evil)
    handler = logging.StreamHandler()
    logging.getLogger("peft").addHandler(handler)
    logging.getLogger("peft").error(evil)
    warnings.warn(evil)
    print(evil, file=sys.stderr)
    def fail():
        raise ValueError(evil)
    thread = threading.Thread(target=fail, name=evil)
    thread.start()
    thread.join()
    class Broken:
        def __del__(self):
            raise ValueError(evil)
    Broken()
    raise RuntimeError(evil)
command_line.cli.main = command
sys.argv = ["lmm-tui"]
main.main()
"""


def test_what_a_library_logs_and_every_traceback_is_clean() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIBRARY], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 1 and done.stderr.count("pwned") >= 6 * 4
    assert {"Exception ignored in", "Traceback", "UserWarning"} <= {
        word for word in ("Exception ignored in", "Traceback", "UserWarning") if word in done.stderr
    }
    assert not unsafe(done.stderr) and not unsafe(done.stdout)


def test_the_stream_is_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stderr
    with cleaned_errors():
        print("\x1b[31mred\x1b[0m", EVIL, file=sys.stderr)
        sys.stderr.write("\r 50 %")
    assert sys.stderr is before
    shown = capsys.readouterr().err
    assert shown.startswith("red ") and shown.endswith("\n\r 50 %")
    assert not unsafe(shown.replace("\r", ""))

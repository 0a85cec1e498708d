"""Reports: what stands in them is what the runs have, and a browser draws them without an error."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_strings import hostile_run, unsafe
from made_runs import make_run

from lmm_tui.cli.main import run
from lmm_tui.engine.evaluation.job import EvaluationOutcome, Job, Score
from lmm_tui.engine.evaluation.records import Record, file_in_run, write_record
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.report import report_data
from lmm_tui.report.report_data import collect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Page(HTMLParser):
    """The elements of a page, and the texts outside of script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.data = ""
        self._within: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._within.append(dict(attrs).get("id") or tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._within.pop()

    def handle_data(self, text: str) -> None:
        if self._within == ["data"]:
            self.data += text
        elif not self._within:
            self.texts.append(text)


def finished(folder: Path, name: str, rate: float, **changes: Any) -> RunDir:
    made = make_run(folder, name, rows=60, versions={"torch": "2.9.1"}, **changes)
    made.write_config(f"[optim]\nlr = {rate}\n[train]\nsteps = 60\n")
    change = {"step": 30, "key": "optim.lr", "before": rate, "after": rate / 2}
    command = {"time": 2e9, "step": 30, "kind": "command", "level": "info", "by": "agent x 1"}
    alert = {"time": 2e9, "step": 44, "kind": "alert", "level": "warning", "message": "a spike"}
    with made.events.open("w") as file:
        for event in (command | {"message": "set: it", "changes": [change]}, alert):
            file.write(json.dumps(event) + "\n")
    with made.samples.open("w") as file:
        for step in range(10, 61, 5):
            text = {
                "time": 2e9,
                "step": step,
                "kind": "sample",
                "prompt": "Once",
                "text": f"it {step}",
            }
            file.write(json.dumps(text) + "\n")
    scores = (Score("lmm_sums", "acc", 0.5, 0.05, 0.25, 100, 0),)
    record = Record(2e9, name, 60, Job("m", ("lmm_sums",)), EvaluationOutcome(scores, 0, "", {}))
    write_record(record, file_in_run(record, made), made)
    return made


def write(*words: str, folder: Path, name: str = "report.html") -> str:
    target = folder / name
    assert run(["report", *words, "-o", str(target)]) == 0
    return target.read_text(encoding="utf-8")


def test_the_page_has_what_the_runs_have_and_loads_nothing(tmp_path: Path) -> None:
    one = finished(tmp_path, "one", 1e-3)
    two = finished(tmp_path, "two", 3e-3, parent="one", parent_checkpoint="step-000000060")
    page = Page(write(str(one.path), str(two.path), folder=tmp_path))
    text = " ".join(page.texts)
    for said in ("one", "two", "optim.lr", "0.001 → 0.0005", "a spike", "agent x 1", "it 10"):
        assert said in text, said
    for said in ("it 60", "lmm_sums", "0.5", "2.9.1", "one, step-000000060"):
        assert said in text, said
    assert "train.steps" not in text
    found = json.loads(page.data)
    curve = found["runs"][0]["curves"]["train/loss"]
    rows = [json.loads(row) for row in one.metrics.read_text().splitlines()]
    assert curve["x"] == [row["step"] for row in rows]
    assert curve["mean"] == pytest.approx([row["train/loss"] for row in rows], rel=1e-4)
    assert curve["low"] == curve["high"] == curve["mean"]
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert not {"src", "href", "action"} & attributes.keys()
    policy = [attributes for tag, attributes in page.tags if "http-equiv" in attributes]
    assert "default-src 'none'" in str(policy[0]["content"])
    fills = [str(one.get("style")) for _, one in page.tags if one.get("class") == "fill"]
    assert fills == ["width:50.00%"] * 2


def test_long_runs_keep_their_extremes_and_the_page_stays_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_data, "MOST_POINTS", 200)
    made = make_run(tmp_path, "long", rows=0)
    values = np.sin(np.arange(3000) / 100) + 3
    values[1500], values[700] = 50.0, -50.0
    with made.metrics.open("w") as file:
        for step, value in enumerate(values.tolist(), start=1):
            file.write(json.dumps({"step": step, "tokens": step * 8, "train/loss": value}) + "\n")
    found = collect([made.path]).runs[0]
    curve = found.curves["train/loss"]
    assert len(curve["x"]) <= 200
    assert max(filter(None, curve["high"])) == 50.0 and min(filter(None, curve["low"])) == -50.0
    assert sorted(curve["x"]) == curve["x"]  # type: ignore[type-var]
    assert [*found.positions["tokens"]] == [step * 8 for step in found.positions["x"]]  # type: ignore[operator]
    text = write(str(made.path), folder=tmp_path)
    assert len(text) < 100_000


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_hostile_is_markup_or_script(tmp_path: Path, language: str) -> None:
    hostile = hostile_run(tmp_path)
    words = [str(hostile.path), "--lang", language]
    text = write(*words, folder=tmp_path)
    page = Page(text)
    shown = "\n".join(page.texts)
    assert not unsafe(shown) and "<script>alert" not in text.replace("\\u003c", "")
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert json.loads(page.data)["runs"]
    markdown = write(*words, folder=tmp_path, name="report.md")
    assert not unsafe(markdown)
    assert not re.search(r"(?<!\\)<script", markdown) and "\n| " in markdown
    cells = {len(re.findall(r"(?<!\\)\|", line)) for line in markdown.splitlines()[2:5]}
    assert len(cells) == 1


def test_markdown_has_the_same_tables(tmp_path: Path) -> None:
    one, two = finished(tmp_path, "one", 1e-3), finished(tmp_path, "two", 3e-3)
    text = write(str(one.path), str(two.path), folder=tmp_path, name="report.md")
    assert "| optim.lr | 0.001 → 0.0005 | 0.003 → 0.0015 |" in text
    assert (
        "## Settings that differ" in text and "| two | lmm\\_sums, step 60 | acc | 0.500 |" in text
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "report.pdf"], "choose one of these endings"),
        (["nowhere"], "nowhere"),
        (["one", "--metric", "no/such"], "no metric 'no/such'"),
        (["one", "-o", "none/there/report.html"], "cannot be written"),
        ([f"r{at}" for at in range(21)], "at most 20 runs"),
    ],
)
def test_what_cannot_be_reported_is_refused(
    tmp_path: Path,
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_run(tmp_path, "one", rows=3)
    monkeypatch.chdir(tmp_path)
    assert run(["report", *words, "--runs-dir", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert said in errors and errors.count("\n") == 1


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_draws_it_without_an_error(tmp_path: Path) -> None:
    from PIL import Image

    one, two = finished(tmp_path, "one", 1e-3), finished(tmp_path, "two", 3e-3)
    write(str(one.path), str(two.path), str(hostile_run(tmp_path).path), folder=tmp_path)
    picture = tmp_path / "page.png"
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += [f"--user-data-dir={tmp_path}/browser", "--enable-logging=stderr"]
    command += ["--window-size=1280,1600", f"--screenshot={picture}"]
    address = f"file://{tmp_path}/report.html"
    done = subprocess.run(
        [*command, address], capture_output=True, text=True, timeout=120, check=False
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"))
    # The lines of the first runs are in the part of the page that has the first charts.
    chart = pixels[400:].reshape(-1, 3).astype(int)
    coloured = chart[(chart.max(axis=1) - chart.min(axis=1)) > 80]
    assert len(coloured) > 500 and len(np.unique(coloured, axis=0)) > 10


_GESTURES = """
<script>(async () => {
  const rest = () => new Promise((done) => setTimeout(done, 100));
  const plot = shownPlots[0], box = plot.over.getBoundingClientRect(), x = plot.scales.x;
  const send = (target, kind, share) => target.dispatchEvent(new MouseEvent(kind, { bubbles: true,
    clientX: box.left + share * box.width, clientY: box.top + 40, movementX: 9, movementY: 1 }));
  const span = () => [x.min, x.max];
  const seen = { whole: span() };
  send(plot.over, "mousemove", .5);
  await rest();
  seen.hover = [...plot.root.querySelectorAll(".u-value")].map((cell) => cell.textContent);
  seen.others = shownPlots[1].root.querySelector(".u-value").textContent;
  send(plot.over, "mousedown", .25);
  send(plot.over, "mousemove", .75);
  await rest();
  send(document, "mouseup", .75);
  await rest();
  seen.zoomed = span();
  send(plot.over, "dblclick", .5);
  await rest();
  seen.back = span();
  document.title = JSON.stringify(seen);
})();</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_mouse_reads_values_and_zooms(tmp_path: Path) -> None:
    """The page that people get, but for its policy, which lets no script of a test in."""
    one = finished(tmp_path, "one", 1e-3)
    page = write(str(one.path), folder=tmp_path)
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    drawn = "root.dataset.drawn ="
    assert page.count(drawn) == 1
    page = page.replace(drawn, f"window.shownPlots = plots; {drawn}").replace(
        "</body>", f"{_GESTURES}</body>"
    )
    (tmp_path / "tried.html").write_text(page, encoding="utf-8")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += [f"--user-data-dir={tmp_path}/browser", "--window-size=1280,1600"]
    command += ["--virtual-time-budget=5000", "--dump-dom", f"file://{tmp_path}/tried.html"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout)
    assert title is not None, done.stderr[-2000:]
    seen = json.loads(html.unescape(title[1]))
    first, last = seen["whole"]
    middle = float(seen["hover"][0])
    assert abs(middle - (first + last) / 2) <= 0.1 * (last - first)
    assert float(seen["hover"][1]) > 0 and seen["others"] == seen["hover"][0]
    quarter = (last - first) / 4
    assert seen["zoomed"] == pytest.approx([first + quarter, last - quarter], abs=0.05 * last)
    assert seen["back"] == [first, last]

"""A run directory of commit 4291ae1 through every command that reads runs.

That it is resumed, which reads its checkpoint, is in tests/engine/run/test_reader.py.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from lmm_tui.cli.main import run

PACKED = Path(__file__).parents[2] / "support" / "run_of_4291ae1.tar.gz"

COMMANDS = (
    (["runs"], "nano"),
    (["status", "old"], "finished, step 6 of 6"),
    (["health", "old"], "healthy up to step 6"),
    (["compare", "old", "other"], "384"),
    (["plot", "old", "--text"], "loss, nats"),
    (["plot", "old", "-o", "made/old.png"], ""),
    (["plot", "old", "--screen", "made/old.svg"], ""),
    (["export", "old", "--to", "csv", "-o", "made/old.csv"], ""),
    (["report", "old", "other", "-o", "made/old.html"], ""),
    (["spikes", "old"], "no spikes yet"),
    (["tag", "old", "good"], "good"),
)
"""And a word of what each says."""


def test_every_command_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("made").mkdir()
    for name in ("other", "old"):
        with tarfile.open(PACKED) as packed:
            packed.extractall("runs", filter="data")
        if name == "other":
            Path("runs/old").rename("runs/other")
    before = {file: file.read_bytes() for file in Path("runs/old").rglob("*") if file.is_file()}
    for command, word in COMMANDS:
        code = run(command)
        said, warned = capsys.readouterr()
        assert code == 0 and word in said and "Traceback" not in warned, (command, said, warned)
    for file, content in before.items():
        assert file.read_bytes() == content, file
    assert "5.5" in Path("made/old.html").read_text(encoding="utf-8")
    rows = Path("made/old.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0].startswith("step") and rows[-1].startswith("6")
    written = {made.name for made in Path("made").iterdir()}
    assert written == {"old.png", "old.svg", "old.csv", "old.html"}

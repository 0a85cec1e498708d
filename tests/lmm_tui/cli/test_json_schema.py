"""What `--json` prints is what docs/json.md says, key by key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_run import FakeRun
from json_schema import TABLES, check_printed
from made_runs import make_run
from processes import ROOT

from lmm_tui.cli.command_line import COMMANDS
from lmm_tui.cli.main import run
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.evaluation.job import EvaluationOutcome, Job, Score
from lmm_tui.engine.evaluation.missed_questions import MissedQuestion
from lmm_tui.engine.evaluation.records import Record, file_in_run, write_record
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.spike_files import KeptSpike, SpikeText, write_spike
from lmm_tui.runs.parity import Difference
from lmm_tui.sweeps.axes import Axis
from lmm_tui.sweeps.sweep_plan import SweepFolder, SweepPlan
from lmm_tui.sweeps.trial_store import TrialStore


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Runs: one with an alert and a spike, one evaluated, one that answers; and a sweep."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    runs = tmp_path / "runs"
    for seed in (1, 2):
        make_run(runs, f"night-{seed}", rows=30)
    wild = FakeRun(runs / "wild")
    wild.metrics.write({"step": 1, "train/loss": float("nan")})
    wild.close()
    text = SpikeText(0, 1, 2.5, "ab", [1, 2], ["a", "b"], [None, 2.5])
    write_spike(wild.dir.spikes, KeptSpike(9, 0.0, "loss_spike", "rose", [text]))
    base = RunConfig(runs_dir=str(runs)).model_dump(exclude_none=True)
    plan = SweepPlan("sweep", base, (Axis("optim.lr", (1e-3, 3e-3)),), 2)
    place = SweepFolder(runs, "sweep")
    place.create(plan)
    store = TrialStore(place, plan)
    trial = store.claim("me")
    assert trial is not None
    make_run(runs, trial.run)
    store.finish(trial.number, "complete", 2.5, "finished")
    (tmp_path / "settings.toml").touch()
    (tmp_path / "text.jsonl").write_text('{"text": "one two"}\n{"text": "three"}\n')
    entry = tmp_path / "cache" / "lmm-tui" / ("a" * 24)
    entry.mkdir(parents=True)
    (entry / "corpus.json").write_text('{"source": "a.txt"}')
    model = RunDir(runs / "night-1")
    score = Score("lmm_sums", "acc", 0.5, 0.1, 0.25, 20, None)
    missed = MissedQuestion("lmm_sums", "1 + 1 =", "2", "\x9b2J三")
    outcome = EvaluationOutcome((score,), 0, "f00d", {"torch": "2"}, missed=(missed,))
    record = Record(0.0, model.name, 5, Job("m", ("lmm_sums",)), outcome)
    write_record(record, file_in_run(record, model), model)
    live = FakeRun(runs / "live")
    live.serve(lambda request: Reply(True, f"{request.command}: \x9b2J", 7, {"value": 2.5}))
    yield tmp_path
    live.close()


CASES: dict[str, list[str]] = {
    "status RUN --json": ["status", "night-1"],
    "runs --json": ["runs", "--columns", "name,loss"],
    "compare RUN… --json": ["compare", "night-1", "night-2"],
    "health RUN --json": ["health", "wild"],
    "spikes RUN --json": ["spikes", "wild"],
    "spikes RUN STEP --json": ["spikes", "wild", "9"],
    "sweep NAME --json": ["sweep", "sweep"],
    "data PATH --json": ["data", "text.jsonl"],
    "cache --json": ["cache"],
    "names --json": ["names"],
    "parity CONFIG --json": ["parity", "settings.toml"],
    "eval … --json": ["eval", "--history", "night-1"],
    "send RUN COMMAND --json": ["send", "live", "pause"],
    "tag RUN TAG… --json": ["tag", "night-1", "late"],
    "doctor --json": ["doctor"],
}


@pytest.mark.parametrize("head", CASES)
def test_a_command_prints_what_is_documented(
    head: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    apart = [Difference(1, folder, 0.0, 1), Difference(2, folder, 1e-7, 3)]
    monkeypatch.setattr("lmm_tui.runs.parity.compare", lambda *given: apart)
    code = run([*CASES[head], "--json"])
    said = capsys.readouterr()
    assert code == 0 or head.startswith("doctor"), said.err
    assert said.out.isascii(), "a terminal would obey what a model wrote"
    check_printed(head, said.out)


def test_every_command_with_json_is_documented() -> None:
    files = (ROOT / "lmm_tui" / "cli" / "commands").glob("*.py")
    having = {file.stem for file in files if "as_json" in file.read_text(encoding="utf-8")}
    assert having == {head.split()[0] for head in TABLES}
    in_test_training_plan = {"plan CONFIG --gpu CARD --json"}
    assert TABLES.keys() == CASES.keys() | in_test_training_plan
    assert having <= {*COMMANDS}

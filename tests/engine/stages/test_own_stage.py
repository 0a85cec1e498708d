"""A stage of the user's own: from a file, from a package, and what of it a run keeps."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from small_runs import MakeConfig, curve, lines, run, train

from lmm_tui import named_code
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.trust import UntrustedError, refuse_untrusted, trust
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages.base import stage_class
from lmm_tui.metrics.stages.built_in import BUILT_IN
from lmm_tui.metrics.stages.stage_info import StageInfo
from lmm_tui.named_code import NamedCodeError

PAGE = Path(__file__).parents[3] / "docs" / "your-own-stage.md"


@pytest.fixture
def sort_stage(tmp_path: Path) -> str:
    """The stage of the page, in a file."""
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    assert len([line for line in code[1].splitlines() if line.strip()]) <= 40
    file = tmp_path / "sort_stage.py"
    file.write_text(code[1], encoding="utf-8")
    return f"{file}:SortStage"


def test_the_stage_of_the_page_trains_validates_and_resumes_to_the_last_bit(
    small: MakeConfig, sort_stage: str
) -> None:
    settings = {"stage": sort_stage, "own": {"digits": 3}, "log__val_every": 2}
    whole = train(small(**settings, name="whole", train__steps=4))
    part = train(small(**settings, name="part", train__steps=2))
    resumed = resolve(part.run_dir.config, {"train.steps": 4})
    train(resumed, RunDir(part.run_dir.path))
    assert curve(part.run_dir) == curve(whole.run_dir)
    rights = curve(whole.run_dir, "sort/right").values()
    assert len(rights) == 4 and all(0 <= right <= 1 for right in rights)
    # The first loss of a model that knows nothing of a vocabulary of 267 tokens.
    assert math.isclose(curve(whole.run_dir)[1], math.log(267), abs_tol=0.5)
    assert set(curve(whole.run_dir, "val/right")) == {2, 4}


def test_a_run_says_without_its_code_what_its_stage_shows(
    small: MakeConfig, sort_stage: str
) -> None:
    host = train(small(stage=sort_stage, train__steps=1))
    Path(sort_stage.rpartition(":")[0]).unlink()
    info = host.run_dir.read_info()
    assert info is not None and info.stage == "sort"
    about = info.about_stage
    assert (about.aim, about.chart) == ("to sort digits", "sorting")
    assert about.metrics["sort/right"].title == "digits right" and about.numbers == ("sort/right",)


@pytest.mark.parametrize("record", [{}, [], None, {"name": 3}, {"name": "x", "traces": [{}]}])
def test_no_record_of_a_stage_brings_a_screen_down(record: object) -> None:
    assert StageInfo.from_record(record) is None


def test_the_settings_of_a_stage_are_checked_by_it(small: MakeConfig, sort_stage: str) -> None:
    host = run(small(stage=sort_stage, own={"digit": 3}))
    assert host.refused and host.error.startswith("own.digit: unknown key")


def test_data_without_end_have_no_epochs(small: MakeConfig, sort_stage: str) -> None:
    config = small(stage=sort_stage)
    host = run(config.model_copy(update={"train": config.train.model_copy(update={"epochs": 2})}))
    assert host.refused and "give train.steps" in host.error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("missing.py:Stage", "there is no file missing.py"),
        ("no_such_module_of_mine:Stage", "No module named"),
        ("math:sqrt", "is no stage"),
        ("math:Stage", "math has no Stage"),
    ],
)
def test_what_is_no_stage_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(NamedCodeError) as refusal:
        stage_class(text)
    assert said in str(refusal.value) and "\n" not in str(refusal.value)


def test_an_unknown_stage_is_no_stage_of_one_s_own() -> None:
    with pytest.raises(
        ConfigError, match=r"choose pretrain, sft, dpo, kto, reward, grpo, distill, or module"
    ):
        resolve(assignments={"stage": "sort"})


def test_somebody_else_s_stage_is_not_imported_until_trusted(
    sort_stage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    config = resolve(assignments={"stage": sort_stage})
    recipe = tmp_path / "recipe.toml"
    with pytest.raises(UntrustedError, match="SortStage"):
        refuse_untrusted(config, [recipe])
    refuse_untrusted(config, [recipe], typed=["stage"])
    trust(config, recipe)
    refuse_untrusted(config, [recipe])
    file = Path(sort_stage.rpartition(":")[0])
    file.write_text(file.read_text(encoding="utf-8") + "\nprint('more')\n", encoding="utf-8")
    with pytest.raises(UntrustedError):
        refuse_untrusted(config, [recipe])


def test_every_stage_of_this_package_says_what_it_is() -> None:
    for name, info in BUILT_IN.items():
        assert stage_class(name).info is info


PLUGINS = """
from pathlib import Path
from lmm_tui.metrics.readers.log_formats import FORMATS, LogFormat
from lmm_tui.metrics.readers.log_follower import LineLogFollower
from lmm_tui.metrics.readers.table_log import TableLog
from lmm_tui.metrics.writers.mirror import Tracker

class Kept(Tracker):
    def start(self, run, config):
        self.lines = [f"{run.name} {run.stage} {config['train']['steps']}"]
        self.file = run.directory / "kept.txt"
    def row(self, step, time, values, late):
        if "train/loss" in values:
            self.lines.append(f"{step} {values['train/loss']!r}")
    def close(self):
        self.file.write_text("\\n".join(self.lines))

class Broken(Kept):
    def row(self, step, time, values, late):
        raise OSError("no route to host")
    def close(self):
        pass  # Both have one file, and may end in any order.

def fails(head):
    raise ValueError

mine = LogFormat(
    "mine", "`*.mine`", lambda head: float(head.data.startswith(b"#mine")),
    lambda path, store: LineLogFollower(path, store, lambda: TableLog("|")),
)
failing = LogFormat("failing", "", fails, mine.follow)
"""
ENTRY_POINTS = """[lmm_tui.stages]
sort = sort_stage:SortStage
[lmm_tui.trackers]
kept = plugins:Kept
broken = plugins:Broken
[lmm_tui.log_formats]
mine = plugins:mine
failing = plugins:failing
gone = plugins:gone
"""


@pytest.fixture
def package(tmp_path: Path, sort_stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that offers one of each."""
    (tmp_path / "plugins.py").write_text(PLUGINS, encoding="utf-8")
    folder = tmp_path / "plugins-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(named_code, "_installed", named_code._installed.__wrapped__)


@pytest.mark.usefixtures("package")
def test_trackers_get_every_row_and_a_broken_one_is_said_once(small: MakeConfig) -> None:
    plain = train(small(name="plain", train__steps=3))
    host = train(small(train__steps=3, log__trackers=["kept", "broken"]))
    losses = curve(host.run_dir)
    kept = (host.run_dir.path / "kept.txt").read_text().splitlines()
    assert kept == ["small pretrain 3", *(f"{step} {loss!r}" for step, loss in losses.items())]
    assert losses == curve(plain.run_dir)
    told = [row["message"] for row in lines(host.run_dir.events) if "tracker" in row["message"]]
    assert len(told) == 1 and "OSError: no route to host" in told[0]


@pytest.mark.usefixtures("package")
def test_a_package_s_stage_and_tracker_go_by_their_names(small: MakeConfig) -> None:
    assert stage_class("sort").info.name == small(stage="sort").stage
    host = run(small(log__trackers=["paper"]))
    assert host.refused and host.error.endswith("mlflow, kept, broken")
    with pytest.raises(UntrustedError, match=r"log\.trackers 'kept'"):
        refuse_untrusted(small(log__trackers=["kept"]), [Path("recipe.toml")])


@pytest.mark.usefixtures("package")
def test_a_package_s_format_reads_its_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lmm_tui.metrics.readers import log_formats

    monkeypatch.setattr(log_formats, "_installed", log_formats._installed.__wrapped__)
    log = tmp_path / "x.mine"
    log.write_text("#mine\nstep|loss\n1|2.5\n2|2.25\n")
    found = log_formats.format_of(log_formats.Head.of(log))
    assert found is not None and found.name == "mine"
    other = tmp_path / "x.csv"
    other.write_text("step,loss\n1,2.5\n")
    known = log_formats.format_of(log_formats.Head.of(other))
    assert known is not None and known.name == "table"

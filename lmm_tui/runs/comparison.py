"""Several runs side by side: results, the settings that differ, seeds, answers, evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lmm_tui.engine.evaluation.job import Score
from lmm_tui.engine.evaluation.records import read_records
from lmm_tui.engine.run.history import RunHistory
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.runs.compared_settings import default_of, differing, setting_text, told_settings
from lmm_tui.runs.run_columns import RunColumns
from lmm_tui.runs.run_details import RunDetails
from lmm_tui.runs.run_list import ListedRun
from lmm_tui.runs.seed_ranking import RankedRuns, ranked
from lmm_tui.runs.status_text import RunSummary

_RESULTS = ("state", "health", "loss", "val", "best", "best_step", "tokens", "seconds", "speed")
_MEASURED = ("best", "val", "loss", "tokens", "seconds", "speed", "parameters")
_COSTS = ("tokens", "seconds")
MOST_PROMPTS = 50


@dataclass(frozen=True)
class PromptAnswers:
    """What runs wrote to one prompt last: by run, the step and the text."""

    prompt: str
    answers: dict[str, tuple[int, str]]


@dataclass(frozen=True)
class ScoredTask:
    """The last score of each run on one benchmark: by run, the step and the score."""

    task: str
    metric: str
    scores: dict[str, tuple[int | None, Score]]


class Comparison:
    """Runs in the order given; their details are read when they are asked for."""

    def __init__(self, runs: Sequence[ListedRun], details: RunDetails) -> None:
        self.runs = tuple(runs)
        self._details = details
        self.columns = RunColumns(self.runs, details)

    def read(self) -> None:
        """Read what is new of all runs; takes as long as their metrics are.

        Of a run that was deleted in the meantime what was read of it stays.
        """
        self.runs = tuple(map(_as_it_is_now, self.runs))
        self.columns = RunColumns(self.runs, self._details)
        self._details.refresh(self.runs)
        self._details.read_on(self.runs)

    def differing(self) -> list[str]:
        """The settings in which the runs differ."""
        return self.columns.differing()

    def names(self) -> list[str]:
        """The columns of the table: results, then settings, without those that no run has."""
        shown = (*_RESULTS, *self.differing())
        return ["name", *(name for name in shown if name == "state" or self._has(name))]

    def settings(self) -> dict[str, dict[str, str]]:
        """What differs in settings, code and packages: by key, the text of each run."""
        told = {run.name: told_settings(RunDir(run.summary.path)) for run in self._own()}
        keys = (
            differing([*told.values()], lambda key: setting_text(default_of(key))) if told else []
        )
        return {key: {name: one.get(key, "") for name, one in told.items()} for key in keys}

    def metric(self) -> str:
        """By what runs are ranked: the best validation loss, or the loss where none has one."""
        return "best" if self._has("best") else "loss"

    def ranking(self) -> list[RankedRuns]:
        """The lowest mean over seeds first."""
        metric = self.metric()
        results = {run.name: _number(self.columns.value(run, metric)) for run in self.runs}
        settings = {run.name: self._details.settings(run) for run in self.runs}
        return ranked(results, settings, self.differing())

    def plottable(self) -> list[str]:
        """Columns in which the runs have different values: settings first, then results."""
        names = [*self.differing(), *(name for name in _MEASURED if self._has(name))]
        shown = dict.fromkeys(names)
        return [
            name for name in shown if len({str(self.columns.value(r, name)) for r in self.runs}) > 1
        ]

    def parallel(self) -> list[str]:
        """Columns as parallel coordinates: the settings, what they cost, and the result last."""
        metric, settings = self.metric(), self.differing()
        shown = [*(settings or _MEASURED), *_COSTS]
        names = [name for name in self.plottable() if name in shown and name != metric]
        return [*names, metric]

    def answers(self) -> list[PromptAnswers]:
        """Prompts that at least two runs were asked, and what each wrote last."""
        found: dict[str, dict[str, tuple[int, str]]] = {}
        for run in self._own():
            history = RunHistory(RunDir(run.summary.path))
            history.poll()
            for sample in history.samples:
                if sample.kind == "sample" and not sample.abandoned:
                    found.setdefault(sample.prompt, {})[run.name] = sample.step, sample.text
        shared = [PromptAnswers(*each) for each in found.items() if len(each[1]) > 1]
        return shared[:MOST_PROMPTS]

    def scores(self) -> list[ScoredTask]:
        """Benchmarks that any run was evaluated on, with the last score of each run."""
        found: dict[tuple[object, ...], dict[str, tuple[int | None, Score]]] = {}
        for run in self._own():
            for record in read_records(RunDir(run.summary.path)):
                for score in record.outcome.scores:
                    # Scores of other questions or shots are not those of the same benchmark.
                    asked = (score.task, score.metric, score.questions, score.num_fewshot)
                    found.setdefault(asked, {})[run.name] = record.step, score
        return [ScoredTask(str(key[0]), str(key[1]), scores) for key, scores in found.items()]

    def _own(self) -> Iterator[ListedRun]:
        return (run for run in self.runs if not run.is_log)

    def _has(self, name: str) -> bool:
        return any(self.columns.value(run, name) not in (None, "") for run in self.runs)


def _as_it_is_now(run: ListedRun) -> ListedRun:
    if not run.live:
        return run
    try:
        return replace(run, summary=RunSummary.of(Reader(run.summary.path)))
    except LmmError:
        return run


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    from lmm_tui.engine.run.reader import Reader

    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for loss in (3, 2):
            log = Path(folder) / f"{loss}.log"
            log.write_text(f"step: 1, loss: {loss}\n")
            session = Reader(log)
            session.poll()
            session.poll()  # The view is that of before what is read.
            summary = RunSummary(log, session.view.info, session.view.status, "log", log_format="l")
            runs.append(ListedRun(summary))
        compared = Comparison(runs, RunDetails(Path(folder)))
        print(compared.names(), compared.ranking(), compared.plottable())
        assert compared.metric() == "loss"
    print("=== 自测通过 ===")

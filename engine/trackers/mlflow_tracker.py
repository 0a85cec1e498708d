"""A run as one of MLflow: parameters, metrics over the step, samples as a table.

MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME say where, by default MLflow's own store in the
current folder and the experiment `lmm-tui`. A resumed run goes on in the same one.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any

from lmm_tui.engine.trackers.tracked_end import COLUMNS, TrackedEnd
from lmm_tui.metrics.writers.mirror import TrackedRun, Tracker
from lmm_tui.toml_text import flat

_IDENTITY = "lmm_tui.run"
_TABLE = "samples.json"
_MOST_PARAMS, _MOST_METRICS, _LONGEST = 100, 1000, 6000
"""MLflow's limits for one request, and for the text of a parameter."""
_EVERY_S = 2.0
"""Between requests: one of a row each takes longer than a step of a small model."""


class MlflowTracker(Tracker):
    def start(self, run: TrackedRun, config: Mapping[str, Any]) -> None:
        from mlflow.tracking import MlflowClient

        self._waiting: list[Any] = []
        self._sent = monotonic()
        self._directory = run.directory
        self._client = MlflowClient()
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "lmm-tui")
        known = self._client.get_experiment_by_name(experiment)
        place = known.experiment_id if known else self._client.create_experiment(experiment)
        query = f"tags.`{_IDENTITY}` = '{run.identity}'"
        earlier = self._client.search_runs([place], query, max_results=1)
        if earlier:
            self._id = earlier[0].info.run_id
            self._client.update_run(self._id, "RUNNING")
            return
        tags = {_IDENTITY: run.identity, "stage": run.stage, "group": run.group}
        made = self._client.create_run(place, run_name=run.name, tags=tags)
        self._id = made.info.run_id
        self._log_config(config)

    def row(self, step: int, time: float, values: Mapping[str, float], late: bool) -> None:
        from mlflow.entities import Metric

        moment = round(time * 1000)
        found = [
            Metric(name, value, moment, step)
            for name, value in values.items()
            if not math.isnan(value)
        ]
        if len(self._waiting) + len(found) > _MOST_METRICS or monotonic() > self._sent + _EVERY_S:
            self._send()
        self._waiting += found

    def _send(self) -> None:
        for first in range(0, len(self._waiting), _MOST_METRICS):
            self._client.log_batch(self._id, self._waiting[first : first + _MOST_METRICS])
        self._waiting.clear()
        self._sent = monotonic()

    def close(self) -> None:
        self._send()
        end = TrackedEnd.of(self._directory)
        if end.samples:
            # As its `log_table`, which only appends, and needs pandas.
            table = {"columns": COLUMNS, "data": end.samples}
            self._client.log_dict(self._id, table, _TABLE)
            marks = [{"path": _TABLE, "type": "table"}]
            self._client.set_tag(self._id, "mlflow.loggedArtifacts", json.dumps(marks))
        self._client.set_terminated(self._id, "FAILED" if end.failed else "FINISHED")

    def _log_config(self, config: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(name, value[:_LONGEST]) for name, value in parameters(config)]
        for first in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._id, params=params[first : first + _MOST_PARAMS])


def parameters(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """`section.option` and its value as text, of those that are set."""
    return ((name, str(value)) for name, value in flat(config) if value is not None)


if __name__ == "__main__":
    found = dict(parameters({"stage": "sft", "optim": {"lr": 1e-3, "name": None}}))
    print(found)
    assert found == {"stage": "sft", "optim.lr": "0.001"}
    print("=== 自测通过 ===")

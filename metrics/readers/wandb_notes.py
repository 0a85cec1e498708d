"""What wandb's records hold besides the history: the step metric, system metrics, the exit code."""

from __future__ import annotations

from lmm_tui.metrics.readers.log_facts import LogFacts
from lmm_tui.metrics.readers.metric_names import EPOCHS, common_names, normal
from lmm_tui.metrics.readers.system_samples import SystemSamples
from lmm_tui.metrics.readers.wandb_messages import fields, json_values, key_and_value, whole_field
from lmm_tui.metrics.series.row_values import number

_STATS, _METRIC, _EXIT = 7, 12, 18
_TIMESTAMP, _ITEM = 2, 3
_NAME, _GLOB, _STEP_METRIC = 1, 2, 4
_ALL = ("*", "train/*")


class RunNotes:
    """Keeps what the records of one run say."""

    def __init__(self) -> None:
        self.facts = LogFacts(tells_end=True)
        self.step_metric: str | None = None
        """What `define_metric` draws the training by."""
        self.samples = SystemSamples()

    def take(self, record: bytes) -> None:
        """Raises IndexError or ValueError where the record is broken."""
        for field, message in fields(record):
            if field == _METRIC:
                self._define(message)
            elif field == _STATS:
                self._sample(message)
            elif field == _EXIT:
                code = whole_field(message, 1)
                code -= (code >> 63) << 64
                self.facts.end = "failed" if code else "finished"
                self.facts.error = f"exit code {code}" if code else ""

    def _define(self, message: bytes) -> None:
        said = {field: data.decode("utf-8", "replace") for field, data in fields(message)}
        step, metric = said.get(_STEP_METRIC, ""), said.get(_GLOB) or said.get(_NAME, "")
        known = common_names().get(normal(metric))
        of_training = metric in _ALL or (known is not None and known.ours == "train/loss")
        if step and of_training and normal(step) not in EPOCHS:
            self.step_metric = step

    def _sample(self, message: bytes) -> None:
        time, values = 0.0, {}
        for field, data in fields(message):
            if field == _TIMESTAMP:
                time = _seconds(data)
            elif field == _ITEM:
                key, given = key_and_value(data)
                value = number(json_values(b"[" + given + b"]")[0])
                if value is not None:
                    values[key] = value
        self.samples.add(time, values)


def _seconds(timestamp: bytes) -> float:
    """Of a `google.protobuf.Timestamp`."""
    return whole_field(timestamp, 1) + whole_field(timestamp, 2) / 1e9


if __name__ == "__main__":
    import numpy as np

    notes = RunNotes()
    item = b"\x1a\x0c\x0a\x03cpu\x82\x01\x0412.5"
    stamp = b"\x12\x02\x08\x05"
    notes.take(b"\x3a" + bytes([len(item + stamp)]) + item + stamp)
    notes.take(b"\x92\x01\x02\x08\x01")
    samples = [(name, rows.tolist(), at) for name, rows, at in notes.samples.at(np.arange(4.0, 9))]
    print(samples, notes.facts)
    assert samples == [("system/cpu", [1], 12.5)] and notes.facts.end == "failed"
    print("=== 自测通过 ===")

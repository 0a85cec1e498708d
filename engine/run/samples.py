"""A line of samples.jsonl: text that the model generated, or the losses of a text's tokens."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lmm_tui.engine.run.events import time_of

SampleKind = Literal["sample", "token_losses"]


@dataclass(frozen=True)
class RunSample:
    """`details` depend on the kind: `answer` and `reward`, or `tokens` and `losses`."""

    step: int
    kind: SampleKind = "sample"
    prompt: str = ""
    text: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    time: float = field(default_factory=lambda: round(time.time(), 3))
    abandoned: bool = False
    """Whether it is of a step that a resume has trained anew, as the reader finds out."""

    def record(self) -> dict[str, Any]:
        """The JSON object of its line."""
        texts = {"prompt": self.prompt, "text": self.text} if self.kind == "sample" else {}
        head = {"time": self.time, "step": self.step, "kind": self.kind}
        return {**head, **texts, **self.details}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> RunSample | None:
        """None if the line is no sample."""
        match record:
            case {"step": int(step), "kind": ("sample" | "token_losses") as kind}:
                known = ("time", "step", "kind", "prompt", "text")
                details = {key: value for key, value in record.items() if key not in known}
                prompt, text = (str(record.get(key, "")) for key in ("prompt", "text"))
                return cls(step, kind, prompt, text, details, time_of(record))
        return None


if __name__ == "__main__":
    sample = RunSample(3, prompt="12 + 7 =", text=" 19", details={"answer": False})
    print(sample.record())
    assert RunSample.from_record(sample.record()) == sample
    print("=== 自测通过 ===")

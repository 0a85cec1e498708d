"""Recorded spikes: `spikes/step-N.json` holds the texts of a step with unusual loss or gradient.

The texts come from the training data and may contain control characters: escape them before
they are displayed.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import list_folder, make_folder, read_bytes, remove, replacing
from lmm_tui.message import Message, with_messages, with_parts
from lmm_tui.metrics.values import strict

_SPIKE = re.compile(r"step-(\d{1,18})\.json", re.ASCII)

MOST_KEPT = 50
"""Spikes of a run; the oldest are deleted."""
MOST_SEQUENCES = 8
MOST_TOKENS = 1024
"""Tokens of a sequence, so that a file stays below a few hundred kilobytes."""


class SpikeError(LmmError):
    """A spike that does not exist or whose file is unreadable."""


@dataclass(frozen=True)
class SpikeText:
    """One sequence of the step's batch."""

    micro_batch: int
    row: int
    loss: float
    """Mean over its counted tokens, nats, by the model after the step."""
    text: str
    ids: list[int]
    tokens: list[str]
    """The text of each id."""
    losses: list[float | None]
    """Loss of each token; None where it is not counted, as for the first token."""


@dataclass(frozen=True)
class KeptSpike:
    """A step with an unusual loss or gradient; its sequences are sorted by loss, highest first."""

    step: int
    time: float
    rule: str
    what: str
    sequences: list[SpikeText]


def spike_path(folder: Path, step: int) -> Path:
    return folder / f"step-{step}.json"


def list_spikes(folder: Path) -> list[int]:
    """The steps of the spikes in `folder`, ascending; empty if it does not exist."""
    found = map(_SPIKE.fullmatch, list_folder(folder, folder.parent))
    return sorted(int(match[1]) for match in found if match)


def write_spike(folder: Path, spike: KeptSpike) -> Path:
    """Write a spike atomically and delete the oldest; on OSError no partial file remains."""
    run = folder.parent
    make_folder(folder, run)
    path = spike_path(folder, spike.step)
    with replacing(path, run) as file:
        file.write(orjson.dumps(strict(with_parts(asdict(spike)))))
    for step in list_spikes(folder)[:-MOST_KEPT]:
        remove(spike_path(folder, step), run)
    return path


def read_spike(folder: Path, step: int) -> KeptSpike:
    """The spike of a step. Raises SpikeError."""
    path = spike_path(folder, step)
    try:
        found = json.loads(read_bytes(path, folder.parent))
        if not isinstance(found, dict):
            raise TypeError("not a JSON object")
        found = with_messages(found)
        texts = [
            SpikeText(
                micro_batch=int(one["micro_batch"]),
                row=int(one["row"]),
                loss=float(one["loss"]),
                text=str(one["text"]),
                ids=[int(token) for token in one["ids"]],
                tokens=[str(token) for token in one["tokens"]],
                losses=[None if loss is None else float(loss) for loss in one["losses"]],
            )
            for one in found["sequences"]
        ]
        return KeptSpike(
            int(found["step"]), float(found["time"]), str(found["rule"]), str(found["what"]), texts
        )
    except FileNotFoundError:
        raise SpikeError(
            "{path}: no spike was kept at step {step}; {steps_in}",
            path=path,
            step=step,
            steps_in=_steps_in(folder),
        ) from None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise SpikeError(
            "{path}: cannot be read as a spike ({error}); delete it", path=path, error=error
        ) from None


def _steps_in(folder: Path) -> str:
    steps = list_spikes(folder)
    return Message("there are {steps}", steps=[*steps]) if steps else Message("there are none")


if __name__ == "__main__":
    import tempfile

    text = SpikeText(0, 1, float("nan"), "a cat", [5, 6], ["a", " cat"], [None, float("nan")])
    with tempfile.TemporaryDirectory() as place:
        write_spike(Path(place), KeptSpike(44, 0.0, "loss_spike", "loss rose", [text]))
        print(read_spike(Path(place), 44))
    print("=== 自测通过 ===")

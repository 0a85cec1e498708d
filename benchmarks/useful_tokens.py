"""Tokens learned a second: our rows without padding against MiniMind's way with the same files.

MiniMind gives each line of a file a row, cuts it or pads it to the longest length allowed, and
makes the logits of all places. Ours packs lines into rows of that length and makes logits where
there is a label. Model, machine, optimiser, tokens of a line and places in a batch are the same;
one thread each, in turns. Lengths are log-normal with about the means of MiniMind's mini files
(bytes by lines): 200 tokens for pretraining, 350 for fine-tuning.
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measure import QUICK, medians, report
from lmm_tui.data.builtin.stories import story
from lmm_tui.data.chat.conversations import read_conversations
from lmm_tui.data.chat.template import render
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.layout import IGNORE
from lmm_tui.engine.stages.base import Stage
from lmm_tui.engine.stages.pretrain import PretrainStage
from lmm_tui.engine.stages.sft import SftStage

TITLE = "useful_tokens: tokens learned a second against padded rows and all logits"

LIMIT = 2.0
ROUNDS, STEPS = 3, 1 if QUICK else 2

_LINES = 400
_SPREAD = 0.8
_CHARACTERS_PER_TOKEN = 3.35
"""Of the stories, with a vocabulary of their own."""

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    stage: str
    seq_len: int
    """MiniMind's default for the stage."""
    batch_size: int
    tokens: int
    """Mean of a line before it is cut."""


CASES = (Case("pretrain", 340, 8, 200), Case("sft", 768, 4, 350))

Step = Callable[[Decoder], tuple[Tensor, int]]
"""Gives a mean loss to go back from, and the number of its labels."""


def run() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            _compare(case, Path(folder))
    torch.set_num_threads(threads)


def _compare(case: Case, folder: Path) -> None:
    file = folder / "lines.jsonl"
    with file.open("w", encoding="utf-8") as lines:
        for row in islice(_rows(case), _LINES):
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
    config = _config(case, file)
    stage_class = PretrainStage if case.stage == "pretrain" else SftStage
    stage = stage_class(config, _CPU, lambda *_: None)
    rates = _rates(
        {"ours": _packed(stage), "MiniMind's way": _padded(case, file, stage)},
        lambda: _model(config, stage),
    )
    ours, theirs = rates.values()
    report(case.stage, ours, theirs, "MiniMind's way", unit="labels/s", at_least=LIMIT)


def _rates(peers: dict[str, Step], make: Callable[[], Decoder]) -> dict[str, float]:
    """Median labels a second of each peer."""

    def rate(step: Step, model: Decoder, optimizer: torch.optim.Optimizer) -> float:
        start = time.perf_counter()
        labels = 0
        for _ in range(STEPS):
            loss, count = step(model)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            labels += count
        return labels / (time.perf_counter() - start)

    measured: dict[str, Callable[[], float]] = {}
    for name, step in peers.items():
        model = make()
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, fused=True)
        measured[name] = partial(rate, step, model, optimizer)
    return medians(measured, ROUNDS, warm_up=not QUICK)


def _packed(stage: Stage) -> Step:
    """The stage as the loop calls it."""
    steps = count()

    def step(model: Decoder) -> tuple[Tensor, int]:
        [batch] = stage.micro_batches(next(steps))
        loss, _ = stage.loss(model, batch)
        return loss / batch.weight, batch.weight

    return step


def _padded(case: Case, file: Path, stage: Stage) -> Step:
    """A line a row, cut or padded to one length, and the logits of every place."""
    rows = [
        (torch.tensor(ids[: case.seq_len]), torch.tensor(learnt[: case.seq_len]))
        for ids, learnt in _lines(case, file, stage)
    ]
    lengths = [len(ids) for ids, _ in rows]
    print(
        f"{case.stage}: {statistics.mean(lengths):.0f} tokens a line when cut, "
        f"{100 * statistics.mean(lengths) / case.seq_len:.0f} % of a padded row"
    )
    ids_RxT = torch.zeros(len(rows), case.seq_len, dtype=torch.long)
    labels_RxT = torch.full_like(ids_RxT, IGNORE)
    for at, (ids, learnt) in enumerate(rows):
        ids_RxT[at, : len(ids)] = ids
        labels_RxT[at, : len(ids)] = ids.masked_fill(~learnt, IGNORE)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).split(
        case.batch_size
    )
    batches = count()

    def step(model: Decoder) -> tuple[Tensor, int]:
        chosen = order[next(batches) % (len(order) - 1)]
        labels = labels_RxT[chosen, 1:].flatten()
        # The shift copies all logits, as it does there.
        logits = model(ids_RxT[chosen])[:, :-1].contiguous()
        loss = F.cross_entropy(logits.flatten(0, 1), labels, ignore_index=IGNORE)
        return loss, int((labels != IGNORE).sum())

    return step


def _lines(case: Case, file: Path, stage: Stage) -> Iterator[tuple[list[int], list[bool]]]:
    """Tokens of the lines, and which of them are learnt."""
    tokenizer = stage.tokenizer
    if isinstance(stage, SftStage):
        for talk in read_conversations(str(file), val_fraction=0):
            ids, learnt = render(talk, tokenizer, stage.template)
            yield list(ids), list(learnt)
    else:
        for line in file.read_text(encoding="utf-8").splitlines():
            ids = [*tokenizer.encode(json.loads(line)["text"]), tokenizer.eos_id]
            yield ids, [True] * len(ids)


def _rows(case: Case) -> Iterator[dict[str, object]]:
    """Lines of a file as MiniMind has them; a question is a fifth of a conversation."""
    rng = Random(0)
    middle = math.log(case.tokens) - _SPREAD**2 / 2
    texts = map("".join, _stories())
    while True:
        tokens = max(12.0, rng.lognormvariate(middle, _SPREAD))
        text = next(texts)[: round(tokens * _CHARACTERS_PER_TOKEN)]
        if case.stage == "pretrain":
            yield {"text": text}
            continue
        asked = len(text) // 5
        yield {
            "conversations": [
                {"role": "user", "content": text[:asked]},
                {"role": "assistant", "content": text[asked:]},
            ]
        }


def _stories() -> Iterator[list[str]]:
    """Long enough to cut any line from."""
    index = count()
    while True:
        yield [story(0, next(index)) for _ in range(20)]


def _config(case: Case, file: Path) -> RunConfig:
    return resolve(
        assignments={
            "stage": case.stage,
            "device": "cpu",
            "model.preset": "tiny",
            "data.source": str(file),
            "data.seq_len": case.seq_len,
            "data.cache_dir": str(file.parent / "cache"),
            "train.batch_size": case.batch_size,
        }
    )


def _model(config: RunConfig, stage: Stage) -> Decoder:
    model = Decoder(config.model.shape(stage.tokenizer.vocab_size))
    model.init_weights(0)
    return model

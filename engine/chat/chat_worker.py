"""A worker process that answers chat queries with the weights of a checkpoint.

It reads a command per line (`talk`, `read`) and answers with a line each, both as on the control
socket of a live run. Its first line says whether the weights could be read and, in `computes_on`,
where it computes. It exits at the end of its input. Run as
`python -m lmm_tui.engine.chat.chat_worker CHECKPOINT`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, TextIO

from lmm_tui.data.chat.template import CHATML, render_prompt, stop_ids
from lmm_tui.data.chat.tokenizer_template import TokenizerTemplate
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Turn
from lmm_tui.engine.chat.chat_model import ChatModel
from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.engine.checkpoints.placed_model import PlacedModel, place_as_trained
from lmm_tui.engine.checkpoints.weights import read_weights
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.checkpoint_names import checkpoint_step
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages.base import plain_ids
from lmm_tui.errors import LmmError
from lmm_tui.message import Message, with_parts


class OpenCheckpoint(NamedTuple):
    chat: ChatModel
    config: RunConfig
    """The settings of its run."""
    placed: PlacedModel


def open_checkpoint(path: Path) -> OpenCheckpoint:
    """Read the model of a run's checkpoint, on the device of the run, or on the CPU while that
    trains.

    Raises LmmError where weights, tokenizer or settings cannot be read.
    """
    run = RunDir(path.parent.parent)
    config = resolve(run.config).completed()
    weights = read_weights(path)
    if weights.tokenizer is None:
        raise WeightsError("{path}: its run has no tokenizer.json", path=path)
    tokenizer = Tokenizer.load(weights.tokenizer)
    placed = place_as_trained(weights, busy=Reader(run.path).view.active)
    model = placed.model
    if config.reads_text:
        chat = ChatModel(
            model, tokenizer, lambda turns: plain_ids(turns, tokenizer), (tokenizer.eos_id,)
        )
        return OpenCheckpoint(chat, config, placed)
    own = config.data.template == "own"
    template = TokenizerTemplate.load(weights.tokenizer, tokenizer) if own else CHATML

    def ids(turns: Sequence[Turn]) -> list[int]:
        return render_prompt(turns, tokenizer, template)

    chat = ChatModel(model, tokenizer, ids, stop_ids(tokenizer, template))
    return OpenCheckpoint(chat, config, placed)


def answer(opened: OpenCheckpoint, step: int, line: str) -> Reply:
    """Answer one line; an LmmError becomes a refusal."""
    query = json.loads(line)
    try:
        with opened.placed.autocast():
            if query["command"] == "talk":
                sentence, data = opened.chat.talk(query["args"], opened.config)
            else:
                sentence, data = opened.chat.read(query["args"])
    except LmmError as error:
        return Reply(
            False, Message("{command}: {error}", command=query["command"], error=error), step
        )
    return Reply(True, sentence, step, data)


def serve(path: Path, lines: Iterable[str], out: TextIO) -> None:
    """Read the weights, then answer each line until there are no more."""

    def send(reply: Reply) -> None:
        print(json.dumps(with_parts(asdict(reply)), default=str), file=out, flush=True)

    step = checkpoint_step(path)
    try:
        opened = open_checkpoint(path)
    except LmmError as error:
        send(Reply(False, str(error), step))
        return
    send(Reply(True, Message("ready"), step, {"computes_on": str(opened.placed)}))
    for line in lines:
        send(answer(opened, step, line))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(Path(sys.argv[1]), sys.stdin, sys.stdout)
    else:
        serve(Path("/nowhere/checkpoints/step-000000007"), (), sys.stdout)
        print("=== 自测通过 ===")

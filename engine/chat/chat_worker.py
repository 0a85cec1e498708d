"""A worker process that answers chat queries with the weights of a checkpoint.

It reads a command per line (`talk`, `read`) and answers with a line each, both as on the control
socket of a live run. Its first line says whether the weights could be read. It exits at the end of
its input. Run as `python -m lmm_tui.engine.chat.chat_worker CHECKPOINT`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from lmm_tui.data.chat.template import CHATML, render_prompt, stop_ids
from lmm_tui.data.chat.tokenizer_template import TokenizerTemplate
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Turn
from lmm_tui.engine.chat.chat_model import ChatModel
from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.engine.checkpoints.weights import read_weights
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.checkpoint_names import checkpoint_step
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages.base import plain_ids
from lmm_tui.errors import LmmError
from lmm_tui.message import Message, with_parts


def open_checkpoint(path: Path) -> tuple[ChatModel, RunConfig]:
    """Read the model of a run's checkpoint, on the CPU, and the settings of its run.

    Raises LmmError where weights, tokenizer or settings cannot be read.
    """
    config = resolve(RunDir(path.parent.parent).config).completed()
    weights = read_weights(path)
    if weights.tokenizer is None:
        raise WeightsError("{path}: its run has no tokenizer.json", path=path)
    tokenizer = Tokenizer.load(weights.tokenizer)
    model = weights.model().eval()
    if config.reads_text:
        return ChatModel(
            model, tokenizer, lambda turns: plain_ids(turns, tokenizer), (tokenizer.eos_id,)
        ), config
    own = config.data.template == "own"
    template = TokenizerTemplate.load(weights.tokenizer, tokenizer) if own else CHATML

    def ids(turns: Sequence[Turn]) -> list[int]:
        return render_prompt(turns, tokenizer, template)

    return ChatModel(model, tokenizer, ids, stop_ids(tokenizer, template)), config


def answer(model: ChatModel, config: RunConfig, step: int, line: str) -> Reply:
    """Answer one line; an LmmError becomes a refusal."""
    query = json.loads(line)
    try:
        if query["command"] == "talk":
            sentence, data = model.talk(query["args"], config)
        else:
            sentence, data = model.read(query["args"])
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
        model, config = open_checkpoint(path)
    except LmmError as error:
        send(Reply(False, str(error), step))
        return
    send(Reply(True, Message("ready"), step))
    for line in lines:
        send(answer(model, config, step, line))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(Path(sys.argv[1]), sys.stdin, sys.stdout)
    else:
        serve(Path("/nowhere/checkpoints/step-000000007"), (), sys.stdout)
        print("=== 自测通过 ===")

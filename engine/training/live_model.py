"""What can be measured of the model between steps: validation, probes, samples, chat.

Training is the same to the bit with these and without. Each is done on a schedule or for a
command; evaluation with lm-eval, which needs a checkpoint, is `engine.training.evaluations`.
"""

from __future__ import annotations

from typing import Any

import torch

from lmm_tui.engine.chat.chat_model import ChatModel, check_length
from lmm_tui.engine.generation.generate import evaluating
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.stages.likelihood import LikelihoodStage
from lmm_tui.engine.stages.oom_split import split
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.sampler import Sampler
from lmm_tui.engine.training.step_reader import StepReader
from lmm_tui.message import Message
from lmm_tui.metrics.names import VAL_LOSS, describe
from lmm_tui.metrics.values import measured

LONGEST_PROMPT = 2048
"""Tokens that a model in training reads for a command: the next step waits for them."""


class LiveModel:
    def __init__(self, context: TrainContext, reader: StepReader) -> None:
        """`reader` has the numbers of the last step: rows are logged in order."""
        self._context = context
        self._reader = reader
        self._sampler = Sampler(context.stage, context.run)

    def validate(self) -> str:
        """Measure loss and other metrics on validation data; a short sentence of them."""
        context = self._context
        self._reader.flush()
        with (
            context.activity(Message("validating")),
            torch.no_grad(),
            evaluating(context.model),
            context.autocast(),
        ):
            numbers = context.stage.validate(context.model)
            numbers |= self._calibration()
        context.report_warnings()
        if not numbers:
            return Message("no validation data")
        context.val_loss, context.val_step = numbers.get(VAL_LOSS), context.step
        context.observer.record_validation(context.step, context.tokens, numbers)
        context.status.update(val_loss=context.val_loss)
        sentence = measured({describe(name).title: numbers[name] for name in numbers}, ".4g")
        context.events.write("validation", sentence, step=context.step, numbers=numbers)
        return sentence

    def _calibration(self) -> dict[str, float]:
        """Of the first validation tokens; only stages that learn from text have some."""
        context, stage = self._context, self._context.stage
        if not isinstance(stage, LikelihoodStage):
            return {}
        return context.by_leader(
            lambda model: context.observer.deep.calibrate(model, stage.validation_batches())
        )

    def probe(self) -> str:
        """Run the probes now, on the data of the next step; their main numbers."""
        context = self._context
        self._reader.flush()
        with context.activity(Message("probing")), torch.no_grad(), context.autocast():
            batch = split(context.stage.micro_batches(context.step)[:1], context.parts)[0]
            with context.observer.probe_forward(batch, True):
                context.model(lambda model: context.stage.loss(model, batch))
        return self.log_probe()

    def log_probe(self) -> str:
        """Log what the probes measured in this step; their main numbers."""
        context = self._context
        summary = context.observer.log_probe(context.step, context.tokens)
        context.events.write("probe", summary, step=context.step)
        return summary

    def sample(self, **options: Any) -> list[str]:
        """Generate samples and record them with token losses; `options` as `Sampler.sample`."""
        context = self._context
        if prompt := options.get("prompt"):
            check_length(len(context.stage.prompt_ids(prompt)), LONGEST_PROMPT)
        self._reader.flush()

        def write(model: LanguageModel) -> list[str]:
            texts = self._sampler.sample(model, context.step, context.config.log, **options)
            self._sampler.record_token_losses(model, context.step, context.stage.probe_sequence)
            return texts

        with context.activity(Message("sampling")), context.autocast():
            texts = context.by_leader(write)
        context.events.write(
            "sample",
            Message("{texts} sample" if len(texts) == 1 else "{texts} samples", texts=len(texts)),
            step=context.step,
        )
        return texts

    def talk(self, args: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Some tokens of a reply; as `ChatModel.talk`."""
        with self._context.activity(Message("talking")), self._context.autocast():
            self._reader.flush()
            config = self._context.config
            return self._context.by_leader(lambda model: self._chat_model(model).talk(args, config))

    def read(self, args: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The loss of each token of a text; as `ChatModel.read`."""
        with self._context.activity(Message("reading")), self._context.autocast():
            self._reader.flush()
            return self._context.by_leader(lambda model: self._chat_model(model).read(args))

    def _chat_model(self, model: LanguageModel) -> ChatModel:
        stage = self._context.stage
        return ChatModel(
            model,
            stage.tokenizer,
            stage.turn_ids,
            stage.stop_ids,
            stage.probe_sequence,
            longest=LONGEST_PROMPT,
        )


if __name__ == "__main__":
    from types import SimpleNamespace

    context = SimpleNamespace(step=3, tokens=96)
    context.events = SimpleNamespace(write=lambda kind, text, **about: print(kind, text))
    context.observer = SimpleNamespace(log_probe=lambda step, tokens: "entropy 3.2")
    demo: Any = SimpleNamespace(_context=context)
    LiveModel.log_probe(demo)
    print("=== 自测通过 ===")

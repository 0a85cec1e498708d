"""Writes samples and token losses of the live model to samples.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmm_tui.engine.config.sections.log_config import LogConfig
from lmm_tui.engine.generation.generate import generate, token_losses
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.run.run import Run
from lmm_tui.engine.run.samples import RunSample
from lmm_tui.engine.stages.base import Stage

_LOSS_TOKENS = 96


class Sampler:
    """Of one run; the mode of the model and the random numbers of training stay untouched."""

    def __init__(self, stage: Stage, run: Run) -> None:
        self._stage = stage
        self._run = run

    def sample(
        self,
        model: LanguageModel,
        step: int,
        settings: LogConfig,
        *,
        prompt: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
    ) -> list[str]:
        """Generate from `prompt`, or from each configured prompt, and record the texts."""
        chosen: dict[str, Any] = {
            "max_tokens": settings.sample_tokens if max_tokens is None else max_tokens,
            "temperature": settings.temperature if temperature is None else temperature,
            "top_p": settings.top_p if top_p is None else top_p,
        }
        texts = []
        prompts = settings.prompts or self._stage.prompts
        for number, text in enumerate([prompt] if prompt else prompts):
            ids = self._stage.prompt_ids(text)
            seed = step * len(prompts) + number
            stop_ids = self._stage.stop_ids
            new_ids = list(generate(model, ids, seed=seed, stop_ids=stop_ids, **chosen))
            texts.append(self._stage.tokenizer.decode(new_ids))
            details = {
                "tokens": len(new_ids),
                "temperature": chosen["temperature"],
                "top_p": chosen["top_p"],
                "answer": self._stage.is_chat,
            }
            self._run.add_sample(RunSample(step, prompt=text, text=texts[-1], details=details))
        return texts

    def record_token_losses(self, model: LanguageModel, step: int, ids: Sequence[int]) -> None:
        """Record the loss of each token of a text given those before it; the first has none."""
        ids = ids[:_LOSS_TOKENS]
        losses = [round(loss, 4) for loss in token_losses(model, ids)]
        tokens = self._stage.tokenizer.token_strings(ids)[1:]
        details = {"tokens": tokens, "losses": losses}
        self._run.add_sample(RunSample(step, "token_losses", details=details))


if __name__ == "__main__":
    from types import SimpleNamespace

    run: Any = SimpleNamespace(add_sample=lambda sample: print(sample.record()))
    run.add_sample(RunSample(1, prompt="the cat", text=" sat"))
    print("=== 自测通过 ===")

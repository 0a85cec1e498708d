"""Samples completions of prompts from the live model, and scores them with the rewards.

Token loops are `engine.generation.rollout`, rewards `engine.stages.rewards`. Where the memory is
too small for all completions at once, they are sampled in parts; the tokens are the same.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Prompt, last_question
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.sections.grpo_config import GrpoConfig
from lmm_tui.engine.device import empty_cache
from lmm_tui.engine.generation.rollout import Rollouts, rollout
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.stages.oom_split import MemoryExhaustedError, with_oom_retry
from lmm_tui.engine.stages.reward_loading import load_rewards
from lmm_tui.engine.stages.rewards import Sample, Scores, score
from lmm_tui.message import Message


class CompletionSampler:
    def __init__(self, settings: GrpoConfig, device: torch.device) -> None:
        self.warnings: list[str] = []
        """Sentences for people, which the stage reports."""
        self.parts = 1
        """In how many parts completions are sampled; grows where the memory is too small."""
        self._settings = settings
        self._device = device
        self._rewards = load_rewards(settings.rewards, str(device))
        self._weights = settings.weights or [1.0] * len(self._rewards)
        if len(self._weights) != len(self._rewards):
            raise ConfigError(
                "grpo.weights: {weights} weights for {rewards} rewards; give one for each",
                weights=len(self._weights),
                rewards=len(self._rewards),
            )

    def sample(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        *,
        samples: int,
        temperature: float,
        seed: int,
        stop_ids: Collection[int],
        skip: int = 0,
    ) -> Rollouts:
        """`samples` completions of each prompt; a pure function of the arguments, as `rollout`."""
        return with_oom_retry(
            lambda: rollout(
                model,
                prompts,
                samples=samples,
                max_tokens=self._settings.max_tokens,
                temperature=temperature,
                top_p=self._settings.top_p,
                seed=seed,
                stop_ids=stop_ids,
                parts=self.parts,
                skip=skip,
            ),
            lambda: self._split_further(len(prompts) * samples),
        )

    def score(self, tokenizer: Tokenizer, prompts: Sequence[Prompt], rollouts: Rollouts) -> Scores:
        """The rewards of completions; there is one prompt for each of them."""
        samples = [
            Sample(
                last_question(prompt.turns),
                text_of(ids, ended, tokenizer),
                prompt.answer,
                tokens=len(ids),
                ended=ended,
            )
            for prompt, ids, ended in zip(prompts, rollouts.ids, rollouts.ended, strict=True)
        ]
        return score(self._rewards, self._weights, samples)

    def _split_further(self, completions: int) -> None:
        if self.parts >= completions:
            most = self._settings.max_tokens
            raise MemoryExhaustedError(
                "grpo.max_tokens: not even one answer of {most} tokens can be "
                "made in the memory of {device}; take a smaller model, or "
                "grpo.max_tokens {most2}",
                most=most,
                device=self._device,
                most2=most // 2,
            )
        self.parts *= 2
        empty_cache(self._device)
        self.warnings.append(
            Message(
                "out of memory on {device}: answers are made in {parts} parts from "
                "here on; each step still learns from as many",
                device=self._device,
                parts=self.parts,
            )
        )


def text_of(ids: Sequence[int], ended: bool, tokenizer: Tokenizer) -> str:
    """A completion as text, without the token that ended it."""
    return tokenizer.decode(ids[:-1] if ended else ids)


if __name__ == "__main__":
    words = Tokenizer.train(["What is 2 + 2? 4"] * 20, 280)
    sampler = CompletionSampler(GrpoConfig(rewards=["length:2", "exact"]), torch.device("cpu"))
    ids = [words.encode("4")]
    answers = Rollouts(ids=ids, ended=[True], log_probs=[])
    print(sampler.score(words, [Prompt((), "4")], answers))
    print("=== 自测通过 ===")

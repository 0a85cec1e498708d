"""Reinforcement learning from rewards: GRPO and its variants, and RLOO.

A round samples a group of completions for each of some prompts, and one optimiser step or more
learn from them. This file arranges rounds; sampling and scoring are `completion_sampler`, a round
as micro-batches `rollout_batch`, the loss `policy_loss`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields, replace
from functools import partial
from itertools import compress
from typing import Any

import torch
from torch import Tensor

from lmm_tui.data.batching.order import Order
from lmm_tui.data.chat.kept_examples import KeptPrompts
from lmm_tui.data.chat.prompts import read_prompts
from lmm_tui.data.chat.rendering import PromptRendering
from lmm_tui.data.chat.whole_check import differences
from lmm_tui.data.errors import DataError
from lmm_tui.data.preparation.prepare import Progress
from lmm_tui.data.text.dataset import Dataset
from lmm_tui.data.turns import Prompt, last_question
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.device import empty_cache
from lmm_tui.engine.generation.generate import evaluating
from lmm_tui.engine.generation.rollout import Rollouts
from lmm_tui.engine.model.adapters import without_adapters
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.model.loss import LogProbs, token_log_probs
from lmm_tui.engine.run.jsonl_writer import JsonlWriter
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.samples import RunSample
from lmm_tui.engine.stages import reference_model
from lmm_tui.engine.stages.base import Losses, MicroBatch
from lmm_tui.engine.stages.chat_base import ChatStage, read_side
from lmm_tui.engine.stages.completion_batch import CompletionBatch
from lmm_tui.engine.stages.completion_sampler import CompletionSampler, text_of
from lmm_tui.engine.stages.mixture_parts import refuse_mixture
from lmm_tui.engine.stages.oom_split import next_split, split, with_oom_retry
from lmm_tui.engine.stages.policy_loss import PER_STEP, policy_loss
from lmm_tui.engine.stages.rewards import Scores
from lmm_tui.engine.stages.rollout_batch import (
    RolloutBatch,
    completion_batches,
    mean_scored,
    metric_key,
    nan_for_none,
)
from lmm_tui.message import Message
from lmm_tui.metrics.stages.grpo import GRPO

log = logging.getLogger("engine")

_SHOWN_EVERY = 50
"""Rounds between recorded completions where the configuration has no samples."""
_SHOWN_PROMPTS = 2


MeasureLogProbs = Callable[[LanguageModel, CompletionBatch], Tensor]


class GrpoStage(ChatStage):
    """`train.batch_size` counts prompts, each with a group of completions."""

    info = GRPO

    deterministic = False  # The completions of a step come from the model as it was then.

    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        refuse_mixture(config)
        self._settings, self._train, self._log = config.grpo, config.train, config.log
        self._sampler = CompletionSampler(config.grpo, device)
        progress(Message("reading prompts"), 0, 0)
        rows = read_side(read_prompts, config.data, "train")
        super().__init__(config, rows, _texts, progress)
        # One list: the sampler adds to it while the run trains.
        self.warnings = self._sampler.warnings
        self._seq_len, self._device = config.data.seq_len, device
        self._parts = 1
        """In how many parts old log-probabilities are measured; grows where memory is too small."""
        self._has_adapters = config.lora.rank > 0
        self._ids = self._usable(rows)
        self.warn_of_skipped(rows, config.data.named)
        self._warn_of_left_out()
        if config.data.tokenizer is not None:
            asked = compress(rows, self._ids.usable)
            talks = ([replace(turn, learnt=False) for turn in p.turns] for p in asked)
            self.warnings += differences(talks, self.tokenizer, self.template)
        held_out = read_side(read_prompts, config.data, "test")
        self._val_ids = self._usable(held_out)
        questions = (prompt.turns for prompt in compress(held_out, self._val_ids.usable))
        self.ask_own_questions(config.data.named, questions)
        self.data_fingerprint = self._ids.fingerprint
        self._order = Order(len(self._ids), config.train.seed)
        self.steps_per_epoch = self._settings.updates * len(self._ids) / self._prompts_per_round
        self._round: RolloutBatch | None = None
        self._model: LanguageModel | None = None
        self._reference: LanguageModel | None = None
        self.baselines = {}
        self.probe_sequence = (self._val_ids or self._ids)[0]

    @property
    def _prompts_per_round(self) -> int:
        return self._train.batch_size * self._train.grad_accum

    def begin(self, model: LanguageModel, run_dir: RunDir, fresh: bool) -> None:
        self._model = model
        self._samples = JsonlWriter(run_dir.samples if self.ranks.leads else None)
        # With adapters the reference is the model without them: no second one is needed.
        if self._settings.beta and not self._has_adapters:
            self._reference = reference_model.frozen_model(model, run_dir, fresh, self.ranks)

    def micro_batches(self, step: int) -> list[MicroBatch]:
        number = step // self._settings.updates
        if self._round is None or self._round.number != number:
            self._round = self._new_round(number)
            if number % (self._log.sample_interval(self._train.steps) or _SHOWN_EVERY) == 0:
                self._record_samples(self._round, step)
        return [*self._batches(self._round)]

    def loss(self, model: LanguageModel, batch: MicroBatch) -> Losses:
        assert isinstance(batch, CompletionBatch)
        settings = self._settings
        found = self._log_probs(model, batch)
        log_p_AxT = batch.by_completion(found.log_p_N)
        # With one update a round, the policy is the one that sampled: its own log-probs serve as
        # the old ones. In both cases the ratio of a first update is 1 in any precision.
        old_AxT = log_p_AxT.detach() if settings.updates == 1 else batch.old_log_p_AxT
        gap_AxT = (batch.sampled_log_p_AxT - old_AxT).abs() * batch.mask_AxT
        in_loss = settings.beta > 0 and not self._pays_for_kl
        reference = self._reference_log_probs(model, batch) if in_loss else None
        result = policy_loss(
            log_p_AxT,
            old_AxT,
            batch.advantages_A,
            batch.mask_AxT,
            kind=settings.loss,
            clip_low=settings.clip_low,
            clip_high=settings.clip_high,
            length=batch.mean_length if settings.loss in PER_STEP else float(settings.max_tokens),
            reference_log_p_NxT=reference,
            beta=settings.beta,
        )
        # The loop divides by completions: with this divisor sums over tokens become token means.
        return result.losses_N.sum(), batch.sums | {
            "grpo/kl": batch.sums["grpo/kl"] + result.kl / batch.mean_length,
            "grpo/entropy": found.entropy_N.sum() / batch.mean_length,
            "grpo/clipped": result.clipped / batch.mean_length,
            "grpo/logp_gap": gap_AxT.sum() / batch.mean_length,
        }

    @torch.no_grad()
    def validate(self, model: LanguageModel) -> dict[str, float]:
        """The mean rewards of greedy completions of validation prompts."""
        count = self._log.val_sequences
        ids = self._val_ids[:count]
        prompts = [self._val_ids.judged_by(at) for at in range(len(ids))]
        if not prompts:
            return {}

        def answered(whole: LanguageModel) -> Scores:
            completions = self._sampler.sample(
                whole, ids, samples=1, temperature=0.0, seed=0, stop_ids=self.stop_ids
            )
            return self._sampler.score(self.tokenizer, prompts, completions)

        scores = self.by_leader(model, answered)
        named = {"reward": scores.totals} | (scores.by_reward if len(scores.by_reward) > 1 else {})
        return {
            f"val/{metric_key(name)}": mean_scored(nan_for_none(values))
            for name, values in named.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """The number of parts in sampling, and the round where later steps learn from it again."""
        state = super().state_dict() | {"rollout_parts": self._sampler.parts}
        if self._round is None or self._settings.updates == 1:
            return state
        return state | asdict(self._round)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        # Older checkpoints have no number of parts.
        self._sampler.parts = state.get("rollout_parts", 1)
        names = [field.name for field in fields(RolloutBatch)]
        if names[0] in state:
            # Older checkpoints have only what the rollout measured.
            state = {"old_log_probs": state["log_probs"], "kl": []} | state
            self._round = RolloutBatch(**{name: state[name] for name in names})

    def _new_round(self, number: int) -> RolloutBatch:
        """Sample and score completions: a pure function of the policy, seed and number."""
        assert self._model is not None
        prompts = self._order.take(number, self._prompts_per_round).tolist()
        completions = self._sample(self._model, prompts, number)
        judged = map(self._ids.judged_by, prompts)
        repeated = [prompt for prompt in judged for _ in range(self._settings.group)]
        scores = self.ranks.by_leader(
            lambda: self._sampler.score(self.tokenizer, repeated, completions)
        )
        if scores.failures:
            log.warning("%d answers not judged, first %s", scores.failures, scores.first_failure)
        found = RolloutBatch(
            number=number,
            prompts=prompts,
            ids=completions.ids,
            ended=completions.ended,
            log_probs=[log_probs.clone() for log_probs in completions.log_probs],
            old_log_probs=[],
            totals=nan_for_none(scores.totals),
            by_reward={name: nan_for_none(values) for name, values in scores.by_reward.items()},
            failures=scores.failures,
        )
        model = self._model
        if self._settings.updates > 1 or self._pays_for_kl:
            found.old_log_probs = self._measured(model, self._policy_log_probs, found)
        if self._pays_for_kl:
            reference = self._measured(model, self._reference_log_probs, found)
            pairs = zip(found.old_log_probs, reference, strict=True)
            found.kl = [float((policy_T - base_T).sum()) for policy_T, base_T in pairs]
        return found

    def _sample(self, model: LanguageModel, prompts: Sequence[int], number: int) -> Rollouts:
        """The completions of a round; each rank makes those of its share of the prompts."""
        own = len(prompts) // self.ranks.size
        first = self.ranks.rank * own
        with self.whole(model) as whole:
            found = self._sampler.sample(
                whole,
                [self._ids[at] for at in prompts[first : first + own]],
                samples=self._settings.group,
                temperature=self._settings.temperature,
                seed=self._train.seed + number,
                stop_ids=self.stop_ids,
                skip=first * self._settings.group,
            )
            shares = self.ranks.gather(found)
        return Rollouts(
            [ids for share in shares for ids in share.ids],
            [ended for share in shares for ended in share.ended],
            [log_probs for share in shares for log_probs in share.log_probs],
        )

    def _batches(self, rollouts: RolloutBatch) -> list[CompletionBatch]:
        return completion_batches(
            rollouts,
            self._ids,
            kind=self._settings.loss,
            beta=self._settings.beta,
            batch_size=self._train.batch_size,
            seq_len=self._seq_len,
            device=self._device,
        )

    @torch.no_grad()
    def _measured(
        self, model: LanguageModel, log_probs: MeasureLogProbs, rollouts: RolloutBatch
    ) -> list[Tensor]:
        """Those of each completion's tokens, measured as the steps of the round will."""
        found: list[Tensor] = []
        with evaluating(model):
            for group, batch in self.ranks.in_turn(self._batches(rollouts)):
                rows = with_oom_retry(
                    lambda: model(partial(self._measure, log_probs=log_probs, batch=batch)),  # noqa: B023
                    partial(self._split_further, batch),
                )
                for share in self.ranks.gather(rows)[: len(group)]:
                    found += share
        return [row[: len(ids)].clone() for row, ids in zip(found, rollouts.ids, strict=True)]

    def _measure(
        self, model: LanguageModel, log_probs: MeasureLogProbs, batch: CompletionBatch
    ) -> list[Tensor]:
        parts = split([batch], self._parts)
        return [row_T.cpu() for part in parts for row_T in log_probs(model, part)]

    def _split_further(self, batch: CompletionBatch) -> None:
        self._parts = next_split([batch], self._parts, str(self._device))
        empty_cache(self._device)

    def _record_samples(self, rollouts: RolloutBatch, step: int) -> None:
        """Write the best and the worst completion of a few prompts to samples.jsonl."""
        for number in rollouts.extremes(_SHOWN_PROMPTS):
            prompt = self._ids.judged_by(rollouts.prompts[number // rollouts.group])
            ids, ended = rollouts.ids[number], rollouts.ended[number]
            sample = RunSample(
                step,
                prompt=last_question(prompt.turns),
                text=text_of(ids, ended, self.tokenizer),
                details={"tokens": len(ids), "answer": True, "reward": rollouts.totals[number]},
            )
            self._samples.write(sample.record())

    def _log_probs(self, model: LanguageModel, batch: CompletionBatch) -> LogProbs:
        """Of the distribution that completions are sampled from: softmax(logits / temperature)."""
        return token_log_probs(
            *model.projection(batch.hidden(model)),
            batch.labels_BxT,
            self._settings.temperature,
            model.softcap,
            batch.counted,
        )

    def _policy_log_probs(self, model: LanguageModel, batch: CompletionBatch) -> Tensor:
        """(A, T)."""
        return batch.by_completion(self._log_probs(model, batch).log_p_N)

    @torch.no_grad()
    def _reference_log_probs(self, model: LanguageModel, batch: CompletionBatch) -> Tensor:
        """(A, T)."""
        reference = self._reference or model
        with nullcontext() if self._reference else without_adapters(model):
            return self._policy_log_probs(reference, batch)

    @property
    def _pays_for_kl(self) -> bool:
        """Whether rewards pay for the distance from the reference; else it is part of the loss."""
        return self._settings.loss == "rloo" and self._settings.beta > 0

    def _usable(self, rows: Dataset[Prompt]) -> KeptPrompts:
        """The prompts that leave room for a completion and can be scored."""
        rendering = PromptRendering(self.tokenizer, self.template)
        longest = self._seq_len - self._settings.max_tokens
        needs_answer = "exact" in self._settings.rewards
        return KeptPrompts(self.prepared(rows, rendering), longest, needs_answer)

    def _warn_of_left_out(self) -> None:
        """Of prompts that are not in use; DataError where none is."""
        unanswered = self._ids.unanswered
        too_long = self._ids.total - unanswered - len(self._ids)
        max_tokens, seq_len = self._settings.max_tokens, self._seq_len
        if not self._ids:
            if not unanswered:
                raise DataError(
                    "data.source: no prompt leaves room for {max_tokens} tokens of {seq_len}; "
                    "raise data.seq_len or lower grpo.max_tokens",
                    max_tokens=max_tokens,
                    seq_len=seq_len,
                )
            if not too_long:
                raise DataError(
                    "data.source: no prompt has an answer, which the reward 'exact' compares with; "
                    'give "answer", or other grpo.rewards'
                )
            raise DataError(
                "data.source: {unanswered} prompts have no answer, which the "
                "reward 'exact' compares with, and the other {too_long} leave no "
                "room for {max_tokens} tokens of {seq_len}",
                unanswered=unanswered,
                too_long=too_long,
                max_tokens=max_tokens,
                seq_len=seq_len,
            )
        if unanswered:
            self.warnings.append(
                Message(
                    "{unanswered} prompts left out: no answer, which the reward "
                    "'exact' compares with",
                    unanswered=unanswered,
                )
            )
        if too_long:
            self.warnings.append(
                Message(
                    "{too_long} prompts left out: they leave no room for {max_tokens} tokens of "
                    "{seq_len}",
                    too_long=too_long,
                    max_tokens=max_tokens,
                    seq_len=seq_len,
                )
            )


def _texts(prompt: Prompt) -> Iterator[str]:
    return (turn.content for turn in prompt.turns)


if __name__ == "__main__":
    from lmm_tui.engine.config.resolve import resolve

    settings = resolve(assignments={"stage": "grpo"}).completed()
    stage = GrpoStage(settings, torch.device("cpu"), lambda *_: None)
    print(stage.tokenizer.decode(stage.probe_sequence), stage.steps_per_epoch, "steps per epoch")
    print("=== 自测通过 ===")

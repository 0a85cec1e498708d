"""Reinforcement learning from verifiable rewards: groups of answers to a prompt, judged together.

A round asks some prompts, several answers to each, and lets one optimiser step or more learn from
them. How answers are made, judged and weighed is `engine.generation.rollout`,
`engine.stages.rewards` and
`engine.stages.policy_loss`; this file puts them together, without padding.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from lmm_tui.data.batching.order import Order
from lmm_tui.data.chat.prompts import read_prompts
from lmm_tui.data.chat.spans import Rendered
from lmm_tui.data.chat.template import render_prompt
from lmm_tui.data.errors import DataError
from lmm_tui.data.preparation.prepare import Progress
from lmm_tui.data.turns import Prompt, question
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.device import empty_cache, to_device
from lmm_tui.engine.generation.rollout import Rollouts, rollout
from lmm_tui.engine.model.adapters import without_adapters
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.loss import LogProbs, token_log_probs
from lmm_tui.engine.run.jsonl_writer import JsonlWriter
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages import reference_model
from lmm_tui.engine.stages.base import Losses, MicroBatch
from lmm_tui.engine.stages.chat_base import ChatStage, pack_answers, packed_batch, read_side
from lmm_tui.engine.stages.oom_split import MemoryExhaustedError, fit
from lmm_tui.engine.stages.policy_loss import group_advantages, groups_without_spread, policy_loss
from lmm_tui.engine.stages.rewards import Sample, Scores, load_rewards, score

log = logging.getLogger("engine")

_SHOWN_EVERY = 50
"""Steps between printed answers where the configuration has no samples."""
_SHOWN_GROUPS = 2


@dataclass
class RolloutBatch:
    """What was asked, said and earned; plain values and tensors, so that it can be saved."""

    number: int
    prompts: list[int]
    ids: list[list[int]]
    ended: list[bool]
    log_probs: list[Tensor]
    totals: list[float]
    """NaN for an answer that a reward failed on."""
    by_reward: dict[str, list[float]]
    failures: int


@dataclass(frozen=True, kw_only=True)
class AnswerBatch(MicroBatch):
    """A answers in packed rows, of at most T tokens each."""

    unit: ClassVar[str] = "answer with its prompt"

    answers: Sequence[Rendered]
    """Each after its prompt, before they were packed."""
    answer_of_N: Tensor
    """Which answer each counted label belongs to."""
    place_of_N: Tensor
    """And which of its tokens that is."""
    old_log_p_AxT: Tensor
    mask_AxT: Tensor
    advantages_A: Tensor
    mean_length: float
    """Tokens of an answer, over the whole step."""
    sums: dict[str, Tensor]
    """What is known before the forward pass."""

    @classmethod
    def of(
        cls, answers: Sequence[Rendered], seq_len: int, device: torch.device, **known: Any
    ) -> Self:
        """Answers packed into rows of up to `seq_len` places; `known` are the fields after T."""
        rows, answer_of = pack_answers(answers, seq_len)
        prompt_lengths = np.array([learnt.index(True) for _, learnt in answers])
        place_of = rows.positions[rows.labels >= 0] - prompt_lengths[answer_of] + 1
        return cls(
            **vars(packed_batch(rows, device, weight=len(answers))),
            answers=answers,
            answer_of_N=to_device(answer_of, device),
            place_of_N=to_device(place_of, device),
            **known,
        )

    @property
    def units(self) -> int:
        return len(self.answers)

    def part(self, first: int, last: int) -> Self:
        return self.of(
            self.answers[first:last],
            seq_len=self.ids_BxT.shape[1],
            device=self.ids_BxT.device,
            old_log_p_AxT=self.old_log_p_AxT[first:last],
            mask_AxT=self.mask_AxT[first:last],
            advantages_A=self.advantages_A[first:last],
            mean_length=self.mean_length,
            sums={name: value * (last - first) / self.units for name, value in self.sums.items()},
        )


class GrpoStage(ChatStage):
    """`train.batch_size` counts prompts, each with a group of answers."""

    repeatable = False  # The answers of a step are the model's of then.

    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        self._settings, self._train, self._log = config.grpo, config.train, config.log
        self._rewards = load_rewards(self._settings.rewards, str(device))
        self._weights = self._settings.weights or [1.0] * len(self._rewards)
        if len(self._weights) != len(self._rewards):
            raise ConfigError(
                f"grpo.weights: {len(self._weights)} weights for {len(self._rewards)} rewards; "
                "give one for each"
            )
        progress("reading prompts", 0, 0)
        prompts = list(read_side(read_prompts, config.data, "train"))
        super().__init__(config, (turn.content for prompt in prompts for turn in prompt.turns))
        self._seq_len, self._device = config.data.seq_len, device
        self._adapted = config.lora.rank > 0
        self._prompts, self._ids = self._that_fit(prompts)
        if not self._prompts:
            raise DataError(
                f"data.source: no prompt leaves room for {self._settings.max_tokens} tokens of "
                f"{self._seq_len}; raise data.seq_len or lower grpo.max_tokens"
            )
        if left_out := len(prompts) - len(self._prompts):
            self.notes.append(f"{left_out} prompts left out: too long, or without an answer")
        self._held_out, self._held_out_ids = self._that_fit(
            list(read_side(read_prompts, config.data, "test"))
        )
        self._order = Order(len(self._prompts), config.train.seed)
        self.steps_per_epoch = self._settings.updates * len(self._prompts) / self._asked_at_once
        self._round: RolloutBatch | None = None
        self._rollout_parts = 1
        self._model: Decoder | None = None
        self._reference: Decoder | None = None
        self.references = {}
        self.specimen = (self._held_out_ids or self._ids)[0]

    @property
    def _asked_at_once(self) -> int:
        """Prompts of a round."""
        return self._train.batch_size * self._train.grad_accum

    def begin(self, model: Decoder, run_dir: RunDir, fresh: bool) -> None:
        self._model = model
        self._samples = JsonlWriter(run_dir.samples)
        # With adapters the reference is the model without them: no second one is needed.
        if self._settings.beta and not self._adapted:
            self._reference = reference_model.frozen_model(model, run_dir, fresh)

    def micro_batches(self, step: int) -> list[MicroBatch]:
        number = step // self._settings.updates
        if self._round is None or self._round.number != number:
            self._round = self._ask(number)
            if number % (self._log.sample_every or _SHOWN_EVERY) == 0:
                self._show(self._round, step)
        return self._batches(self._round)

    def loss(self, model: Decoder, batch: MicroBatch) -> Losses:
        assert isinstance(batch, AnswerBatch)
        settings = self._settings
        found = token_log_probs(batch.hidden(model), model.head_weight, batch.labels_BxT)
        log_p_AxT = _by_answer(found, batch)
        # On the first step after asking, the policy is the one that spoke: its own log-probs are
        # the same in any precision.
        old_AxT = log_p_AxT.detach() if settings.updates == 1 else batch.old_log_p_AxT
        done = policy_loss(
            log_p_AxT,
            old_AxT,
            batch.advantages_A,
            batch.mask_AxT,
            kind=settings.loss,
            clip_low=settings.clip_low,
            clip_high=settings.clip_high,
            answer_length=self._answer_length(batch),
            reference_log_p_NxT=self._reference_log_probs(model, batch),
            beta=settings.beta,
        )
        # Sums over tokens, so that the loop's division by answers gives means over tokens.
        return done.losses_N.sum(), batch.sums | {
            "grpo/kl": done.kl / batch.mean_length,
            "grpo/entropy": found.entropy_N.sum() / batch.mean_length,
            "grpo/clipped": done.clipped / batch.mean_length,
        }

    @torch.no_grad()
    def held_out(self, model: Decoder) -> dict[str, float]:
        """What greedy answers to held-out prompts earn."""
        count = self._log.val_batches * self._train.batch_size
        prompts, ids = self._held_out[:count], self._held_out_ids[:count]
        if not prompts:
            return {}
        said = self._roll(model, ids, samples=1, temperature=0.0, seed=0)
        scores = self._judge(prompts, said)
        named = {"reward": scores.totals} | (scores.by_reward if len(self._rewards) > 1 else {})
        return {f"val/{_key(name)}": _mean(_numbers(values)) for name, values in named.items()}

    def state_dict(self) -> dict[str, Any]:
        """How finely answers are made, and the round where later steps learn from it again."""
        state = {"rollout_parts": self._rollout_parts}
        if self._round is None or self._settings.updates == 1:
            return state
        return state | asdict(self._round)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # Runs of before answers could be cut have no count of parts.
        self._rollout_parts = state.get("rollout_parts", 1)
        if asked := {name: value for name, value in state.items() if name != "rollout_parts"}:
            self._round = RolloutBatch(**asked)

    # A round

    def _ask(self, number: int) -> RolloutBatch:
        """Let the policy answer, and judge it: a pure function of the policy, seed and number."""
        assert self._model is not None
        prompts = self._order.take(number, self._asked_at_once).tolist()
        said = self._roll(
            self._model,
            [self._ids[at] for at in prompts],
            samples=self._settings.group,
            temperature=self._settings.temperature,
            seed=self._train.seed + number,
        )
        asked = [self._prompts[at] for at in prompts for _ in range(self._settings.group)]
        scores = self._judge(asked, said)
        if scores.failures:
            log.warning("%d answers not judged, first %s", scores.failures, scores.first_failure)
        return RolloutBatch(
            number=number,
            prompts=prompts,
            ids=said.ids,
            ended=said.ended,
            log_probs=[log_probs.clone() for log_probs in said.log_probs],
            totals=_numbers(scores.totals),
            by_reward={name: _numbers(values) for name, values in scores.by_reward.items()},
            failures=scores.failures,
        )

    def _roll(
        self,
        model: Decoder,
        prompts: Sequence[Sequence[int]],
        *,
        samples: int,
        temperature: float,
        seed: int,
    ) -> Rollouts:
        return fit(
            lambda: rollout(
                model,
                prompts,
                samples=samples,
                max_tokens=self._settings.max_tokens,
                temperature=temperature,
                top_p=self._settings.top_p,
                seed=seed,
                stop_ids=self.stop_ids,
                parts=self._rollout_parts,
            ),
            lambda: self._answer_fewer_at_once(len(prompts) * samples),
        )

    def _answer_fewer_at_once(self, answers: int) -> None:
        if self._rollout_parts >= answers:
            most = self._settings.max_tokens
            raise MemoryExhaustedError(
                f"grpo.max_tokens: not even one answer of {most} tokens can be made in the memory "
                f"of {self._device}; take a smaller model, or grpo.max_tokens {most // 2}"
            )
        self._rollout_parts *= 2
        empty_cache(self._device)
        self.notes.append(
            f"out of memory on {self._device}: answers are made in {self._rollout_parts} parts "
            "from here on; each step still learns from as many"
        )

    def _judge(self, prompts: Sequence[Prompt], said: Rollouts) -> Scores:
        """One prompt for each answer."""
        samples = [
            Sample(question(prompt.turns), self._text(ids), prompt.answer, len(ids), ended)
            for prompt, ids, ended in zip(prompts, said.ids, said.ended, strict=True)
        ]
        return score(self._rewards, self._weights, samples)

    def _text(self, ids: Sequence[int]) -> str:
        ends = self.stop_ids
        return self.tokenizer.decode(token for token in ids if token not in ends)

    def _show(self, asked: RolloutBatch, step: int) -> None:
        """Write down the best and the worst answer to a few prompts, with what they earned."""
        group = self._settings.group
        for place, at in enumerate(asked.prompts[:_SHOWN_GROUPS]):
            answers = range(place * group, (place + 1) * group)
            ranked = sorted(answers, key=lambda answer: asked.totals[answer])
            for answer in (ranked[-1], ranked[0]):
                self._samples.write(self._sample(asked, at, answer, step))

    def _sample(self, asked: RolloutBatch, prompt: int, answer: int, step: int) -> dict[str, Any]:
        return {
            "time": round(time.time(), 3),
            "step": step,
            "kind": "sample",
            "prompt": question(self._prompts[prompt].turns),
            "text": self._text(asked.ids[answer]),
            "tokens": len(asked.ids[answer]),
            "answer": True,
            "reward": asked.totals[answer],
        }

    # Batches

    def _batches(self, asked: RolloutBatch) -> list[MicroBatch]:
        settings, size = self._settings, self._train.batch_size
        rewards_GxK = torch.tensor(asked.totals).view(-1, settings.group)
        advantages_GxK = group_advantages(rewards_GxK, settings.loss)
        mean_length = _mean([float(len(ids)) for ids in asked.ids])
        return [
            self._batch(asked, rewards_GxK, advantages_GxK, first, first + size, mean_length)
            for first in range(0, len(asked.prompts), size)
        ]

    def _batch(
        self,
        asked: RolloutBatch,
        rewards_GxK: Tensor,
        advantages_GxK: Tensor,
        first: int,
        last: int,
        mean_length: float,
    ) -> AnswerBatch:
        """The groups from `first` up to `last`."""
        group, device = self._settings.group, self._device
        answers = range(first * group, last * group)
        items = []
        for answer in answers:
            prompt, said = self._ids[asked.prompts[answer // group]], asked.ids[answer]
            items.append((prompt + said, [False] * len(prompt) + [True] * len(said)))
        old_AxT = torch.nn.utils.rnn.pad_sequence(
            [asked.log_probs[answer] for answer in answers], batch_first=True
        )
        lengths = torch.tensor([len(asked.ids[answer]) for answer in answers])
        return AnswerBatch.of(
            items,
            self._seq_len,
            device,
            old_log_p_AxT=old_AxT.to(device),
            mask_AxT=(torch.arange(old_AxT.shape[1]) < lengths.unsqueeze(1)).float().to(device),
            advantages_A=advantages_GxK[first:last].flatten().to(device),
            mean_length=mean_length,
            sums={
                name: value.to(device)
                for name, value in self._sums(asked, rewards_GxK[first:last], answers).items()
            },
        )

    def _sums(self, asked: RolloutBatch, rewards_GxK: Tensor, answers: range) -> dict[str, Tensor]:
        """Of the answers; what is said of a group counts once for each of its answers."""
        group = rewards_GxK.shape[1]
        spread_G = rewards_GxK.nan_to_num(nan=0.0).std(dim=1)
        sums = {
            "grpo/reward": _sum(asked.totals, answers),
            "grpo/reward_spread": spread_G.sum() * group,
            "grpo/flat_groups": groups_without_spread(rewards_GxK).float().sum() * group,
            "grpo/length": _sum([float(len(ids)) for ids in asked.ids], answers),
            "grpo/ended": _sum([float(ended) for ended in asked.ended], answers),
        }
        if len(self._rewards) > 1:
            for name, values in asked.by_reward.items():
                sums[f"grpo/reward_{_key(name)}"] = _sum(values, answers)
        return sums

    def _answer_length(self, batch: AnswerBatch) -> float:
        settings = self._settings
        return float(settings.max_tokens) if settings.loss == "dr_grpo" else batch.mean_length

    @torch.no_grad()
    def _reference_log_probs(self, model: Decoder, batch: AnswerBatch) -> Tensor | None:
        if not self._settings.beta:
            return None
        began = self._reference or model
        with nullcontext() if self._reference else without_adapters(model):
            found = token_log_probs(batch.hidden(began), began.head_weight, batch.labels_BxT)
        return _by_answer(found, batch)

    # Prompts

    def _that_fit(self, prompts: Sequence[Prompt]) -> tuple[list[Prompt], list[list[int]]]:
        """The prompts that can be answered and judged, and their ids."""
        needs_answer = "exact" in self._settings.rewards
        kept, ids = [], []
        for prompt in prompts:
            found = render_prompt(prompt.turns, self.tokenizer, self.template)
            fits = len(found) + self._settings.max_tokens <= self._seq_len
            if fits and not (needs_answer and prompt.answer is None):
                kept.append(prompt)
                ids.append(found)
        return kept, ids


def _by_answer(found: LogProbs, batch: AnswerBatch) -> Tensor:
    """Log-probabilities of labels, (A, T), zero where an answer has no token."""
    empty_AxT = torch.zeros_like(batch.mask_AxT)
    return empty_AxT.index_put((batch.answer_of_N, batch.place_of_N), found.log_p_N)


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _sum(values: Sequence[float], answers: range) -> Tensor:
    """Such that the mean over all answers is that over the judged ones."""
    return torch.tensor(_mean([values[answer] for answer in answers]) * len(answers))


def _mean(values: Sequence[float]) -> float:
    judged = [value for value in values if not math.isnan(value)]
    return sum(judged) / len(judged) if judged else 0.0


def _key(reward: str) -> str:
    """A reward's name as a part of a metric's."""
    return re.sub(r"\W+", "_", reward)


if __name__ == "__main__":
    import json
    import tempfile
    from pathlib import Path

    from lmm_tui.engine.config.resolve import resolve

    lines = (json.dumps({"prompt": f"{n} + 1?", "answer": n + 1}) for n in range(99))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prompts.jsonl"
        file.write_text("\n".join(lines), encoding="utf-8")
        settings = resolve(
            assignments={
                "stage": "grpo",
                "data.source": str(file),
                "data.seq_len": 64,
                "train.batch_size": 2,
                "grpo.group": 4,
                "grpo.max_tokens": 8,
                "grpo.rewards": ["length:4", "exact"],
            }
        )
        stage = GrpoStage(settings, torch.device("cpu"), lambda label, done, total: None)
        model = Decoder(settings.model.shape(stage.tokenizer.vocab_size))
        model.init_weights(0)
        stage.begin(model, RunDir(folder), fresh=True)
        [micro_batch] = stage.micro_batches(0)
        loss, sums = stage.loss(model, micro_batch)
        loss.backward()
    print({name: round(value.item() / micro_batch.weight, 3) for name, value in sums.items()})
    assert abs(loss.item()) < 1 and micro_batch.weight == 8
    print("=== 自测通过 ===")

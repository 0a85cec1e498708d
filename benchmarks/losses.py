"""Our preference and policy losses against trl's, on random numbers.

trl keeps its losses inside its trainers. Their own methods are called here on a stand-in that gives
them log-probabilities in place of a model's, so that what is compared is trl's code. Of the values
and of the gradients with respect to every log-probability the largest difference counts.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, get_args

import torch
from torch import Tensor

from lmm_tui.engine.stages import policy_loss, preference_loss

TITLE = "losses: preference, reward and policy losses and gradients against trl's"

LIMIT = 1e-5

Loss = Callable[[Tensor], Tensor]

_PAIRS, _ANSWERS, _TOKENS = 16, 24, 40
_BETA = 0.1


def run() -> None:
    for name, difference in differences().items():
        verdict = "PASS" if difference <= LIMIT else "FAIL"
        print(f"{name:<24} off trl's by {difference:.1e}  limit {LIMIT:.0e}  {verdict}")


def differences() -> dict[str, float]:
    """The largest difference of each loss, in its value or in its gradients."""
    torch.manual_seed(0)
    found = {f"dpo {kind}": _dpo(kind, 0.0) for kind in get_args(preference_loss.Kind)}
    found["dpo sigmoid, smoothed"] = _dpo("sigmoid", 0.1)
    found |= {f"kto {kind}": _unpaired(kind) for kind in get_args(preference_loss.UnpairedKind)}
    found["reward model"] = _reward()
    for kind in get_args(policy_loss.Kind):
        # The reference of rloo is in its rewards.
        for beta in (0.0,) if kind == "rloo" else (0.0, 0.04):
            found[f"{kind}, beta {beta:g}"] = _policy(kind, beta)
        found[f"{kind} advantages"] = _advantages(kind)
    return found


def _compare(ours: Loss, theirs: Loss, log_p: Tensor) -> float:
    """Largest difference of the losses of `log_p` and of their gradients with respect to it."""
    results = []
    for loss in (ours, theirs):
        leaf = log_p.clone().requires_grad_()
        value = loss(leaf)
        [gradient] = torch.autograd.grad(value, leaf)
        results.append(torch.cat([value.detach().reshape(1), gradient.flatten()]))
    return float((results[0] - results[1]).abs().max())


def _dpo(kind: preference_loss.Kind, label_smoothing: float) -> float:
    lengths_2B = torch.randint(1, _TOKENS, (2 * _PAIRS,))
    mask_2BxT = (torch.arange(_TOKENS) < lengths_2B.unsqueeze(1)).long()
    log_p_2BxT = -torch.rand(2 * _PAIRS, _TOKENS) * 3 * mask_2BxT
    reference_2B = (log_p_2BxT + 0.5 * torch.randn(2 * _PAIRS, _TOKENS) * mask_2BxT).sum(1)

    def ours(log_p: Tensor) -> Tensor:
        chosen_lengths, rejected_lengths = lengths_2B.chunk(2)
        return preference_loss.dpo_loss(
            *log_p.sum(1).chunk(2),
            *reference_2B.chunk(2),
            beta=_BETA,
            label_smoothing=label_smoothing,
            kind=kind,
            chosen_lengths_B=chosen_lengths,
            rejected_lengths_B=rejected_lengths,
        ).mean()

    def theirs(log_p: Tensor) -> Tensor:
        if not label_smoothing:
            return _trl_dpo(log_p, mask_2BxT, reference_2B, kind, 0.0)
        # trl smooths in `aot` only, which sorts a batch; a batch of one pair has no order.
        pairs = [torch.tensor([at, at + _PAIRS]) for at in range(_PAIRS)]
        return torch.stack(
            [
                _trl_dpo(log_p[two], mask_2BxT[two], reference_2B[two], "aot", label_smoothing)
                for two in pairs
            ]
        ).mean()

    return _compare(ours, theirs, log_p_2BxT)


def _trl_dpo(
    log_p: Tensor, mask: Tensor, reference: Tensor, loss_type: str, label_smoothing: float
) -> Tensor:
    """The loss that trl's DPOTrainer computes of these log-probabilities."""
    from trl import DPOTrainer

    outputs = SimpleNamespace(
        log_probs=log_p,
        entropy=torch.zeros_like(log_p),
        mean_logits=torch.zeros_like(log_p),
        is_top1=torch.zeros_like(log_p, dtype=torch.bool),
    )
    trainer = _trainer(
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=[loss_type],
        loss_weights=[1.0],
        label_smoothing=label_smoothing,
        beta=_BETA,
        use_weighting=False,
        _total_train_tokens=0,
        _tp_size=1,
    )
    # A token of the prompt comes first, which trl's shift takes away.
    whole = torch.cat([torch.zeros_like(mask[:, :1]), mask], dim=1)
    chosen, rejected = reference.chunk(2)
    inputs = {
        "input_ids": torch.zeros_like(whole),
        "attention_mask": torch.ones_like(whole),
        "completion_mask": whole,
        "ref_chosen_logps": chosen,
        "ref_rejected_logps": rejected,
    }
    return DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, False)


def _unpaired(kind: preference_loss.UnpairedKind) -> float:
    good_B = torch.rand(_ANSWERS) < 0.4
    mask_BxT = (torch.arange(_TOKENS) < torch.randint(1, _TOKENS, (_ANSWERS, 1))).long()
    log_p_BxT = -torch.rand(_ANSWERS, _TOKENS) * 3 * mask_BxT
    reference_B, crossed_B = log_p_BxT.sum(1) + 4 * torch.randn(_ANSWERS), torch.randn(_ANSWERS) + 2
    good_weight, bad_weight = 1.2, 0.8

    def ours(log_p: Tensor) -> Tensor:
        losses_B = preference_loss.unpaired_loss(
            log_p.sum(1), reference_B, good_B,
            kl=max(0.0, float(crossed_B.mean())), beta=_BETA, kind=kind,
        )  # fmt: skip
        return (torch.where(good_B, good_weight, bad_weight) * losses_B).mean()

    def theirs(log_p: Tensor) -> Tensor:
        from trl import KTOTrainer

        trainer = _trainer(
            _compute_kl_logps=lambda *_: crossed_B,
            precompute_ref_logps=True,
            calculate_KL=kind == "kto",
            loss_type="kto" if kind == "kto" else "apo_zero_unpaired",
            beta=_BETA,
            desirable_weight=good_weight,
            undesirable_weight=bad_weight,
            _total_train_tokens=0,
            _tp_size=1,
        )
        nothing = torch.zeros_like(log_p)
        outputs = SimpleNamespace(log_probs=log_p, entropy=nothing, mean_logits=nothing)
        # A token of the prompt comes first, which trl's shift takes away.
        whole = torch.cat([torch.zeros_like(mask_BxT[:, :1]), mask_BxT], dim=1)
        inputs = {
            "input_ids": torch.zeros_like(whole),
            "attention_mask": torch.ones_like(whole),
            "completion_mask": whole,
            "label": good_B,
            "ref_logps": reference_B,
            "ref_KL_logps": torch.zeros_like(crossed_B),
        }
        return KTOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, False)

    return _compare(ours, theirs, log_p_BxT)


def _reward() -> float:
    def ours(rewards_2xB: Tensor) -> Tensor:
        return preference_loss.reward_loss(*rewards_2xB, margin=0.5, centre=0.01).mean()

    def theirs(rewards_2xB: Tensor) -> Tensor:
        from trl import RewardTrainer

        trainer = _trainer(
            args=SimpleNamespace(center_rewards_coefficient=0.01), _total_train_tokens=0, _tp_size=1
        )
        outputs = SimpleNamespace(logits=rewards_2xB.reshape(-1, 1))
        inputs = {"attention_mask": torch.ones(1), "margin": torch.full((_PAIRS,), 0.5)}
        return RewardTrainer.compute_loss(trainer, lambda **_: outputs, inputs)

    return _compare(ours, theirs, 2 * torch.randn(2, _PAIRS))


def _policy(kind: policy_loss.Kind, beta: float) -> float:
    lengths_N = torch.randint(1, _TOKENS, (_ANSWERS,))
    mask_NxT = (torch.arange(_TOKENS) < lengths_N.unsqueeze(1)).long()
    log_p_NxT = -torch.rand(_ANSWERS, _TOKENS) * 3
    old_NxT = log_p_NxT + 0.3 * torch.randn(_ANSWERS, _TOKENS)
    reference_NxT = log_p_NxT + 0.3 * torch.randn(_ANSWERS, _TOKENS)
    advantages_N = torch.randn(_ANSWERS)
    tokens = mask_NxT.sum()
    clip_low, clip_high = 0.2, 0.28

    def ours(log_p: Tensor) -> Tensor:
        return policy_loss.policy_loss(
            log_p,
            old_NxT,
            advantages_N,
            mask_NxT,
            kind=kind,
            clip_low=clip_low,
            clip_high=clip_high,
            length=float(tokens / _ANSWERS) if kind in policy_loss.PER_STEP else _TOKENS,
            reference_log_p_NxT=reference_NxT if beta else None,
            beta=beta,
        ).losses_N.mean()

    def theirs(log_p: Tensor) -> Tensor:
        from trl import GRPOTrainer, RLOOTrainer

        trainer = _trainer(
            _get_per_token_logps_and_entropies=lambda *_, **__: (log_p, -log_p.detach(), None),
            top_entropy_quantile=1.0,
            off_policy_mask_threshold=None,
            importance_sampling_level="sequence" if kind == "gspo" else "token",
            beta=beta,
            loss_type="grpo" if kind == "gspo" else kind,
            epsilon_low=clip_low,
            # trl's bound for CISPO is the weight itself.
            epsilon_high=1 + clip_high if kind == "cispo" else clip_high,
            use_vllm=False,
            max_completion_length=_TOKENS,
            _entropy_bonus_enabled=False,
            args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        )
        prompt = torch.zeros(_ANSWERS, 1, dtype=torch.long)
        inputs = {
            "prompt_ids": prompt,
            "prompt_mask": prompt + 1,
            "completion_ids": torch.zeros_like(mask_NxT),
            "completion_mask": mask_NxT,
            "advantages": advantages_N,
            "old_per_token_logps": old_NxT,
            "old_logps": (old_NxT * mask_NxT).sum(1),
            "ref_per_token_logps": reference_NxT,
            "num_items_in_batch": tokens,
        }
        owner = RLOOTrainer if kind == "rloo" else GRPOTrainer
        return owner._compute_loss(trainer, None, inputs)

    return _compare(ours, theirs, log_p_NxT)


def _advantages(kind: policy_loss.Kind) -> float:
    """Ours against the lines of trl's trainers, with its own deviation."""
    from trl.trainer.utils import nanstd

    rewards_GxK = torch.randn(_ANSWERS // 4, 4)
    rewards_GxK[0, 1] = torch.nan
    theirs = rewards_GxK - rewards_GxK.nanmean(1, keepdim=True)
    if kind == "rloo":
        counts = (~rewards_GxK.isnan()).sum(1, keepdim=True)
        others = rewards_GxK.nansum(1, keepdim=True) - rewards_GxK
        theirs = rewards_GxK - others / (counts - 1)
    elif kind != "dr_grpo":
        theirs = theirs / (nanstd(rewards_GxK, dim=1).unsqueeze(1) + 1e-4)
    ours = policy_loss.group_advantages(rewards_GxK, kind)
    return float((ours - theirs.nan_to_num(0)).abs().max())


def _trainer(**settings: object) -> Any:
    """What trl's methods ask of their trainer: one process, no accumulation, and `settings`."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    accelerator = SimpleNamespace(
        device=torch.device("cpu"),
        num_processes=1,
        gather=lambda tensor: tensor,
        gather_for_metrics=lambda tensor: tensor,
        reduce=lambda tensor, reduction: tensor,
    )
    return SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=accelerator,
        aux_loss_enabled=False,
        current_gradient_accumulation_steps=1,
        _metrics=defaultdict(lambda: defaultdict(list)),
        **settings,
    )

"""Metric names, their titles and units, and in which direction each is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TRAIN_LOSS = "train/loss"
TRAIN_LOSS_EMA = "train/loss_ema"
TRAIN_PPL = "train/ppl"
LR = "train/lr"
GRAD_NORM = "train/grad_norm"
CLIP_RATE = "train/clip_rate"
CLIP_RATIO = "train/clip_ratio"
SKIPPED = "train/skipped"
TOKENS_PER_S = "train/tokens_per_s"
STEPS_PER_S = "train/steps_per_s"
MFU = "train/mfu"
VAL_LOSS = "val/loss"
VAL_PPL = "val/ppl"
VAL_BITS_PER_BYTE = "val/bits_per_byte"
VAL_EXACT = "val/exact"
REWARD = "grpo/reward"
PROBE = "probe/"
GRAD_LAYER = "grad/"
DEEP = "deep/"
VAL_ECE = "val/ece"
LOG_NORMALISER = "deep/logsumexp"
NOISE_SCALE = "deep/noise_scale"
SYSTEM = "system/"
MEMORY = "system/memory_gb"
CPU = "system/cpu_percent"
GPU = "system/gpu_percent"
GPU_MEMORY = "system/gpu_memory_gb"

OUTPUT_PROBES = (
    "entropy",
    "top1_acc",
    "top5_acc",
    "confidence_gap",
    "topk_mass",
    "p_true_mean",
)
REPRESENTATION_PROBES = ("cosine_sim_intra", "cosine_sim_inter", "participation_ratio")
PROBES = OUTPUT_PROBES + REPRESENTATION_PROBES
"""The nine probe numbers, in the order in which panels show them."""

DEEP_LAYERS: dict[str, str] = {
    "attn_logit_max": "largest attention logit",
    "attn_entropy": "attention entropy",
    "act_rms": "activation RMS",
    "act_outlier": "largest activation / RMS",
    "dead_units": "dead MLP units",
    "effective_rank": "effective rank",
    "update_ratio": "update / weight",
}
"""Deep probes that have a number for each layer, `deep/act_rms/layers.3`, and their titles."""

Better = Literal["lower", "higher", "neither"]


@dataclass(frozen=True)
class MetricName:
    """How a series is shown: its title, the unit of its values, whether its y axis is log."""

    title: str
    unit: str = ""
    log: bool = False
    better: Better = "neither"


KNOWN: dict[str, MetricName] = {
    TRAIN_LOSS: MetricName("loss", "nats", better="lower"),
    TRAIN_LOSS_EMA: MetricName("loss (EMA)", "nats", better="lower"),
    TRAIN_PPL: MetricName("perplexity", log=True, better="lower"),
    LR: MetricName("LR"),
    GRAD_NORM: MetricName("gradient norm"),
    CLIP_RATE: MetricName("clip rate"),
    CLIP_RATIO: MetricName("clip ratio"),
    SKIPPED: MetricName("skipped steps", better="lower"),
    TOKENS_PER_S: MetricName("tokens/s", better="higher"),
    STEPS_PER_S: MetricName("steps/s", better="higher"),
    MFU: MetricName("MFU", better="higher"),
    MEMORY: MetricName("memory, GB"),
    CPU: MetricName("CPU, %"),
    GPU: MetricName("GPU, %"),
    GPU_MEMORY: MetricName("GPU memory, GB"),
    VAL_LOSS: MetricName("val loss", "nats", better="lower"),
    VAL_PPL: MetricName("val perplexity", log=True, better="lower"),
    VAL_BITS_PER_BYTE: MetricName("bits/byte", "bits", better="lower"),
    VAL_ECE: MetricName("calibration error", better="lower"),
    LOG_NORMALISER: MetricName("logsumexp", "nats"),
    NOISE_SCALE: MetricName("gradient noise scale", "labels", log=True),
    PROBE + "entropy": MetricName("entropy", "nats"),
    PROBE + "top1_acc": MetricName("top-1 accuracy", better="higher"),
    PROBE + "top5_acc": MetricName("top-5 accuracy", better="higher"),
    PROBE + "confidence_gap": MetricName("top-1 − top-2 margin"),
    PROBE + "topk_mass": MetricName("top-10 probability"),
    PROBE + "p_true_mean": MetricName("p(correct token)", better="higher"),
    PROBE + "cosine_sim_intra": MetricName("cosine sim., same sequence"),
    PROBE + "cosine_sim_inter": MetricName("cosine sim., across sequences"),
    PROBE + "participation_ratio": MetricName(
        "effective rank (participation ratio)", better="higher"
    ),
}

STAGED: dict[str, MetricName] = {
    "dpo/margin": MetricName("reward margin", better="higher"),
    "dpo/accuracy": MetricName("accuracy", better="higher"),
    "dpo/chosen_reward": MetricName("chosen reward", better="higher"),
    "dpo/rejected_reward": MetricName("rejected reward", better="lower"),
    "dpo/chosen_logp": MetricName("chosen log p", "nats", better="higher"),
    "dpo/rejected_logp": MetricName("rejected log p", "nats"),
    REWARD: MetricName("reward", better="higher"),
    "grpo/reward_spread": MetricName("reward spread"),
    "grpo/flat_groups": MetricName("groups without reward difference", better="lower"),
    "grpo/kl": MetricName("KL to reference", "nats"),
    "grpo/entropy": MetricName("policy entropy", "nats"),
    "grpo/length": MetricName("answer length", "tokens"),
    "grpo/ended": MetricName("ended on its own", better="higher"),
    "grpo/clipped": MetricName("clipped share"),
    "grpo/logp_gap": MetricName("log p gap to rollout", "nats", better="lower"),
    "distill/kl": MetricName("KL to teacher", "nats", better="lower"),
    "distill/ce": MetricName("cross entropy", "nats", better="lower"),
    "val/accuracy": MetricName("val accuracy", better="higher"),
    "val/reward": MetricName("val reward", better="higher"),
    VAL_EXACT: MetricName("exact answers", better="higher"),
    "val/kl": MetricName("val KL", "nats", better="lower"),
}
"""Metrics of single stages."""

STAGE_NUMBERS: dict[str, tuple[str, ...]] = {
    stage: tuple(name for name in STAGED if name.startswith(f"{stage}/"))
    for stage in ("dpo", "grpo", "distill")
}


STAGE_SUMMARY: dict[str, tuple[str, ...]] = {
    "dpo": ("dpo/accuracy", "dpo/margin"),
    "grpo": (REWARD,),
}
"""What sums up a run of a stage whose loss says little: that of GRPO is about 0 at every step."""


def describe(name: str) -> MetricName:
    """How to show a series; the title of an unknown name is the name."""
    family, _, layer = name.removeprefix(DEEP).partition("/")
    if layer and name.startswith(DEEP) and family in DEEP_LAYERS:
        return MetricName(f"{DEEP_LAYERS[family]} {layer}")
    return KNOWN.get(name) or STAGED.get(name) or MetricName(name)


if __name__ == "__main__":
    print(describe(TRAIN_PPL), describe("mine/score"))
    assert len(PROBES) == 9
    print("=== 自测通过 ===")

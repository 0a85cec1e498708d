"""Metric names, their titles and units, and in which direction each is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lmm_tui.metrics.metric_name import MetricName
from lmm_tui.metrics.stages.built_in import STAGED

TRAIN_LOSS = "train/loss"
TRAIN_LOSS_EMA = "train/loss_ema"
TRAIN_PPL = "train/ppl"
LR = "train/lr"
GRAD_NORM = "train/grad_norm"
CLIP_RATE = "train/clip_rate"
CLIP_RATIO = "train/clip_ratio"
SKIPPED = "train/skipped"
ROUTER_LOSS = "train/router_loss"
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
RANKS = "ranks/"
SLOWEST_RANK = "ranks/slowest"
SLOWEST_RANK_TIMES = "ranks/slowest_times"
SLOWEST_RANK_MS = "ranks/slowest_ms"
RANKS_WAITED = "ranks/waited"
RANKS_MEMORY_SPREAD = "ranks/memory_spread"
RANKS_THROTTLED = "ranks/throttled"
RANKS_DIFFERING = "ranks/differing"

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

TELLING_PROBES = ("top1_acc", "entropy", "participation_ratio")
"""The ones that say most, where there is no room for all."""

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


KNOWN: dict[str, MetricName] = {
    TRAIN_LOSS: MetricName("loss", "nats", better="lower"),
    TRAIN_LOSS_EMA: MetricName("loss (EMA)", "nats", better="lower"),
    TRAIN_PPL: MetricName("perplexity", log=True, better="lower"),
    LR: MetricName("learning rate"),
    GRAD_NORM: MetricName("gradient norm"),
    CLIP_RATE: MetricName("clip rate"),
    CLIP_RATIO: MetricName("clip ratio"),
    SKIPPED: MetricName("skipped steps", better="lower"),
    ROUTER_LOSS: MetricName("router loss", better="lower"),
    TOKENS_PER_S: MetricName("tokens/s", better="higher"),
    STEPS_PER_S: MetricName("steps/s", better="higher"),
    MFU: MetricName("MFU", better="higher"),
    MEMORY: MetricName("memory, GB"),
    CPU: MetricName("CPU, %"),
    GPU: MetricName("GPU, %"),
    GPU_MEMORY: MetricName("GPU memory, GB"),
    SLOWEST_RANK: MetricName("slowest rank"),
    SLOWEST_RANK_TIMES: MetricName("slowest rank / median", better="lower"),
    SLOWEST_RANK_MS: MetricName("slowest rank − median, ms", better="lower"),
    RANKS_WAITED: MetricName("waited for ranks, share", better="lower"),
    RANKS_MEMORY_SPREAD: MetricName("memory spread of ranks, share", better="lower"),
    RANKS_THROTTLED: MetricName("throttled ranks", better="lower"),
    RANKS_DIFFERING: MetricName("ranks with other weights", better="lower"),
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
    PROBE + "n_tokens": MetricName("probed tokens"),
    PROBE + "nonfinite_logits": MetricName("tokens with non-finite logits", better="lower"),
}


_LEARNT: dict[str, MetricName] = {}


def learn(metrics: Mapping[str, MetricName]) -> None:
    """Show the metrics of a stage of somebody's own by their titles; known ones keep theirs."""
    _LEARNT.update(metrics)


def describe(name: str) -> MetricName:
    """How to show a series; the title of an unknown name is the name."""
    known = KNOWN.get(name) or STAGED.get(name) or _LEARNT.get(name)
    return known or _of_a_layer(name) or MetricName(name)


def _of_a_layer(name: str) -> MetricName | None:
    """A number that each layer has: `grad/embed`, `probe/layers.3/entropy`, `deep/act_rms/norm`."""
    if layer := name.removeprefix(GRAD_LAYER) if name.startswith(GRAD_LAYER) else "":
        return replace(KNOWN[GRAD_NORM], layer=layer)
    if name.startswith(PROBE):
        layer, _, probe = name.removeprefix(PROBE).rpartition("/")
        known = KNOWN.get(PROBE + probe)
        return replace(known, layer=layer) if layer and known else None
    if name.startswith(DEEP):
        family, _, layer = name.removeprefix(DEEP).partition("/")
        return MetricName(DEEP_LAYERS[family], layer=layer) if family in DEEP_LAYERS else None
    return None


if __name__ == "__main__":
    print(describe(TRAIN_PPL), describe("mine/score"))
    assert len(PROBES) == 9
    print("=== 自测通过 ===")

"""Builds all that a run needs before its first step: device, data, model, optimisers, observer.

The order matters in one respect: random generators are seeded first, so that a run is a function
of its settings. Restoring a checkpoint, which sets them again, comes after.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from lmm_tui.data.preparation.cache import note_run
from lmm_tui.data.preparation.prepare import Progress
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine import device as devices
from lmm_tui.engine.checkpoints.architecture_file import read_architecture
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.config_file import to_toml
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.device import Precision
from lmm_tui.engine.model.adapters import add_adapters, freeze
from lmm_tui.engine.model.architecture import architecture_name, build
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.fp8 import check_fp8, use_fp8
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.parallel.beats import RankMemory
from lmm_tui.engine.parallel.ranks import ALONE, Ranks
from lmm_tui.engine.parallel.spread import Spread
from lmm_tui.engine.parallel.spreading import spread
from lmm_tui.engine.run.run import Run
from lmm_tui.engine.run.run_dir_error import writing
from lmm_tui.engine.run.run_records import LIKELIHOOD_STAGES
from lmm_tui.engine.stages.base import Stage, load_stage
from lmm_tui.engine.trackers.built_in import check_tracker
from lmm_tui.engine.trackers.mirror_process import MirrorProcess
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.observer import Observer
from lmm_tui.engine.training.optim import build_optimizers
from lmm_tui.engine.training.starting_weights import adopt_starting_weights
from lmm_tui.engine.training.train_job import TrainJob
from lmm_tui.message import Message
from lmm_tui.metrics.step.speed import SpeedMeter
from lmm_tui.metrics.writers.mirror import TrackedRun


def choose_device(config: RunConfig, ranks: Ranks = ALONE) -> tuple[torch.device, Precision]:
    """Set threads and seeds of this process; the device and precision to train with.

    Of several ranks each has the GPU of its number, or a share of the CPU.
    """
    devices.allow_growing_segments()
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
        # For tokenizers, which makes its threads once and otherwise as many as there are CPUs.
        os.environ["RAYON_NUM_THREADS"] = str(config.train.threads)
    elif not ranks.is_alone:
        torch.set_num_threads(max(1, torch.get_num_threads() // ranks.size))
    device = devices.resolve_device(config.device)
    if device.type == "cuda" and not ranks.is_alone:
        device = devices.resolve_device(f"cuda:{ranks.local_rank}")
        torch.cuda.set_device(device)
    precision = devices.resolve_precision(device, config.train.precision)
    if config.parallel.bf16_params and (ranks.is_alone or config.parallel.shard == "none"):
        raise ConfigError(
            "parallel.bf16_params: only parameters that are gathered can be, on several ranks with "
            "parallel.shard; leave it out"
        )
    if precision == "fp16" and not ranks.is_alone and config.parallel.shard != "none":
        raise ConfigError(
            "parallel.shard: the loss scale of fp16 is not kept alike on ranks that divide a "
            "model; use bf16 or fp32 (train.precision), or parallel.shard none"
        )
    if config.train.fp8:
        check_fp8(config, device, precision, ranks.is_alone)
    divides = not ranks.is_alone and config.parallel.shard != "none"
    if config.optim.state_dtype == "8bit" and divides:
        raise ConfigError(
            "optim.state_dtype: blocks of 8-bit moments are not divided among ranks; take fp32, or "
            "parallel.shard none"
        )
    devices.set_matmul_precision(device, precision)
    devices.seed_all(config.train.seed)
    return device, precision


def build_context(
    run: Run,
    job: TrainJob,
    device: torch.device,
    precision: Precision,
    ranks: Ranks,
    *,
    fresh: bool,
    progress: Progress,
) -> TrainContext:
    """Build stage, model, optimisers and observer from the settings of `job`.

    `fresh` is False where a checkpoint will be restored.
    """
    config, start = job.config, None
    for name in config.log.trackers:
        check_tracker(name)
    # What rank 0 prepares, tokens and tokenizer among it, the others find in the cache.
    with ranks.leader_first():
        if config.start_from and fresh:
            start, config = adopt_starting_weights(run, config, config.start_from)
        stage = load_stage(config, device, progress)
        stage.ranks = ranks
        config = _with_steps(run, job, config, stage.steps_per_epoch)
        _save_tokenizer(run, stage.tokenizer, fresh)
    for note in stage.notes:
        run.events.write("start", note, step=0)
    for warning in stage.warnings:
        run.events.write("alert", warning, step=0, level="warning")
    stage.warnings.clear()
    for entry in stage.cache_entries:
        note_run(entry, run.run_dir.path)
    run.status.update(activity=Message("building the model"))
    architecture = read_architecture(run.run_dir.path)
    model = _build_model(
        config, stage, device, None if start is None else start.tensors, architecture
    )
    with devices.autocast(device, precision):
        stage.begin(model, run.run_dir, fresh=fresh)
    standing = stage.spread = spread(
        model, ranks, config.parallel.shard, bf16_params=config.parallel.bf16_params
    )
    standing.on_wait = partial(ranks.beats.phase, "all-reduce")
    if device.type != "cpu":
        ranks.beats.memory = partial(_memory_of, device)
    return TrainContext(
        run,
        job,
        config,
        device,
        precision,
        stage,
        model,
        build_optimizers(model, config.optim, config.peak_lr),
        devices.make_scaler(device, precision),
        _build_observer(run, config, stage, standing, precision, ranks),
        ranks,
        standing,
    )


def announce_start(context: TrainContext) -> None:
    """Compile the model where that is configured, and record that training begins."""
    config, shape = context.config, context.model.shape
    if compiles(config, context.stage, context.model):
        context.status.update(activity=Message("compiling the model"))
        context.model.compile_backbone()
    context.run.describe(
        device=str(context.device),
        device_name=devices.card_name(context.device),
        precision=context.precision,
        parameters=shape.parameters,
        references=context.stage.baselines,
    )
    context.status.update(
        state="running",
        activity="",
        step=context.step,
        tokens=context.tokens,
    )
    context.show_totals()
    context.events.write(
        "start",
        Message(
            "{stage} of {preset} ({parameters:.2f}M parameters) on {device}, {precision}",
            stage=config.stage,
            preset=architecture_name(context.model) or config.model.preset,
            parameters=shape.parameters / 1e6,
            device=context.device,
            precision=context.precision,
        ),
        step=context.step,
    )


def compiles(config: RunConfig, stage: Stage, model: LanguageModel) -> bool:
    """Whether the model is compiled: as configured, or where it pays and nothing is missing."""
    if config.train.compile is not None:
        return config.train.compile
    pays = model.head_weight.device.type == "cuda" and not stage.shapes_vary
    return pays and isinstance(model, Decoder) and devices.can_compile()


def _with_steps(run: Run, job: TrainJob, config: RunConfig, steps_per_epoch: float) -> RunConfig:
    """The settings with the steps that follow from `train.epochs`, where those are given."""
    key = config.train.length_key
    if key in ("steps", "minutes"):
        return config
    if key == "epochs":
        epochs = config.train.epochs
        assert epochs is not None
        if math.isinf(steps_per_epoch):
            raise ConfigError("train.epochs: the data of this stage have no end; give train.steps")
        # So many that every example comes at least as often; a float must not make one more.
        steps = max(1, math.ceil(round(epochs * steps_per_epoch, 6)))
        said = Message(
            "train.epochs: {epochs:g} of {steps_per_epoch:.6g} steps each: {steps} steps",
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            steps=steps,
        )
    else:
        steps, said = _steps_of_budget(config)
    train = config.train.model_copy(update={"steps": steps})
    config = config.model_copy(update={"train": train})
    if not job.resumes:  # Of a resumed run it has what the run began with.
        run.run_dir.write_config(to_toml(config))
    run.events.write("start", said, step=0)
    return config


def _steps_of_budget(config: RunConfig) -> tuple[int, Message]:
    """The steps of `train.tokens` or `train.flops`, and a sentence about them."""
    train, a_step = config.train, config.tokens_per_step
    if not a_step:
        raise ConfigError(
            "train.{key}: a step of {stage} has no fixed number of tokens; give train.steps or "
            "train.minutes",
            key=train.length_key,
            stage=config.stage,
        )
    if train.tokens is not None:
        steps = math.ceil(train.tokens / a_step)
        return steps, Message(
            "train.tokens: {tokens} of {a_step} a step: {steps} steps",
            tokens=train.tokens,
            a_step=a_step,
            steps=steps,
        )
    assert train.flops is not None
    cost = a_step * config.model.shape().flops_per_token(config.data.seq_len)
    steps = max(1, math.floor(train.flops / cost))
    return steps, Message(
        "train.flops: {flops:.3g} of {cost:.3g} a step: {steps} steps",
        flops=train.flops,
        cost=cost,
        steps=steps,
    )


def _save_tokenizer(run: Run, tokenizer: Tokenizer, fresh: bool) -> None:
    own = run.run_dir.path / "tokenizer.json"
    if not run.leads:
        return
    if fresh or not own.is_file():
        with writing(own):
            tokenizer.save(own)


def _memory_of(device: torch.device) -> RankMemory:
    return RankMemory(devices.memory_used(device), devices.memory_total(device), device.type)


def _build_model(
    config: RunConfig,
    stage: Stage,
    device: torch.device,
    weights: Mapping[str, torch.Tensor] | None,
    architecture: Mapping[str, Any] | None = None,
) -> LanguageModel:
    """The model on its device, with adapters and frozen parameters as configured."""
    # Weights from elsewhere may have more rows than the tokenizer has tokens.
    own_vocabulary = None if config.start_from else stage.tokenizer.vocab_size
    seed = config.train.seed if weights is None else None
    model = build(config.model.shape(own_vocabulary), architecture, seed)
    shape = model.shape
    if config.data.seq_len > shape.max_positions:
        raise ConfigError(
            "data.seq_len: {seq_len} tokens do not fit into the model's context "
            "of {max_positions}; lower it",
            seq_len=config.data.seq_len,
            max_positions=shape.max_positions,
        )
    if weights is not None:
        model.load_state_dict(weights)
    model.to(device)
    if config.stage not in LIKELIHOOD_STAGES:
        model.without_dropout()  # The same tokens are read twice and compared.
    if config.lora.rank:
        add_adapters(model, config.lora, config.train.seed)
    freeze(model, config.train.freeze)
    if config.train.fp8:
        use_fp8(model)
    if config.train.recompute == "layers":
        model.recompute_activations()
    return model


def _mirrors(run: Run, config: RunConfig, stage: Stage) -> list[MirrorProcess]:
    """Of each tracker that the configuration names."""
    tracked = TrackedRun(
        run.run_dir.name,
        stage.info.name,
        run.run_dir.path,
        group=config.group,
        identity=f"{run.run_dir.name}-{run.info.created:.0f}",
    )
    # Where messages of a run go, and how, may hold secrets, and says nothing of it.
    tables = config.model_dump(
        mode="json", exclude={"notify": True, "health": {"webhook", "command"}}
    )
    return [MirrorProcess(name, tracked, tables, run.alert) for name in config.log.trackers]


def _build_observer(
    run: Run,
    config: RunConfig,
    stage: Stage,
    standing: Spread,
    precision: Precision,
    ranks: Ranks,
) -> Observer:
    model, deep = standing.model, config.probe
    if standing.is_sharded and (deep.updates or deep.noise):
        deep = deep.model_copy(update={"updates": False, "noise": False})
        run.alert(
            Message(
                "probe.updates and probe.noise are not measured while parallel.shard divides the "
                "model"
            ),
            level="info",
        )
    for mirror in _mirrors(run, config, stage) if run.leads else ():
        run.metrics.add_mirror(mirror)
    return Observer(
        model,
        run.metrics,
        SpeedMeter(
            model.shape.flops_per_token(config.data.seq_len),
            ranks.size * devices.peak_flops(model.head_weight.device, precision),
        ),
        compiled=compiles(config, stage, model),
        steps_per_epoch=stage.steps_per_epoch,
        deep=deep,
        of_ranks=lambda: ranks.beats.numbers,
        on_row=run.tell_row,
    )


if __name__ == "__main__":
    from types import SimpleNamespace

    from lmm_tui.engine.config.resolve import resolve

    settings = resolve(assignments={"device": "cpu", "lora.rank": 2}).completed()
    device, precision = choose_device(settings)
    stage: Any = SimpleNamespace(tokenizer=SimpleNamespace(vocab_size=300))
    model = _build_model(settings, stage, device, None)
    print(precision, sum(p.numel() for p in model.parameters() if p.requires_grad), "trained")
    print("=== 自测通过 ===")

"""The training loop: one optimiser step after another, commands in between.

Reads as a table of contents; each part is in a file of its own. It knows stages, devices and
metrics only by their contracts, and nothing of screens: whoever wants to see a run reads its
directory, whoever wants to steer it writes to its mailbox.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from lmm_tui.data.chat.tokenizer_template import find_source
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine import device
from lmm_tui.engine.chat.chat import ChatModel
from lmm_tui.engine.checkpoints import checkpoint
from lmm_tui.engine.checkpoints import checkpoint_files as files
from lmm_tui.engine.checkpoints.background_saver import BackgroundSaver
from lmm_tui.engine.checkpoints.checkpoint import CheckpointState, Snapshot
from lmm_tui.engine.checkpoints.checkpoint_files import CheckpointError, Retention
from lmm_tui.engine.checkpoints.weights import Weights, read_weights
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.config_file import to_toml
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.model_config import ModelConfig
from lmm_tui.engine.evaluation.background import BackgroundEvaluation
from lmm_tui.engine.evaluation.job import Job
from lmm_tui.engine.evaluation.records import Record
from lmm_tui.engine.generation.generate import evaluating
from lmm_tui.engine.health.health_monitor import BAD_STEP, HealthMonitor
from lmm_tui.engine.model.adapters import adapter_of, add_adapters, freeze, load_adapted, weights_of
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.run.checkpoint_names import checkpoint_step
from lmm_tui.engine.run.control_mailbox import Mailbox
from lmm_tui.engine.run.events import EventLog
from lmm_tui.engine.run.find_run import run_or_path
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import writing
from lmm_tui.engine.run.run_records import LIKELIHOOD_STAGES
from lmm_tui.engine.run.status_writer import StatusWriter
from lmm_tui.engine.stages.base import MicroBatch, load_stage
from lmm_tui.engine.stages.likelihood import LikelihoodStage
from lmm_tui.engine.stages.oom_split import cut, fit, more_parts
from lmm_tui.engine.training import non_finite
from lmm_tui.engine.training.commands import Commands, StopRequested
from lmm_tui.engine.training.observer import Observer, StepMetrics, StepTensors
from lmm_tui.engine.training.optim import build_optimizers
from lmm_tui.engine.training.sampler import Sampler
from lmm_tui.engine.training.schedule import lr_factor
from lmm_tui.engine.training.spike_keeper import RULES as SPIKE_RULES
from lmm_tui.engine.training.spike_keeper import SpikeKeeper
from lmm_tui.errors import LmmError
from lmm_tui.metrics.names import VAL_LOSS, describe
from lmm_tui.metrics.step.speed import SpeedMeter
from lmm_tui.metrics.tracker import TrainingTracker

EVALUATION_PATIENCE_S = 3600.0
"""How long a finished run waits for lm-eval; a stopped one does not wait."""


class Host(Protocol):
    """What the loop needs of the run it belongs to; `run_host.EngineHost` provides it."""

    config: RunConfig
    run_dir: RunDir
    mailbox: Mailbox
    events: EventLog
    status: StatusWriter

    def describe(self, **changes: Any) -> None: ...


class Trainer:
    """Trains one run to its end; made and run in the training thread."""

    def __init__(self, host: Host) -> None:
        self.config: RunConfig = host.config
        self.step = 0
        self.tokens = 0
        self.loss: float | None = None
        self.val_loss: float | None = None
        self._host = host
        self._status = host.status
        self._events = host.events
        self._commands = Commands(self, host.mailbox, host.events)
        self._health = HealthMonitor(
            host.config.health,
            host.events,
            bad_steps=False,  # They are answered here.
            from_scratch=host.config.stage == "pretrain" and not host.config.start_from,
        )
        self._pending: StepTensors | None = None
        self._probe_due = False
        self._bad: StepMetrics | None = None
        self._bad_before = False
        self._rolled_back = False
        self._spikes: list[tuple[int, str, str]] = []
        self._lr_scale = 1.0
        self._parts = 1
        self._unsaved = False
        self._trouble = ""

    def run(self) -> str:
        """`finished` once all steps are done; raises StopRequested where asked to stop."""
        self._set_up()
        try:
            self._train()
            self._finish(save=True)
        except StopRequested as stop:
            self._finish(save=stop.save)
            stop.saved = self._saver.has(self.step)
            raise
        except non_finite.DivergedError:
            self._finish(save=True)
            raise
        finally:
            self._saver.close()
            self._keeper.close()
        return "finished"

    def _train(self) -> None:
        # All of torch and of the screens stays: going over it again takes 0.1 s out of a step.
        gc.collect()
        gc.freeze()
        while self.step < self.config.train.steps:
            with self._observer.speed.excluded():
                self._commands.serve()
            self._train_step()
            self._keep_spikes()
            self._answer_bad_step()
            self._look_after_step()
            self._answer_alerts()
        if self.config.log.val_every and self.step % self.config.log.val_every:
            self.validate()

    # -- what commands do ------------------------------------------------------------------

    def pause(self) -> None:
        self._flush()
        self._status.update(state="paused", eta_s=None)

    def resume(self) -> None:
        self._status.update(state="running")

    def save(self, pinned: bool = False) -> str:
        """Write a checkpoint and wait for it; returns its name. Raises CheckpointError."""
        self._begin_save()
        with self._aside(f"writing checkpoint at step {self.step}"):
            path = self._saver.wait()
        if pinned:
            files.pin(path)
        return path.name

    def validate(self) -> str:
        """Measure what the model is worth on held-out data; a short sentence of it."""
        self._flush()
        with (
            self._aside("validating"),
            torch.no_grad(),
            evaluating(self._model),
            device.autocast(self._device, self._precision),
        ):
            numbers = self._stage.held_out(self._model)
            numbers |= self._calibration()
        self._tell_notes()
        if not numbers:
            return "nothing is held out"
        self.val_loss = numbers.get(VAL_LOSS)
        self._observer.record_held_out(self.step, self.tokens, numbers)
        self._status.update(val_loss=self.val_loss)
        sentence = ", ".join(f"{describe(name).title} {numbers[name]:.4g}" for name in numbers)
        self._events.write("eval", sentence, step=self.step, numbers=numbers)
        return sentence

    def _calibration(self) -> dict[str, float]:
        """Of what stages that learn from text hold out; others have no text of their own."""
        if not isinstance(self._stage, LikelihoodStage):
            return {}
        batch = next(self._stage.validation(), None)
        return {} if batch is None else self._observer.deep.calibrate(batch)

    def evaluate(self, tasks: tuple[str, ...] = ()) -> str:
        """Save, and let lm-eval score that checkpoint beside the training; says what began."""
        name = self.save()
        tasks = tasks or tuple(self.config.eval.tasks)
        if not self._evaluations.start(self._host.run_dir.checkpoints / name, tasks):
            return f"{name} is not evaluated: the one before still is"
        return f"evaluating {name} on {', '.join(tasks)}"

    def probe(self) -> str:
        """Measure the probe numbers now, on the data of the step to come; training is untouched."""
        self._flush()
        batch = cut(self._stage.micro_batches(self.step)[:1], self._parts)[0]
        with self._aside("probing"), torch.no_grad(), self._observer.watching(batch, True):
            self._stage.loss(self._model, batch)
        return self._finish_probe()

    def sample(self, **options: Any) -> list[str]:
        """Generate from the live model; returns the texts."""
        self._flush()
        with self._aside("sampling"):
            texts = self._sampler.sample(self.step, self.config.log, **options)
            self._sampler.record_token_losses(self.step, self._stage.specimen)
        self._events.write(
            "sample", f"{len(texts)} sample{'' if len(texts) == 1 else 's'}", step=self.step
        )
        return texts

    def talk(self, args: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Some tokens of a reply; as `engine.chat.chat.ChatModel.talk`."""
        with self._aside("talking"):
            return self._speaker().talk(args, self.config)

    def read(self, args: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The loss of each token of a text; as `engine.chat.chat.ChatModel.read`."""
        with self._aside("reading"):
            return self._speaker().read(args)

    def _speaker(self) -> ChatModel:
        self._flush()
        stage = self._stage
        return ChatModel(
            self._model, stage.tokenizer, stage.turn_ids, stage.stop_ids, stage.specimen
        )

    def roll_back(self, before: int | None) -> str:
        """Take the weights from before a step, and go on past it; says what was done.

        A checkpoint follows, so that no resume comes back to what was left. Raises CheckpointError.
        """
        self._flush()
        self._saver.settle()
        path, _ = files.newest_intact(self._host.run_dir.checkpoints, before=before)
        if path is None:
            of = "" if before is None else f" from before step {before}"
            raise CheckpointError(f"there is no intact checkpoint{of} to go back to")
        with self._aside(f"going back to {path.name}"):
            self._load(path)
        if self._saver.has(self.step):
            files.set_aside(self._saver.wait())
            self._saver.forget()
        self._begin_save()
        return f"back to the weights of {path.name}, on with the data after step {self.step}"

    def change(self, config: RunConfig) -> None:
        """Go on with other settings; the run directory remembers them for a resume."""
        self._host.run_dir.write_config(to_toml(config))
        ratio = config.peak_lr / self.config.peak_lr
        for group in self._groups():
            group["initial_lr"] *= ratio
        self.config = config

    # -- the parts of a run ----------------------------------------------------------------

    def _set_up(self) -> None:
        config = self.config
        if config.train.threads:
            torch.set_num_threads(config.train.threads)
        self._device = device.resolve_device(config.device)
        self._precision = device.resolve_precision(self._device, config.train.precision)
        device.seed_all(config.train.seed)
        saved = self._find_checkpoint()
        start = None
        if config.start_from and saved is None:
            start = read_weights(run_or_path(config.start_from, config.runs_dir))
            config = self._adopt(start)
        self._stage = load_stage(config, self._device, self._report_progress)
        self._tell_notes()
        own_tokenizer = self._host.run_dir.path / "tokenizer.json"
        if saved is None or not own_tokenizer.is_file():
            with writing(own_tokenizer):
                self._stage.tokenizer.save(own_tokenizer)
        self._status.update(activity="building the model")
        # Weights from elsewhere may have more rows than the tokenizer has tokens.
        own_vocabulary = None if config.start_from else self._stage.tokenizer.vocab_size
        shape = config.model.shape(own_vocabulary)
        self._model = Decoder(shape)
        if start is None:
            self._model.init_weights(config.train.seed)
        else:
            self._model.load_state_dict(start.tensors)
        self._model.to(self._device)
        if config.lora.rank:
            add_adapters(self._model, config.lora, config.train.seed)
        freeze(self._model, config.train.freeze)
        self._stage.begin(self._model, self._host.run_dir, fresh=saved is None)
        self._optimizers = build_optimizers(self._model, config.optim, config.peak_lr)
        self._scaler = device.make_scaler(self._device, self._precision)
        self._health.hold_to(self._stage.references)
        self._observer = Observer(
            self._model,
            TrainingTracker(
                self._host.run_dir.path,
                tensorboard=config.log.tensorboard,
                likelihood=config.stage in LIKELIHOOD_STAGES,
            ),
            SpeedMeter(
                shape.flops_per_token(config.data.seq_len),
                device.peak_flops(self._device, self._precision),
            ),
            compiled=config.train.compile,
            steps_per_epoch=self._stage.steps_per_epoch,
            deep=config.probe,
            look=self._look_at_row,
        )
        self._evaluations = BackgroundEvaluation(
            self._host.run_dir,
            Job(
                model="",
                tasks=tuple(config.eval.tasks),
                device=config.device,
                limit=config.eval.limit,
                chat=self._stage.answers,
                data_dir=config.eval.data_dir,
            ),
        )
        self._keeper = SpikeKeeper(self._host.run_dir, self._stage.tokenizer, self._events)
        self._sampler = Sampler(self._model, self._stage, self._host.run_dir)
        self._saver = BackgroundSaver(
            self._host.run_dir.checkpoints,
            self._host.run_dir.metrics,
            self._observer.settle,
            self._tell_checkpoint,
        )
        if saved is not None:
            self._restore(saved)
        if config.train.compile:
            self._status.update(activity="compiling the model")
            self._model.model.compile()
        total_tokens = config.train.steps * config.tokens_per_step
        self._host.describe(
            device=str(self._device),
            precision=self._precision,
            parameters=shape.parameters,
            references=self._stage.references,
        )
        self._status.update(
            state="running",
            activity="",
            step=self.step,
            tokens=self.tokens,
            total_steps=config.train.steps,
            total_tokens=total_tokens,
        )
        self._events.write(
            "start",
            f"{config.stage} of {config.model.preset} ({shape.parameters / 1e6:.2f}M parameters) "
            f"on {self._device}, {self._precision}",
            step=self.step,
        )

    def _adopt(self, start: Weights) -> RunConfig:
        """Take the shape and the tokenizer of the weights to start from."""
        config, own = self.config, self._host.run_dir.path / "tokenizer.json"
        chosen = Path(config.data.tokenizer) if config.data.tokenizer else start.tokenizer
        if chosen is None:
            raise ConfigError(
                f"data.tokenizer: {start.origin} has no tokenizer.json beside it; name the one "
                "that its model was trained with"
            )
        tokenizer = Tokenizer.load(chosen)
        if tokenizer.vocab_size > start.shape.vocab_size:
            raise ConfigError(
                f"data.tokenizer: {chosen} has {tokenizer.vocab_size} tokens, the model in "
                f"{start.origin} only {start.shape.vocab_size}"
            )
        with writing(own):
            tokenizer.save(own, find_source(chosen))
        self.config = config.model_copy(
            update={
                "model": ModelConfig.of_shape(start.shape, config.model.preset),
                "data": config.data.model_copy(update={"tokenizer": str(own)}),
                "start_from": str(start.origin),
            }
        ).completed()
        self._host.run_dir.write_config(to_toml(self.config))
        parent = start.origin.parent.parent if (start.origin / "state.json").is_file() else None
        self._host.describe(
            parent=parent.name if parent else str(start.origin),
            parent_checkpoint=start.origin.name if parent else "",
            parent_stage=RunDir(parent).read_info().stage if parent else "",
        )
        return self.config

    def _restore(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state, training = self._load(path)
        device.restore_rng(training["rng"])
        self._stage.load_state_dict(training.get("stage", {}))
        self._observer.load_state_dict(state.observer)
        self.step, self.tokens = state.step, state.tokens
        self.loss, self.val_loss = state.loss, state.val_loss
        self._lr_scale, self._parts = state.lr_scale, state.parts
        self._saver.adopt(state.step, path)
        self._health.catch_up(self._host.run_dir.metrics, self.step)
        info = self._host.run_dir.read_info()
        self._host.describe(resumed_steps=[*info.resumed_steps, self.step])
        self._events.write("resume", f"from {path.name}", step=self.step)

    def _load(self, path: Path) -> tuple[CheckpointState, dict[str, Any]]:
        """Put weights, moments and scale of a checkpoint in place; returns the rest."""
        state, weights, training = checkpoint.load(path, self._device)
        if state.tokenizer != self._stage.tokenizer.fingerprint:
            raise CheckpointError(
                f"{path}: was trained with another tokenizer than data.tokenizer gives now; "
                "use the run's own tokenizer.json"
            )
        if adapter := checkpoint.read_adapter(path):
            load_adapted(self._model, weights, adapter)
        else:
            self._model.load_state_dict(weights)
        for optimizer, saved in zip(self._optimizers, training["optimizers"], strict=True):
            _load_moments(optimizer, saved)
        self._scaler.load_state_dict(training["scaler"])
        return state, training

    def _find_checkpoint(self) -> Path | None:
        """The newest intact one; damaged ones after it are set aside, and said to be."""
        self._status.update(activity="verifying the checkpoint")
        found, trouble = files.newest_intact(self._host.run_dir.checkpoints)
        if trouble and found is None:
            raise next(iter(trouble.values()))
        for path, error in trouble.items():
            files.set_aside(path)
            self._events.write("alert", str(error), step=checkpoint_step(path), level="warning")
        return found

    def _begin_save(self) -> None:
        """Copy the state, and let it be written while training goes on."""
        self._flush()
        if self._saver.has(self.step):
            return
        log = self.config.log
        with self._aside(f"copying the state of step {self.step}"):
            retention = Retention(log.keep, log.keep_best, log.keep_every)
            self._saver.begin(self.step, self._snapshot, retention)

    def _save_in_time(self) -> bool:
        """Begin a checkpoint, unless that would hold up the training; whether it is begun."""
        with self._aside("waiting for the checkpoint before"):
            hangs = self._saver.hangs()
        if not hangs:
            self._begin_save()
        elif not self._unsaved:
            text = "the disk does not answer: checkpoints are left out until the last is written"
            self._events.write("alert", text, step=self.step, level="error")
            self._unsaved = True
        return not hangs

    def _snapshot(self) -> Snapshot:
        lora = self.config.lora
        return Snapshot.take(
            CheckpointState(
                step=self.step,
                tokens=self.tokens,
                tokenizer=self._stage.tokenizer.fingerprint,
                loss=self.loss,
                val_loss=self.val_loss,
                observer=self._observer.state_dict(),
                lr_scale=self._lr_scale,
                parts=self._parts,
            ),
            weights_of(self._model),
            {
                "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
                "scaler": self._scaler.state_dict(),
                "rng": device.rng_state(),
                "stage": self._stage.state_dict(),
            },
            adapter_of(self._model, lora) if lora.rank else None,
        )

    def _tell_checkpoint(self, step: int, outcome: Path | CheckpointError) -> None:
        """In the thread that writes; one alert for as long as nothing can be written."""
        if isinstance(outcome, Path):
            self._events.write("checkpoint", outcome.name, step=step, path=str(outcome))
        elif not self._unsaved:
            self._events.write("alert", str(outcome), step=step, level="error")
        self._unsaved = not isinstance(outcome, Path)

    def _train_step(self) -> None:
        """One optimiser step over all micro-batches, each weighing what it counts."""
        probing, self._probe_due = self._probe_due, False
        lr = self._set_lr()
        micro_batches = self._stage.micro_batches(self.step)
        weight = sum(batch.weight for batch in micro_batches)
        tokens = sum(batch.tokens for batch in micro_batches)
        loss, stats = fit(
            lambda: self._gradients(micro_batches, weight, probing),
            lambda: self._make_room(micro_batches),
        )
        for optimizer in self._optimizers:
            self._scaler.unscale_(optimizer)
        norms = self._observer.grads.measure()
        self._observer.grads.clip(self.config.optim.clip)
        bad = non_finite.is_bad(loss, norms.total)
        with self._observer.updating(norms, weight, probing):
            for optimizer in self._optimizers:
                non_finite.step_unless(bad, optimizer, self._scaler)
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        self._scaler.update()
        self._flush()
        self._observer.speed.step(tokens)
        self.step += 1
        self.tokens += tokens
        self._pending = StepTensors(
            self.step,
            self.tokens,
            lr,
            loss,
            norms,
            self.config.optim.clip,
            stats,
            scaled=self._scaler.is_enabled(),
        )
        if probing:
            self._finish_probe()
        if not device.is_asynchronous(self._device):
            self._flush()

    def _gradients(
        self, micro_batches: list[MicroBatch], weight: int, probing: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and sums of a step, its gradients left in place."""
        loss = torch.zeros((), device=self._device)
        stats: dict[str, Tensor] = {}
        for index, batch in enumerate(cut(micro_batches, self._parts)):
            with self._observer.watching(batch, probing and index == 0):
                loss += self._forward_backward(batch, weight, stats)
            if probing and index == 0 and not self._scaler.is_enabled():
                self._observer.deep.see_first_gradient(batch.weight)
        return loss, stats

    def _make_room(self, micro_batches: list[MicroBatch]) -> None:
        self._parts = more_parts(micro_batches, self._parts, str(self._device))
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        device.empty_cache(self._device)
        self._events.write(
            "alert",
            f"out of memory on {self._device}: micro-batches are cut in {self._parts} from here "
            "on, and accumulated; each step still sees the same data",
            step=self.step + 1,
            level="warning",
        )

    def _answer_bad_step(self) -> None:
        """What the configuration says of a step that was left out; one alert for several."""
        bad, self._bad = self._bad, None
        if bad is None:
            return
        policy = self.config.train.on_nonfinite
        what = f"loss is {bad.loss}, gradient norm {bad.norm}: step left out"
        if policy == "rollback" and not self._rolled_back:
            what += f", {self._roll_back()}"
        elif policy == "pause":
            what += ", paused; lower the learning rate (set lr=…) or go on (resume)"
            self._commands.hold()
        elif policy != "stop":
            what += "; lower the learning rate if more follow"
        if not self._bad_before or policy == "stop":
            self._events.write("alert", what, step=bad.step, level="error", **BAD_STEP)
        self._bad_before = True
        if policy == "stop":
            raise non_finite.DivergedError(
                f"step {bad.step}: {what}, and train.on_nonfinite is stop; resume with a lower "
                "optim.lr, or with train.on_nonfinite skip"
            )

    def _look_at_row(self, step: int, row: Mapping[str, float]) -> None:
        for alert in self._health.observe(step, row):
            if alert.rule in SPIKE_RULES:
                self._spikes.append((alert.step, alert.rule, alert.what))

    def _keep_spikes(self) -> None:
        """The batches of steps that stood out, one after several rules of the same step."""
        spikes, self._spikes = self._spikes, []
        if not self._stage.repeatable:
            return
        for step, (rule, what) in {step: (rule, what) for step, rule, what in spikes}.items():
            with self._aside(f"keeping the batch of step {step}"):
                self._keeper.keep(
                    step,
                    rule,
                    what,
                    self._model,
                    list(cut(self._stage.micro_batches(step - 1), self._parts)),
                    device.autocast(self._device, self._precision),
                )

    def _answer_alerts(self) -> None:
        """Whatever the configuration wants done about what health has found."""
        for action, rule in self._health.due():
            if action == "rollback":
                done = self._roll_back()
            elif action == "checkpoint":
                written = self._save_in_time()
                done = "a checkpoint is written" if written else "no checkpoint, the disk hangs"
            else:
                self._commands.hold()
                done = "paused; look at it, then go on (resume)"
            self._events.write("alert", f"{rule}: {done}", step=self.step, rule=rule)

    def _roll_back(self) -> str:
        """Take the weights of the last checkpoint, and go on with the data that comes next."""
        self._rolled_back = True
        self._saver.settle()
        path, _ = files.newest_intact(self._host.run_dir.checkpoints)
        if path is None:
            return "no checkpoint to go back to yet"
        with self._aside(f"going back to {path.name}"):
            self._load(path)
        self._lr_scale *= self.config.train.rollback_lr_factor
        return f"back to the weights of {path.name}, learning rate x {self._lr_scale:g}"

    def _forward_backward(self, batch: MicroBatch, weight: int, stats: dict[str, Tensor]) -> Tensor:
        with device.autocast(self._device, self._precision):
            loss_sum, sums = self._stage.loss(self._model, batch)
        share = loss_sum / weight
        self._scaler.scale(share).backward()
        for name, value in sums.items():
            stats[name] = stats.get(name, torch.zeros((), device=self._device)) + value / weight
        return share.detach()

    def _look_after_step(self) -> None:
        """Whatever is due every so many steps."""
        step, log = self.step, self.config.log
        self._tell_notes()
        if _due(step, log.val_every):
            self.validate()
        if _due(step, log.sample_every):
            self._try("no sample", self.sample)
        if _due(step, log.checkpoint_every):
            self._save_in_time()
        if _due(step, self.config.eval.every):
            self._try("not evaluated", self._evaluate)
        self._tell_evaluations()
        if _due(step + 1, log.probe_every):
            self._probe_due = True

    def _tell_notes(self) -> None:
        for note in self._stage.notes:
            self._events.write("alert", note, step=self.step, level="warning")
        self._stage.notes.clear()

    def _tell_evaluations(self) -> None:
        """What lm-eval has found by now."""
        for ended in self._evaluations.collect():
            if isinstance(ended, Record):
                self._events.write("eval", ended.sentence, step=self.step, of_step=ended.step)
            else:
                text = f"not evaluated: {ended}"
                self._events.write("alert", text, step=self.step, level="warning")

    def _evaluate(self) -> None:
        self._events.write("eval", self.evaluate(), step=self.step)

    def _try(self, otherwise: str, what: Callable[[], object]) -> None:
        """A model that has diverged says nothing and a full disk takes nothing; the run goes on."""
        try:
            what()
        except LmmError as error:
            self._events.write("alert", f"{otherwise}: {error}", step=self.step, level="warning")

    def _flush(self) -> None:
        """Read the numbers of the last step; on a GPU that waits for it, so one step late."""
        if self._pending is None:
            return
        numbers, self._pending = self._pending, None
        reading = self._observer.record(numbers, self.config.log.every)
        self.loss = reading.loss
        self._tell_trouble()
        if reading.skipped:
            self._bad = reading
            if not self._bad_before:
                what = f"loss is {reading.loss}, gradient norm {reading.norm}"
                self._spikes.append((reading.step, BAD_STEP["rule"], what))
        else:
            self._bad_before = self._rolled_back = False
        left = self.config.train.steps - numbers.step
        self._status.update(
            step=numbers.step,
            tokens=numbers.tokens,
            loss=self.loss,
            tokens_per_s=self._observer.speed.tokens_per_s,
            eta_s=self._observer.speed.seconds_for(left),
        )

    def _tell_trouble(self) -> None:
        """One alert when metrics can no longer be written, and one word when they can again."""
        trouble = self._observer.trouble
        if trouble and not self._trouble:
            text = f"metrics cannot be written ({trouble}): rows wait in memory until they can"
            self._events.write("alert", text, step=self.step, level="error")
        elif self._trouble and not trouble:
            text = "metrics are written again, with those that waited"
            self._events.write("alert", text, step=self.step)
        self._trouble = trouble

    def _finish_probe(self) -> str:
        summary = self._observer.finish_probe(self.step, self.tokens)
        self._events.write("probe", summary, step=self.step)
        return summary

    def _finish(self, save: bool) -> None:
        self._status.update(state="stopping")
        self._flush()
        if save:
            self._begin_save()
        with self._aside("writing the checkpoint"):
            self._saver.close()
        finished = self.step >= self.config.train.steps
        with self._aside("waiting for the evaluation"):
            self._evaluations.close(EVALUATION_PATIENCE_S if finished else 0.0)
        self._tell_evaluations()
        self._health.close()
        self._observer.close()
        self._sampler.close()

    def _set_lr(self) -> float:
        factor = lr_factor(self.step, self.config.train.steps, self.config.optim) * self._lr_scale
        for group in self._groups():
            group["lr"] = group["initial_lr"] * factor
        return self.config.peak_lr * factor

    def _groups(self) -> Iterator[dict[str, Any]]:
        for optimizer in self._optimizers:
            yield from optimizer.param_groups

    @contextmanager
    def _aside(self, activity: str) -> Iterator[None]:
        """Work that is not a step: shown while it lasts, left out of the speed."""
        self._status.update(activity=activity)
        try:
            with self._observer.speed.excluded():
                yield
        finally:
            self._status.update(activity="")

    def _report_progress(self, label: str, done: int, total: int) -> None:
        share = f" {done / total:.0%}" if total else ""
        self._status.update(activity=label + share)
        self._commands.refuse_until_ready(label)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _load_moments(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Take the state from the checkpoint but the hyper-parameters from the configuration."""
    wanted = [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(saved)
    for group, settings in zip(optimizer.param_groups, wanted, strict=True):
        group.update(settings)


if __name__ == "__main__":
    print(_due(10, 5), _due(10, 0))
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight], lr=1e-3)
    weight.sum().backward()
    optimizer.step()
    other = torch.optim.AdamW([weight], lr=5e-4)
    _load_moments(other, optimizer.state_dict())
    assert other.param_groups[0]["lr"] == 5e-4 and other.state[weight]["step"] == 1
    print("=== 自测通过 ===")

"""What is known about a configuration before it is started: devices, data, measured step time, and
the estimate that follows from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from lmm_tui.cockpit.widgets.estimate_panel import Outlook
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.config.options import Option, options_of_own
from lmm_tui.engine.config.resolve import with_changes
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.metrics.stages.built_in import BUILT_IN
from lmm_tui.planning.estimate import Estimate, estimate

if TYPE_CHECKING:
    from lmm_tui.engine.device import DeviceInfo
    from lmm_tui.planning.data_summary import DataFacts
    from lmm_tui.planning.simulated_memory import Simulated

_NEED_A_START = ("sft", "dpo", "grpo")
_CPU_STEP, _GPU_STEP = 3e11, 3e13
"""Operations of a step of which some are tried unasked: seconds, not minutes."""
_MOST_MEMORY = 0.5


@dataclass
class DevicesFound(Message):
    """A thread has imported torch and found these devices, the best one first."""

    devices: list[DeviceInfo]
    own: tuple[Option, ...] = ()
    """The settings of the stage, where it is one of somebody's own."""


def find_devices(stage: str) -> DevicesFound:
    """Look at the devices, and at the code of a stage that the user named; imports torch.

    An empty name is that of no stage.
    """
    from lmm_tui.engine.device import describe_devices

    return DevicesFound(describe_devices(), _options_of_stage(stage))


def _options_of_stage(stage: str) -> tuple[Option, ...]:
    if not stage or stage in BUILT_IN:
        return ()
    from lmm_tui.engine.stages.base import stage_class

    try:
        section = stage_class(stage).own_settings
    except LmmError:  # Start says why.
        return ()
    return tuple(options_of_own(section)) if section else ()


@dataclass
class DataSeen(Message):
    """A thread has looked at the files that `config` names."""

    config: RunConfig
    facts: DataFacts
    starts: tuple[str, ...]
    """Runs that this one could start from."""


def look_at_data(config: RunConfig) -> DataSeen:
    """Look at files and runs: the disk may be slow."""
    from lmm_tui.planning.candidates import pretrained_runs
    from lmm_tui.planning.data_summary import summarize_data

    starts = tuple(run.name for run in pretrained_runs(config.runs_dir))
    return DataSeen(config, summarize_data(config), starts)


@dataclass
class StepsTried(Message):
    """A thread has measured how long a step of `config` takes, or could not."""

    config: RunConfig
    seconds_a_step: float | None
    error: str = ""


def try_steps(config: RunConfig) -> StepsTried:
    """Train a few steps. Raises WorkerError."""
    from lmm_tui.planning.step_benchmark import seconds_a_step

    return StepsTried(config, seconds_a_step(config))


@dataclass
class KnownFacts:
    """Filled in as the answers of threads come."""

    devices: list[DeviceInfo] = field(default_factory=list)
    """Of this machine, the best one first."""
    data: DataFacts | None = None
    """About the files of the configuration."""
    seconds_a_step: float | None = None
    """As measured for `measured_for`."""
    measured_for: RunConfig | None = None
    memory: int | None = None
    """As simulated for `simulated_for`; None where that is not possible."""
    simulated_for: RunConfig | None = None
    start_shapes: dict[str, ModelShape] = field(default_factory=dict)
    """Of weights to start from that were looked at, by `start_from`."""
    starts: tuple[str, ...] = ()
    """Runs with weights to start from, the newest first."""

    def simulated(self, config: RunConfig, found: Simulated | None) -> None:
        """Take what a simulation of `config` found, or that there is nothing to be found."""
        self.simulated_for, self.memory = config, found.memory if found else None
        if found and config.start_from:
            self.start_shapes[config.start_from] = found.shape

    def doubt_start(self, config: RunConfig) -> str:
        """What is doubtful about the weights that a stage starts from, or nothing."""
        if config.stage not in _NEED_A_START or config.start_from:
            return ""
        offered = tr(
            "enter lists {count}, such as {name}",
            count=len(self.starts),
            name=next(iter(self.starts), ""),
        )
        return tr(
            "{stage} of random weights teaches nothing: it needs a pretrained model; {offer}",
            stage=config.stage.upper(),
            offer=offered if self.starts else tr("pretrain one first"),
        )

    def may_benchmark(self, outlook: Outlook) -> bool:
        """Whether a few steps may be tried unasked: the model fits and they are soon done."""
        device = self.device(outlook.config)
        if device is None or self.data is None or self.data.problems or not outlook.model_known:
            return False
        if (outlook.memory_share or 0) > _MOST_MEMORY or self.doubt_start(outlook.config):
            return False
        tokens, shape = outlook.estimate.tokens_per_step, outlook.estimate.shape
        step = shape.flops_per_token(outlook.config.data.seq_len) * tokens
        return 0 < step < (_CPU_STEP if device.name == "cpu" else _GPU_STEP)

    def device(self, config: RunConfig) -> DeviceInfo | None:
        """The device that a configuration means, once that is known."""
        wanted = {"cuda": "cuda:0"}.get(config.device, config.device)
        if wanted == "auto":
            return self.devices[0] if self.devices else None
        return next((device for device in self.devices if device.name == wanted), None)

    def estimate(self, config: RunConfig) -> Estimate:
        """Raises ConfigError where the numbers make no model."""
        precision: str = config.train.precision
        device = self.device(config)
        if precision == "auto" and device is not None:
            precision = device.precision
        return estimate(
            config,
            corpus_bytes=self.data.bytes if self.data else None,
            vocab_size=self.data.vocab_size if self.data else None,
            half_precision=precision in ("bf16", "fp16"),
            on_card=device is not None and device.name != "cpu",
            shape=self.start_shapes.get(config.start_from or ""),
        )

    def outlook(self, config: RunConfig) -> Outlook:
        """All of it for the panel; a step time of other settings is forgotten.

        Raises ConfigError as `estimate` does.
        """
        sized = self.estimate(config)
        if self.measured_for is None or not same_step_time(self.measured_for, config):
            self.measured_for = self.seconds_a_step = None
        if self.simulated_for is None or not same_step_time(self.simulated_for, config):
            self.simulated_for = self.memory = None
        if self.memory is not None:
            sized = replace(sized, memory=self.memory)
        device = self.device(config)
        return Outlook(
            config=config,
            estimate=sized,
            simulated=self.memory is not None,
            model_known=not config.start_from or config.start_from in self.start_shapes,
            data=self.data.text if self.data else tr("looking …"),
            device=_device_text(device) if device else tr("looking …"),
            memory_total=device.memory if device else None,
            seconds_a_step=self.seconds_a_step,
        )


def same_step_time(one: RunConfig, other: RunConfig) -> bool:
    """Whether steps take equally long: name and length of a run make no difference."""
    return _without_length(one) == _without_length(other)


def _without_length(config: RunConfig) -> RunConfig:
    return with_changes(config, {"name": None, "train.steps": 1})


def same_data(one: RunConfig, other: RunConfig) -> bool:
    """Whether both read the same files in the same way."""
    return (one.data, one.reads_text) == (other.data, other.reads_text)


def _device_text(device: DeviceInfo) -> str:
    return tr(", ").join((device.name, translate_message(device.description)))


def name_taken(config: RunConfig) -> str:
    """What is wrong with the name of the run, or nothing."""
    if config.name is None or not RunDir(Path(config.runs_dir) / config.name).exists():
        return ""
    return tr(
        "{folder} holds a run of this name; choose another, or leave it empty",
        folder=config.runs_dir,
    )


if __name__ == "__main__":
    short, known = with_changes(RunConfig(), {"train.steps": 10}), KnownFacts()
    known.seconds_a_step, known.measured_for = 0.5, short
    print(known.outlook(RunConfig()).seconds_a_step)
    assert known.outlook(RunConfig()).seconds_a_step == 0.5
    assert known.outlook(with_changes(RunConfig(), {"train.batch_size": 3})).seconds_a_step is None
    print("=== 自测通过 ===")

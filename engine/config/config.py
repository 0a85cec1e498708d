"""The configuration tree: the one source of names, types, ranges, help texts and defaults.

TOML files, command line flags and forms are all made from these models. It knows how to
read, merge, check and write configurations; it knows neither torch nor any device.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import reduce
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

from lmm_tui.data.builtin.task import KINDS
from lmm_tui.engine.config.model_shape import PRESETS, ModelShape
from lmm_tui.engine.run.run_dir import RUNS_DIR
from lmm_tui.errors import LmmError

Stage = Literal["pretrain", "sft", "dpo", "grpo", "distill"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Schedule = Literal["cosine", "wsd", "minimind", "constant"]
OptimizerName = Literal["adamw", "muon"]
NonFinite = Literal["skip", "rollback", "pause", "stop"]
Template = Literal["chatml", "own"]
PreferenceLoss = Literal["sigmoid", "ipo"]
Reference = Literal["precomputed", "live"]
PolicyLoss = Literal["grpo", "dr_grpo", "cispo"]
Divergence = Literal["forward", "reverse"]
TeacherData = Literal["chat", "text"]

STAGES: tuple[str, ...] = get_args(Stage)

_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?", re.ASCII)
_RUN_NAME = re.compile(r"[^\W_][\w.+-]{0,99}")


class ConfigError(LmmError):
    """A configuration that cannot be used; the text names the file or flag, and the key."""


class Section(BaseModel):
    """A table of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)


class ModelConfig(Section):
    preset: str = Field(
        "nano",
        description="Model preset: " + ", ".join(PRESETS),
        json_schema_extra={"enum": [*PRESETS]},
    )
    vocab_size: int | None = Field(
        None, ge=260, le=1_000_000, description="Tokens in a vocabulary that we train ourselves"
    )
    hidden_size: int | None = Field(None, ge=8, le=16384, description="Width of the residual")
    num_layers: int | None = Field(None, ge=1, le=200, description="Decoder layers")
    num_heads: int | None = Field(None, ge=1, le=256, description="Attention heads")
    num_kv_heads: int | None = Field(None, ge=1, le=256, description="Key/value heads (GQA)")
    head_dim: int | None = Field(None, ge=2, le=512, description="Width of one head, even")
    intermediate_size: int | None = Field(None, ge=8, le=65536, description="Width of the MLP")
    rope_theta: float | None = Field(None, gt=0, description="Base of the rotary embedding")
    rms_eps: float | None = Field(None, gt=0, le=0.1, description="Epsilon of RMSNorm")
    tie_embeddings: bool | None = Field(None, description="Share input and output embeddings")

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, value: str) -> str:
        if value not in PRESETS:
            raise ValueError(f"unknown preset {value!r}; choose from {', '.join(PRESETS)}")
        return value

    def shape(self, vocab_size: int | None = None) -> ModelShape:
        """The preset with its overrides; `vocab_size` is what the tokenizer really has.

        Raises ConfigError where the numbers do not make a model.
        """
        base = PRESETS[self.preset]
        changed = {
            field.name: getattr(self, field.name)
            for field in fields(ModelShape)
            if getattr(self, field.name, None) is not None
        }
        if vocab_size is not None:
            changed["vocab_size"] = vocab_size
        shape = replace(base, **changed)
        resized = {"hidden_size", "num_heads"} & changed.keys()
        if resized and "head_dim" not in changed:
            if shape.hidden_size % shape.num_heads:
                raise ConfigError(
                    f"model.hidden_size: {shape.hidden_size} is not a multiple of "
                    f"model.num_heads {shape.num_heads}; change one, or set model.head_dim"
                )
            shape = replace(shape, head_dim=shape.hidden_size // shape.num_heads)
        if shape.num_heads % shape.num_kv_heads:
            raise ConfigError(
                f"model.num_kv_heads: {shape.num_kv_heads} does not divide "
                f"model.num_heads {shape.num_heads}"
            )
        if shape.head_dim % 2:
            raise ConfigError(f"model.head_dim: {shape.head_dim} is odd; rotary needs it even")
        return shape

    @classmethod
    def of_shape(cls, shape: ModelShape, preset: str) -> ModelConfig:
        """`preset` with whatever of `shape` differs from it spelt out."""
        base = asdict(PRESETS[preset])
        spelt_out = {
            name: value
            for name, value in asdict(shape).items()
            if name in cls.model_fields and value != base[name]
        }
        return cls(preset=preset, **spelt_out)


class DataConfig(Section):
    source: str = Field(
        "builtin",
        min_length=1,
        description="'builtin', or .txt / .jsonl / .json files, a folder or a glob of them",
    )
    kinds: list[str] = Field(
        [],
        description="Of the built-in questions: " + ", ".join(KINDS) + "; empty is all",
    )
    template: Template = Field("chatml", description="Chat template: ChatML, or the tokenizer's")
    tokenizer: str | None = Field(
        None, description="A tokenizer.json or Hugging Face folder; unset trains one on the data"
    )
    seq_len: int = Field(
        256, ge=8, le=131072, title="sequence length", description="Tokens in one sequence"
    )
    val_fraction: float = Field(0.02, gt=0, le=0.5, description="Share held out for validation")
    builtin_mb: float = Field(6.0, gt=0.05, le=64, description="Size of the built-in corpus, MB")
    cache_dir: str | None = Field(
        None, description="Where tokenised text is kept; unset is the user's cache folder"
    )

    @field_validator("kinds")
    @classmethod
    def _known_kinds(cls, value: list[str]) -> list[str]:
        if unknown := next((kind for kind in value if kind not in KINDS), None):
            raise ValueError(f"unknown kind {unknown!r}; choose from {', '.join(KINDS)}")
        return value


class TrainConfig(Section):
    steps: int = Field(1000, ge=1, le=100_000_000, description="Optimiser steps")
    batch_size: int = Field(16, ge=1, le=65536, description="Sequences in a micro-batch")
    grad_accum: int = Field(
        1, ge=1, le=65536, title="accumulation", description="Micro-batches in a step"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of weights and data order")
    precision: Precision = Field("auto", description="Arithmetic; auto is decided by the device")
    compile: bool = Field(False, description="torch.compile the model (slow start, faster steps)")
    threads: int | None = Field(None, ge=1, le=1024, description="CPU threads; unset is torch's")
    on_nonfinite: NonFinite = Field(
        "skip",
        title="bad steps",
        description="A loss or gradient that is no number is left out; then: skip, rollback (to "
        "the last checkpoint's weights), pause or stop",
    )
    rollback_lr_factor: float = Field(
        1.0, gt=0, le=1, description="The learning rate is multiplied by this at a rollback"
    )
    freeze: list[str] = Field(
        [], description="Parameters that stay as they are, by pattern, such as *.layers.0.*"
    )


class OptimConfig(Section):
    name: OptimizerName = Field("adamw", description="Optimiser; muon takes the matrices only")
    lr: float | None = Field(
        None,
        gt=0,
        le=10,
        title="learning rate",
        description="Peak learning rate; unset is 3e-3 * sqrt(96 / hidden)",
    )
    muon_lr: float = Field(0.02, gt=0, le=10, description="Peak learning rate of Muon's matrices")
    schedule: Schedule = Field("cosine", description="Shape of the learning rate over the run")
    warmup_steps: int = Field(20, ge=0, le=10_000_000, description="Steps of linear warm-up")
    min_lr_ratio: float = Field(0.1, ge=0, le=1, description="Last learning rate / peak")
    decay_fraction: float = Field(0.2, gt=0, le=1, description="Share of a WSD run that decays")
    weight_decay: float = Field(0.1, ge=0, le=10, description="Decay of matrices (never of norms)")
    beta1: float = Field(0.9, ge=0, lt=1, description="Adam's first-moment decay")
    beta2: float = Field(0.95, ge=0, lt=1, description="Adam's second-moment decay")
    eps: float = Field(1e-8, gt=0, le=1, description="Adam's epsilon")
    clip: float = Field(1.0, gt=0, le=1e6, description="Largest global gradient norm")


class LogConfig(Section):
    every: int = Field(1, ge=1, description="Steps between logged rows")
    val_every: int = Field(50, ge=0, description="Steps between validations; 0 is never")
    val_batches: int = Field(8, ge=1, description="Micro-batches in a validation")
    probe_every: int = Field(50, ge=0, description="Steps between probes; 0 is on request only")
    sample_every: int = Field(200, ge=0, description="Steps between samples; 0 is on request only")
    checkpoint_every: int = Field(500, ge=0, description="Steps between checkpoints; 0: end only")
    keep: int = Field(3, ge=1, description="Checkpoints to keep, the newest")
    keep_best: int = Field(1, ge=0, description="And the best by validation loss")
    keep_every: int = Field(0, ge=0, description="And one every so many steps; 0 keeps none")
    tensorboard: bool = Field(True, description="Mirror the scalars as TensorBoard events")
    prompts: list[str] = Field(
        [], description="What the model is asked in samples; empty is what suits the stage"
    )
    sample_tokens: int = Field(48, ge=1, le=4096, description="Tokens in a sample")
    temperature: float = Field(0.8, ge=0, le=10, description="Of samples; 0 is greedy")
    top_p: float = Field(0.95, gt=0, le=1, description="Nucleus of samples")


class LoraConfig(Section):
    rank: int = Field(0, ge=0, le=4096, description="Rank of the adapters; 0 trains the weights")
    alpha: int = Field(16, ge=1, le=65536, description="Adapters are scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the adapters")
    targets: list[str] = Field(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        min_length=1,
        description="Modules that get an adapter, by the end of their names",
    )


class DpoConfig(Section):
    loss: PreferenceLoss = Field("sigmoid", description="sigmoid (DPO) or ipo")
    beta: float = Field(0.1, gt=0, le=100, description="Strength of the tie to the reference")
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="Chance that a pair is the wrong way round; of sigmoid"
    )
    reference: Reference = Field(
        "precomputed", description="Reference log-probs: computed once, or by a second model"
    )


class GrpoConfig(Section):
    loss: PolicyLoss = Field("grpo", description="grpo, dr_grpo or cispo")
    group: int = Field(8, ge=2, le=1024, description="Answers to each prompt")
    max_tokens: int = Field(64, ge=1, le=32768, description="Most tokens of an answer")
    temperature: float = Field(1.0, gt=0, le=10, description="Of the answers")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus of the answers")
    updates: int = Field(1, ge=1, le=64, description="Optimiser steps on the same answers")
    clip_low: float = Field(0.2, gt=0, le=1, description="The ratio may fall by this much")
    clip_high: float = Field(0.2, gt=0, le=10, description="The ratio may rise by this much")
    beta: float = Field(0.0, ge=0, le=10, description="Weight of the KL to the reference")
    rewards: list[str] = Field(
        ["exact"],
        min_length=1,
        description="exact, format, length, module:function, or a reward model's folder",
    )
    weights: list[float] = Field([], description="Of the rewards; empty weighs all alike")


class DistillConfig(Section):
    teacher: str | None = Field(
        None, min_length=1, description="Its weights: a run, a checkpoint, a HF folder or a .pth"
    )
    data: TeacherData = Field("chat", description="What they read: conversations or plain text")
    divergence: Divergence = Field("forward", description="KL(teacher, student) or the reverse")
    temperature: float = Field(1.0, gt=0, le=100, description="Of both, in the KL")
    ce_weight: float = Field(
        0.0, ge=0, le=1, description="Share of the cross entropy; the rest is the KL"
    )


class EvalConfig(Section):
    every: int = Field(0, ge=0, description="Steps between evaluations by lm-eval; 0 is on request")
    tasks: list[str] = Field(
        ["lmm_sums", "lmm_choice"], min_length=1, description="lm-eval's, or ours: lmm_<kind>"
    )
    limit: int = Field(100, ge=1, description="Questions of each task")
    data_dir: str | None = Field(None, description="Folder of local files for hellaswag and others")


class HealthConfig(Section):
    enable: bool = Field(True, description="Look for trouble while training, and say what is wrong")
    rules: str | None = Field(
        None, min_length=1, description="A TOML file that switches off, tunes or adds rules"
    )
    thresholds: list[str] = Field(
        [], description="More rules, such as 'system/memory_gb > 7' (mean of 8 rows)"
    )
    pause: list[str] = Field([], description="Rules whose alert pauses the run")
    checkpoint: list[str] = Field([], description="Rules whose alert has a checkpoint written")
    rollback: list[str] = Field(
        [], description="Rules whose alert brings back the weights of the last checkpoint"
    )
    webhook: str | None = Field(
        None, pattern=r"^https?://\S+$", description="URL that gets each alert as a JSON POST"
    )
    command: str | None = Field(
        None, min_length=1, description="Shell command that gets each alert as JSON on its input"
    )


class ProbeConfig(Section):
    """What a probe measures beyond the nine numbers, all off; costs are of a `tiny` step."""

    attention: bool = Field(
        False, description="Largest logit and entropy of attention by layer; 1 % of a step"
    )
    activations: bool = Field(
        False, description="RMS and outliers of the activations by layer; 2 % of a step"
    )
    mlp: bool = Field(False, description="Share of dead MLP units by layer; 1 % of a step")
    rank: bool = Field(
        False, description="Effective rank of each layer's representations; 3 % of a step"
    )
    updates: bool = Field(
        False,
        description="Update-to-weight ratio by layer; 2 % of a step, a copy of the weights",
    )
    noise: bool = Field(
        False, description="Gradient noise scale, with two or more micro-batches; 1 % of a step"
    )
    calibration: bool = Field(
        False,
        description="logsumexp, 1 % of a step; and the calibration error, a forward pass of one "
        "micro-batch more at each validation",
    )


class RunConfig(Section):
    """Everything that defines a run."""

    stage: Stage = Field("pretrain", description="What is trained: " + ", ".join(STAGES))
    device: str = Field("auto", description="auto, cpu, mps, cuda or cuda:N; auto takes the best")
    name: str | None = Field(None, description="Name of the run; unset is stage, model, date")
    runs_dir: str = Field(RUNS_DIR, min_length=1, description="Folder that holds the runs")
    start_from: str | None = Field(
        None,
        min_length=1,
        title="start from",
        description="Weights to start from: a run, checkpoint, Hugging Face folder or .pth file",
    )
    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    optim: OptimConfig = Field(default_factory=OptimConfig)
    log: LogConfig = Field(default_factory=LogConfig)
    eval: EvalConfig = Field(default_factory=EvalConfig)
    health: HealthConfig = Field(default_factory=HealthConfig)
    probe: ProbeConfig = Field(default_factory=ProbeConfig)
    lora: LoraConfig = Field(default_factory=LoraConfig)
    dpo: DpoConfig = Field(default_factory=DpoConfig)
    grpo: GrpoConfig = Field(default_factory=GrpoConfig)
    distill: DistillConfig = Field(default_factory=DistillConfig)

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not _DEVICE.fullmatch(value):
            raise ValueError(f"unknown device {value!r}; choose auto, cpu, mps, cuda or cuda:N")
        return value

    @field_validator("name")
    @classmethod
    def _safe_name(cls, value: str | None) -> str | None:
        if value is not None and not _RUN_NAME.fullmatch(value):
            raise ValueError(
                "a run name starts with a letter or digit and has at most 100 letters, "
                "digits, '.', '_', '+' or '-'"
            )
        return value

    @property
    def peak_lr(self) -> float:
        """The learning rate at the top of the schedule."""
        if self.optim.lr is not None:
            return self.optim.lr
        return 3e-3 * (96 / self.model.shape().hidden_size) ** 0.5

    @property
    def reads_text(self) -> bool:
        """Whether the data is plain text; else it is rows of conversations, pairs or prompts."""
        return self.stage == "pretrain" or (self.stage == "distill" and self.distill.data == "text")

    def completed(self) -> RunConfig:
        """With the values filled in that follow from others, as a run saves it."""
        optim = self.optim.model_copy(update={"lr": self.peak_lr})
        return self.model_copy(update={"optim": optim})

    @property
    def tokens_per_step(self) -> int:
        """About; 0 where pairs or answers are counted, whose lengths nobody knows before."""
        if self.stage in ("dpo", "grpo"):
            return 0
        return self.train.batch_size * self.train.grad_accum * self.data.seq_len


@dataclass(frozen=True)
class Option:
    """One leaf of the tree, as a flag, a form field or a TOML key may want to know it."""

    key: str
    """Dotted path such as `optim.lr`."""
    field: FieldInfo

    @property
    def help(self) -> str:
        return self.field.description or ""

    @property
    def label(self) -> str:
        """A short name for people: the field's title, or the last word of its key."""
        return self.field.title or self.key.rpartition(".")[2].replace("_", " ")

    @property
    def default(self) -> Any:
        return self.field.get_default(call_default_factory=True)

    @property
    def optional(self) -> bool:
        """Whether it may be unset, which is None."""
        return NoneType in get_args(self.field.annotation)

    @property
    def kind(self) -> type:
        """bool, int, float, str or list; a Literal is a str."""
        member = next(
            (
                kind
                for kind in get_args(self.field.annotation)
                if self.optional and kind is not NoneType
            ),
            self.field.annotation,
        )
        origin = get_origin(member) or member
        return origin if isinstance(origin, type) else str

    @property
    def choices(self) -> tuple[str, ...]:
        """The only values it may have; empty where there are too many to list."""
        if get_origin(self.field.annotation) is Literal:
            return get_args(self.field.annotation)
        extra = self.field.json_schema_extra
        listed = extra.get("enum") if isinstance(extra, dict) else None
        return tuple(str(value) for value in listed) if isinstance(listed, list) else ()

    @property
    def allowed(self) -> str:
        """What a number may be, such as `whole number from 1 to 65,536`; empty for the rest."""
        if self.kind not in (int, float):
            return ""
        limits = {
            bound: getattr(rule, bound)
            for rule in self.field.metadata
            for bound in _BOUNDS
            if hasattr(rule, bound)
        }
        number = "whole number" if self.kind is int else "number"
        if {"ge", "le"} <= limits.keys():
            return f"{number} from {limits['ge']:,.10g} to {limits['le']:,.10g}"
        return ", ".join([number, *(f"{_BOUNDS[it]} {limits[it]:,.10g}" for it in limits)])


def options(section: type[Section] = RunConfig, prefix: str = "") -> Iterator[Option]:
    """All leaves of the tree, depth first, in the order of declaration."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from options(kind, f"{prefix}{name}.")
        else:
            yield Option(prefix + name, field)


def lookup(config: RunConfig, key: str) -> Any:
    """The value under a dotted key."""
    return reduce(getattr, key.split("."), config)


def load_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; ConfigError with the line where it does not parse."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give --config an existing TOML file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def parse_assignment(text: str) -> tuple[str, Any]:
    """`section.key=value` of --set, its value as in `parse_value`."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(f"--set {text}: expected section.key=value, such as optim.lr=1e-3")
    return key, parse_value(value)


def parse_value(text: str) -> Any:
    """A TOML value; a bare word is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def format_assignment(key: str, value: Any) -> str:
    """`section.key=value` for --set, which `parse_assignment` reads back as the same value."""
    plain = f"{key}={value}"
    if isinstance(value, str) and parse_assignment(plain) == (key, value):
        return plain
    return f"{key}={toml_value(value)}"


def toml_value(value: Any) -> str:
    """One value as TOML on a single line."""
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return tomli_w.dumps({"value": value}).removeprefix("value = ").removesuffix("\n")


def resolve(
    file: Path | None = None,
    assignments: Mapping[str, Any] | None = None,
    base: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Defaults < `base` < `file` < `assignments` (dotted keys), checked.

    Raises ConfigError: one sentence with the file and line, or the key, that is wrong.
    """
    tree: dict[str, Any] = {}
    _merge(tree, base or {})
    if file is not None:
        table = load_toml(file)
        _validate(table, file)
        _merge(tree, table)
    for key, value in (assignments or {}).items():
        _set(tree, key, value)
    config = _validate(tree, file)
    config.model.shape()
    return config


def to_toml(config: RunConfig) -> str:
    """The configuration as TOML; unset keys are left out, for TOML has no null."""
    return tomli_w.dumps(config.model_dump(exclude_none=True))


def check(key: str, value: Any, config: RunConfig) -> RunConfig:
    """`config` with one dotted key changed; ConfigError where that is not allowed."""
    tree = config.model_dump()
    _set(tree, key, value)
    return _validate(tree, None)


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, leaf = key.split(".")
    for section in sections:
        table = tree.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{key}: {section!r} is a value, not a section")
        tree = table
    tree[leaf] = value


def _validate(tree: Mapping[str, Any], file: Path | None) -> RunConfig:
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_sentence(error, file)) from None


def _sentence(error: ValidationError, file: Path | None) -> str:
    first = error.errors(include_url=False)[0]
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        problem = f"unknown key{_suggestion(key)}"
    else:
        message = str(first["msg"]).removeprefix("Value error, ")
        message = re.sub(r"^(Input|String|List) (?=should )", "", message)
        given = first["input"]
        shown = f" (got {given!r})" if isinstance(given, str | int | float | bool) else ""
        problem = message if first["type"] == "value_error" else f"{message}{shown}"
    return f"{_where(file, location)}{key}: {problem}"


def _suggestion(key: str) -> str:
    """The key that was probably meant: the same leaf in another section, or a near spelling."""
    known = [option.key for option in options()]
    leaf = key.rpartition(".")[2]
    meant = [name for name in known if name.rpartition(".")[2] == leaf]
    meant = meant or difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    return f"; did you mean {meant[0]}?" if meant else "; see --print-config for all keys"


def _where(file: Path | None, location: Sequence[str]) -> str:
    """`FILE:LINE: ` of a key in a TOML file, or nothing where it does not stand in one."""
    if file is None:
        return ""
    section, line_number = "", None
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            section = header[1].strip()
            name = section
        elif assignment := re.match(r"\s*([\w.-]+)\s*=", line):
            name = f"{section}.{assignment[1]}" if section else assignment[1]
        else:
            continue
        if name == ".".join(location) or name == ".".join(location[:2]):
            line_number = number
    return f"{file}:{line_number}: " if line_number else ""


if __name__ == "__main__":
    shown = resolve(assignments=dict([parse_assignment("train.steps=20")]))
    print(to_toml(shown))
    assert RunConfig.model_validate(tomllib.loads(to_toml(shown))) == shown
    try:
        resolve(assignments={"optim.lrr": 1})
    except ConfigError as error:
        print(error)
    print("=== 自测通过 ===")

"""Rewards of GRPO: functions that score a completion, found by name, and the scores of a step.

A reward is a plain function of text. The built-in ones check a completion against the right
answer, its form and its length; others are the user's own functions, or a local reward model, for
which alone transformers is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from lmm_tui.errors import LmmError

MOST_FAILURES = 0.1
"""The share of a step's completions that a reward may fail on."""

_TARGET_TOKENS = 64


class RewardError(LmmError):
    """A reward that does not exist, or that fails too often."""


@dataclass(frozen=True)
class Sample:
    """A completion to score."""

    prompt: str
    completion: str
    """Without the token that ended it."""
    answer: str | None
    """The right answer, where the prompt comes with one."""
    tokens: int
    """Of the completion, the one that ended it included."""
    ended: bool
    """Whether the model ended it, or the limit of tokens did."""


@dataclass(frozen=True)
class Reward:
    name: str
    function: Callable[[Sample], float]


@dataclass(frozen=True)
class Scores:
    """None stands for a completion on which a reward failed."""

    totals: list[float | None]
    """The weighted sum of a completion's rewards."""
    by_reward: dict[str, list[float | None]]
    """The unweighted rewards under their names."""
    failures: int
    """Completions without a total."""
    first_failure: str
    """Which reward failed first and how, for a log; empty where none did."""


def load_rewards(names: Sequence[str], device: str = "cpu") -> list[Reward]:
    """Find the rewards called `names`, in their order.

    `exact`, `format`, `length` or `length:TOKENS`; `module:function` or `file.py:function`, looked
    up from the current folder and called with (prompt, completion, answer); or a folder with a
    sequence classifier of one label, which runs on `device`. Raises RewardError.
    """
    if not names:
        raise RewardError(f"no reward is named; give some of {', '.join(BUILTIN)}")
    if len(set(names)) < len(names):
        raise RewardError(f"a reward is named twice in {', '.join(names)}; give it a larger weight")
    return [Reward(name, _find(name, device)) for name in names]


def score(rewards: Sequence[Reward], weights: Sequence[float], samples: Sequence[Sample]) -> Scores:
    """Score the samples of a step; there is one weight per reward.

    Where a reward raises, or returns anything but a finite number, the sample has no total. Raises
    RewardError where that happens to more than a tenth of the samples.
    """
    by_reward: dict[str, list[float | None]] = {}
    first_failure = ""
    for reward in rewards:
        values = by_reward[reward.name] = []
        for sample in samples:
            try:
                values.append(_finite(reward.function(sample)))
            except Exception as error:
                values.append(None)
                first_failure = first_failure or f"{reward.name!r} with {_one_line(error)}"
    totals = [_total(weights, values) for values in zip(*by_reward.values(), strict=True)]
    failures = totals.count(None)
    if failures > MOST_FAILURES * len(samples):
        raise RewardError(
            f"rewards failed on {failures} of {len(samples)} answers, first {first_failure}; mend "
            "the reward or leave it out"
        )
    return Scores(totals, by_reward, failures, first_failure)


def exact(sample: Sample) -> float:
    """1 where the completion is the right answer and nothing else, but for space around it."""
    if sample.answer is None:
        raise ValueError("the prompt comes without an answer")
    return float(sample.completion.strip() == sample.answer.strip())


def well_formed(sample: Sample) -> float:
    """0 if empty; else a half for ending by itself, and a half for being one line."""
    text = sample.completion.strip()
    return (sample.ended + ("\n" not in text)) / 2 if text else 0.0


def short(sample: Sample, target: int = _TARGET_TOKENS) -> float:
    """0 up to `target` tokens, then falling to -1 at twice as many.

    The soft overlong punishment of DAPO (arXiv 2503.14476, equation 13).
    """
    return min(0.0, max(-1.0, 1 - sample.tokens / target))


BUILTIN: dict[str, Callable[[Sample], float]] = {
    "exact": exact,
    "format": well_formed,
    "length": short,
}


def _finite(value: object) -> float:
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ValueError(f"it gave {number}")
    return number


def _total(weights: Sequence[float], values: Sequence[float | None]) -> float | None:
    total = 0.0
    for weight, value in zip(weights, values, strict=True):
        if value is None:
            return None
        total += weight * value
    return total


def _one_line(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _find(name: str, device: str) -> Callable[[Sample], float]:
    if name in BUILTIN:
        return BUILTIN[name]
    if Path(name).is_dir():
        return _reward_model(Path(name), device)
    place, colon, function = name.rpartition(":")
    if place == "length":
        if not function.isdecimal() or int(function) == 0:
            raise RewardError(f"reward {name!r}: {function!r} is no number of tokens from 1 on")
        return partial(short, target=int(function))
    if not colon:
        raise RewardError(
            f"there is no reward {name!r}; give one of {', '.join(BUILTIN)}, module:function, "
            "file.py:function or the folder of a reward model"
        )
    return _user_function(name, place, function)


def _user_function(name: str, place: str, function: str) -> Callable[[Sample], float]:
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else _from_folder(place)
    except FileNotFoundError:
        raise RewardError(f"reward {name!r}: there is no file {place}; check the path") from None
    except Exception as error:
        raise RewardError(
            f"reward {name!r}: importing {place} failed with {_one_line(error)}; mend it, or call "
            "lmm-tui from the folder it is in"
        ) from error
    found = getattr(module, function, None)
    if not callable(found):
        raise RewardError(
            f"reward {name!r}: {place} has no function {function!r}; expected one that takes "
            "(prompt, completion, answer) and gives a number"
        )

    def judge(sample: Sample) -> float:
        return found(sample.prompt, sample.completion, sample.answer)

    return judge


def _from_folder(module: str) -> ModuleType:
    """Import an installed module, or one in the current folder."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    return importlib.import_module(module)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError
    spec = importlib.util.spec_from_file_location(f"lmm_tui_rewards_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickle look up the module of a class by its name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _reward_model(folder: Path, device: str) -> Callable[[Sample], float]:
    """The one logit of a local sequence classifier, of the prompt and the completion as a chat."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise RewardError(
            f"{folder}: not a reward model that transformers can load ({_one_line(error)}); give "
            "the folder of a sequence classifier"
        ) from error
    if model.config.num_labels != 1:
        raise RewardError(
            f"{folder}: the classifier has {model.config.num_labels} labels, a reward model has "
            "one; give another folder"
        )
    model.eval().to(device)

    @torch.no_grad()
    def judge(sample: Sample) -> float:
        if tokenizer.chat_template:
            turns = [
                {"role": "user", "content": sample.prompt},
                {"role": "assistant", "content": sample.completion},
            ]
            text = tokenizer.apply_chat_template(turns, tokenize=False)
            inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        else:
            inputs = tokenizer(sample.prompt, sample.completion, return_tensors="pt")
        return model(**inputs.to(device)).logits.item()

    return judge


if __name__ == "__main__":
    asked = [
        Sample("1 + 1?", " 2\n", "2", tokens=3, ended=True),
        Sample("1 + 1?", "3\nor 2", "2", tokens=96, ended=False),
    ]
    scored = score(load_rewards(["exact", "format", "length"]), [1.0, 0.5, 0.5], asked)
    print(scored)
    assert scored.totals == [1.5, -0.25] and scored.failures == 0
    try:
        score(load_rewards(["exact"]), [1.0], [Sample("Why?", "So.", None, tokens=2, ended=True)])
    except RewardError as failed_too_often:
        print(failed_too_often)
    print("=== 自测通过 ===")

"""The names of other programs for our metrics: a table, and who gets a name where two want it.

The table is `metric_names.toml`, which `names.toml` in the folder of settings extends. Two names of
a log never share a series: the one that stands first in the table gets our name, the other keeps
its own.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from lmm_tui.errors import LmmError
from lmm_tui.message import os_reason
from lmm_tui.user_folders import user_settings

TAKEN = ("step", "time", "tokens")
"""Keys of a row that are no metrics here; metrics of that name get another one."""

STEPS = (
    "step", "global step", "trainer/global step", "train/global step", "iteration", "iter",
    "current steps", "num updates", "update", "updates", "global iter", "train/step", "train step",
    "global step/max steps", "training step", "optimizer step", " step", "iterations",
    "n iter", "itr", "batch", "batch idx", "total timesteps",
    "time/total timesteps", "timesteps total",
)  # fmt: skip
"""Names of the step, as `normal` gives them, the likeliest first."""

EPOCHS = ("epoch", "train/epoch", "epochs", "num epoch")
TOTALS = ("total steps", "max steps", "global step/max steps")
TIMES = ("time", " timestamp", "timestamp", "wall time", "created at", "datetime")
SPLITS = ("mode", "split", "phase", "subset", "stage")
"""Names of a text that says what a row was measured on."""

VALIDATION = frozenset(
    ("val", "valid", "validation", "validate", "validating", "eval", "evaluate", "evaluation",
     "evaluating", "dev", "heldout", "test", "testing")
)  # fmt: skip
TRAINING = frozenset(("train", "training"))

_TABLE = Path(__file__).with_name("metric_names.toml")
_GAPS = re.compile(r"[\s_\-.]+")
_TOKENS_A_SECOND = re.compile(r"\btok(?:en)?s?(?:/| per )s(?:ec(?:ond)?)?\b")


class CommonName(NamedTuple):
    """Our name for another one, and its rank among the names of that metric (0 is the best)."""

    ours: str
    rank: int


@lru_cache(maxsize=1 << 14)
def normal(name: str) -> str:
    """A name as the table has it."""
    plain = _GAPS.sub(" ", name.lower()).rstrip()
    return _TOKENS_A_SECOND.sub("tokens/s", plain) if "tok" in plain else plain


def user_table() -> Path:
    """The file with names that the user adds."""
    return user_settings() / "names.toml"


class NamesFileError(LmmError):
    """A file with names of the user's that cannot be used."""


@cache
def common_names() -> dict[str, CommonName]:
    """Names in normal form, and what they mean. Raises NamesFileError."""
    found: dict[str, CommonName] = {}
    for ours, theirs in names_by_metric().items():
        for rank, name in enumerate(theirs):
            found.setdefault(normal(name), CommonName(ours, rank))
    return found


def names_by_metric() -> dict[str, list[str]]:
    """By our name, what other programs call a metric, the user's names first.

    Raises NamesFileError.
    """
    added, known = _names_of_user(user_table()), tomllib.loads(_TABLE.read_text("utf-8"))
    return {
        ours: [*added.get(ours, ()), *known.get(ours, ())]
        for ours in dict.fromkeys((*added, *known))
    }


def _names_of_user(path: Path) -> dict[str, list[str]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise NamesFileError(
            "{path}: cannot be read: {error}", path=path, error=os_reason(error)
        ) from None
    except ValueError as error:
        raise NamesFileError(
            "{path}: is not TOML ({error}); correct it", path=path, error=error
        ) from None
    for ours, theirs in content.items():
        if not isinstance(theirs, list) or not all(isinstance(name, str) for name in theirs):
            raise NamesFileError(
                '{path}: {ours}: give a list of names, such as ["my loss"]', path=path, ours=ours
            )
    return content


@lru_cache(maxsize=1 << 12)
def is_loss(name: str) -> bool:
    """Whether a name of another program means the loss, of training or of validation."""
    known = common_names().get(normal(name))
    return known is not None and known.ours in ("train/loss", "val/loss")


def split_of(word: str) -> str:
    """`val` or `train` for a word that means it, else an empty string."""
    word = word.lower()
    return "val" if word in VALIDATION else "train" if word in TRAINING else ""


def in_split(name: str, split: str) -> str:
    """A metric of a row of validation, under a name that says so."""
    first = normal(name).replace("/", " ").split(" ", 1)[0]
    return name if first in VALIDATION or first in TRAINING else f"{split}/{name}"


@lru_cache(maxsize=1 << 12)
def own_kind(name: str) -> bool:
    """Whether a name does not say itself that it is of validation."""
    return normal(name).replace("/", " ").split(" ", 1)[0] not in VALIDATION


class MetricNamer:
    """Gives the metrics of one log their names: ours where they are known, each to one only."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self._owners: dict[str, str] = {}
        """By our name: the name in the log that has it, in normal form."""
        self._preferred: dict[str, str] = {}
        self.contested = False
        """Whether a name has come that stands before the one that has its name. `restart` and
        read the log again: then the better one gets it."""

    def restart(self) -> None:
        """Forget which names were given, but not which are the better ones."""
        self._given.clear()
        self._owners = dict(self._preferred)
        self.contested = False

    def names(self, theirs: Sequence[str]) -> list[str]:
        """The names of the metrics of one row, in the same order."""
        given = self._given
        try:
            ours = [given[name] for name in theirs]
        except KeyError:
            self._learn(theirs)
            ours = [given[name] for name in theirs]
        return ours if len(set(ours)) == len(ours) else self._apart(theirs, ours)

    def _apart(self, theirs: Sequence[str], ours: list[str]) -> list[str]:
        """The names of a row in which two spellings of one name stand side by side."""
        seen: set[str] = set()
        for at, name in enumerate(ours):
            ours[at] = self._own_name(theirs[at]) if name in seen else name
            seen.add(ours[at])
        return ours

    def name(self, theirs: str) -> str:
        """The name of one metric."""
        return self.names((theirs,))[0]

    def _learn(self, row: Sequence[str]) -> None:
        """Name what is new in a row, the best name of each metric first."""
        known = common_names()
        here = {self._given[name] for name in row if name in self._given}
        new = dict.fromkeys(name for name in row if name not in self._given)
        ranked = [(known.get(normal(name)) or CommonName(name, -1), name) for name in new]
        for (wanted, rank), name in sorted(ranked, key=lambda one: one[0].rank):
            form = normal(name) if rank >= 0 else name
            ours = wanted
            owner = self._owners.setdefault(ours, form)
            if owner != form or ours in here:
                if 0 <= rank < known.get(owner, CommonName("", 1 << 30)).rank:
                    self._preferred[ours] = form
                    self.contested = True
                ours = self._own_name(name)
            self._given[name] = f"log/{ours}" if ours in TAKEN else ours
            here.add(self._given[name])

    def _own_name(self, name: str) -> str:
        """The name itself, or with a number behind it where that is taken."""
        own, count = name, 2
        while self._owners.setdefault(own, name) != name:
            own, count = f"{name} ({count})", count + 1
        return own


if __name__ == "__main__":
    namer = MetricNamer()
    print(namer.names(["train_loss", "Critic Loss", "Val-Loss", "time"]))
    assert namer.names(["train_loss", "time"]) == ["train/loss", "log/time"]
    assert namer.name("loss") == "loss" and namer.contested
    namer.restart()
    assert namer.names(["train_loss", "loss"]) == ["train_loss", "train/loss"]
    print("=== 自测通过 ===")

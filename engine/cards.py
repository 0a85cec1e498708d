"""The table of GPUs: memory, speed, links and price, from `cards.toml` and the user's own."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import read_text
from lmm_tui.message import os_reason
from lmm_tui.toml_text import TomlError, parse_toml
from lmm_tui.user_folders import user_settings

_FILE = "cards.toml"
_TEXTS = ("name", "price_date", "price_source")
_MOST = 1e7
"""More than any number of a card."""


class CardError(LmmError):
    """A card that is not in the table, or a table with something wrong in it."""


@dataclass(frozen=True)
class CardModel:
    """One GPU; what the keys mean is in `cards.toml`."""

    key: str
    name: str
    memory_gib: float
    half_tflops: float
    fp32_tflops: float
    bandwidth_gb_s: float
    link_gb_s: float
    words: tuple[str, ...] = ()
    bf16: bool = True
    fp8_tflops: float | None = None
    price: float | None = None
    price_date: str = ""
    price_source: str = ""
    kind: str = "cuda"
    """The type of the device as torch has it; `cpu` is no card."""

    @property
    def memory(self) -> int:
        """Bytes."""
        return round(self.memory_gib * 2**30)

    def peak_flops(self, precision: str) -> float:
        """FLOP/s of dense matrix products in `fp32`, or in 16 bits."""
        return 1e12 * (self.fp32_tflops if precision == "fp32" else self.half_tflops)


def cards() -> dict[str, CardModel]:
    """All known cards by key. Raises CardError about the user's file."""
    own = own_table()
    table = {key: dict(values) for key, values in _built_in().items()}
    for key, values in _read_own(own).items():
        if not isinstance(values, dict):
            raise CardError("{file}: {key} is no table; begin it with [{key}]", file=own, key=key)
        table[key] = table.get(key, {}) | values
    return {key: _card(key, values, own) for key, values in table.items()}


def own_table() -> Path:
    """Where the user's own cards and prices are, if there are any."""
    return user_settings() / _FILE


def find_card(name: str) -> CardModel:
    """The card that a person calls `name`: its key, as `h100` or `RTX 4090`.

    Raises CardError with the nearest names.
    """
    known = cards()
    plain = {_plain(key): card for key, card in known.items()}
    plain |= {_plain(card.name): card for card in known.values()}
    # A number alone, as 4090, where only one card has it.
    wanted = _plain(name)
    if found := plain.get(wanted):
        return found
    ending = {card.key for key, card in plain.items() if wanted and key.endswith(wanted)}
    if wanted.isdigit() and len(ending) == 1:
        return known[ending.pop()]
    near = get_close_matches(name.lower(), known, n=3, cutoff=0.4)
    raise CardError(
        "--gpu {name}: not in the table of cards; nearest: {near}. Add yours to {file}"
        if near
        else "--gpu {name}: not in the table of cards, which has {near}. Add yours to {file}",
        name=name,
        near=near or [*known],
        file=own_table(),
    )


def card_of_device(name: str) -> CardModel | None:
    """The card whose words are all in the name that a driver gives, the most words winning."""
    words = {word.lower() for word in re.split(r"[\s\-_/()]+", name)}
    fitting = [card for card in cards().values() if _fits(card.words, words)]
    return max(fitting, key=lambda card: len(card.words), default=None)


def _fits(words: Sequence[str], found: set[str]) -> bool:
    return bool(words) and all(word.lower() in found for word in words)


def _plain(name: str) -> str:
    return re.sub(r"[\s\-_]+", "", name.lower()).removeprefix("nvidia").removeprefix("geforce")


@cache
def _built_in() -> dict[str, dict[str, Any]]:
    return parse_toml((Path(__file__).parent / _FILE).read_text(encoding="utf-8"))


def _read_own(file: Path) -> dict[str, Any]:
    try:
        return parse_toml(read_text(file))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else "UTF-8"
        raise CardError("{file}: cannot be read ({reason})", file=file, reason=reason) from None
    except TomlError as error:
        raise CardError("{file}: not valid TOML: {error}", file=file, error=error.message) from None


def _card(key: str, values: Mapping[str, Any], file: Path) -> CardModel:
    known = {each.name: each for each in fields(CardModel) if each.name not in ("key", "kind")}
    if unknown := next((name for name in values if name not in known), None):
        raise CardError(
            "{file}: [{key}] has an unknown key {unknown}; it takes {known}",
            file=file,
            key=key,
            unknown=unknown,
            known=[*known],
        )
    needed = [name for name, each in known.items() if each.default is MISSING]
    if missing := [name for name in needed if name not in values]:
        raise CardError("{file}: [{key}] lacks {missing}", file=file, key=key, missing=missing)
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if not _is_right(name, value):
            raise CardError(
                "{file}: [{key}] {name} = {value!r}; give {kind}",
                file=file,
                key=key,
                name=name,
                value=value,
                kind=_kind(name),
            )
        checked[name] = tuple(value) if name == "words" else value
    return CardModel(key, **checked)


def _kind(name: str) -> str:
    if name == "words":
        return '["H100", "PCIe"]'
    return "true / false" if name == "bf16" else '"…"' if name in _TEXTS else "0.5, 989"


def _is_right(name: str, value: object) -> bool:
    if name == "words":
        return isinstance(value, list) and all(isinstance(word, str) for word in value)
    if name == "bf16":
        return isinstance(value, bool)
    if name in _TEXTS:
        return isinstance(value, str)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and 0 < value < _MOST  # type: ignore[operator,arg-type]


if __name__ == "__main__":
    for one in cards().values():
        print(
            f"{one.key:>10}  {one.name:<18} {one.memory_gib:>4} GiB  {one.half_tflops:>6} TFLOP/s"
        )
    assert find_card("H100 SXM") is find_card("h100") or find_card("h100").key == "h100"
    assert card_of_device("NVIDIA H100 80GB HBM3") == find_card("h100")
    assert card_of_device("NVIDIA RTX A1000") is None
    print("=== 自测通过 ===")

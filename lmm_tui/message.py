"""A sentence for people that keeps its template and its values, so that it can be translated.

The English template is the key of a translation, as in gettext. A `Message` is its English text:
it can stand wherever a `str` stands. In JSON a field that holds one has a sibling,
`FIELD_parts: {"template": …, "values": {…}}`, which other programs may ignore.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

PLACE = re.compile(
    r"\{(?P<name>[A-Za-z]\w*)(?P<repr>!r)?(?::(?P<spec>,?(?:\.\d\d?)?[defg%]?))?\}", re.ASCII
)
"""`{name}`, `{name!r}` or `{name:,.2f}`, without a width; all other braces are text."""
PARTS = "_parts"
_DEPTH = 8
"""Messages within messages that are read from a file."""
_LONGEST = 20_000
"""Characters of a message that is read from a file."""

Translate = Callable[["Message"], str]


class Message(str):
    """`Message("{path}: no such run in {folder}", path=path, folder=folder)`.

    Values are numbers, texts, messages, errors or lists of these; any others become their text.
    A place without a value is text: the values say what is replaced.
    """

    __slots__ = ("template", "values")
    template: str
    values: dict[str, Any]

    def __new__(cls, template: str, /, **values: object) -> Message:
        if isinstance(template, Message) and not values:
            return template
        quoted = {place["name"] for place in PLACE.finditer(template) if place["repr"]}
        kept = {
            name: _quoted(value) if name in quoted else _kept(value)
            for name, value in values.items()
        }
        message = super().__new__(cls, fill(template, kept, str))
        message.template, message.values = str.__str__(template), kept
        return message

    def __str__(self) -> str:
        """Itself: `str(error)` keeps template and values too."""
        return self

    def __deepcopy__(self, memo: object) -> Message:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (self.template, self.values)

    def parts(self) -> dict[str, Any]:
        """Template and values, for JSON."""
        return {
            "template": self.template,
            "values": {name: _packed(value) for name, value in self.values.items()},
        }


def fill(
    template: str,
    values: Mapping[str, Any],
    translate: Translate,
    join: Callable[[list[str], bool], str] = lambda parts, _: ", ".join(parts),
) -> str:
    """The template with its values; `translate` words those that are messages, and
    `join` makes a list of them, told whether it is of messages."""

    def text(value: object) -> str:
        return translate(value) if isinstance(value, Message) else str(value)

    def filled(place: re.Match[str]) -> str:
        if place["name"] not in values:
            return place[0]
        value = values[place["name"]]
        if place["repr"]:
            return repr(value)
        if isinstance(value, list):
            return join([text(one) for one in value], any(isinstance(it, Message) for it in value))
        if place["spec"] and value in _NOT_FINITE:
            value = float(value)
        return format(value, place["spec"]) if place["spec"] else text(value)

    return PLACE.sub(filled, template)


def os_reason(error: Exception) -> Message:
    """Why the operating system refuses, such as "No space left on device"."""
    return Message(getattr(error, "strerror", None) or str(error))


def kind_and_text(error: BaseException) -> str:
    """`ValueError: no such thing`, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def with_parts(record: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with the parts of each field that is a message, or holds some."""
    parts = {name + PARTS: _parts_of(value) for name, value in record.items()}
    return {**record, **{name: part for name, part in parts.items() if part}}


def with_messages(record: Mapping[str, Any]) -> dict[str, Any]:
    """The object as it was before `with_parts`; parts that don't give the text are ignored."""
    return {
        name: _read(value, record.get(name + PARTS))
        for name, value in record.items()
        if not (name.endswith(PARTS) and name.removesuffix(PARTS) in record)
    }


def _kept(value: object) -> Any:
    if isinstance(value, str | bool | int | None):
        return value
    if isinstance(value, Exception) and not isinstance(str(value), Message):
        return _of_library(value)
    if (
        isinstance(value, Iterable)
        and not hasattr(value, "__fspath__")
        and not hasattr(value, "item")
    ):
        return [_kept(one) for one in value]
    if hasattr(value, "item"):  # A number of numpy or torch, or an array.
        with suppress(RuntimeError, TypeError, ValueError):
            value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if isinstance(value, int) else str(value)


_NOT_FINITE = ("nan", "inf", "-inf")
"""JSON has no such numbers: they are kept as texts."""


class _AsRepr(str):
    """What `repr` gives of a value that JSON has not."""

    __repr__ = str.__str__


def _quoted(value: object) -> Any:
    if isinstance(value, str) or value is None or type(value) in (bool, int):
        return value
    if type(value) is float and math.isfinite(value):
        return value
    return _AsRepr(repr(value))


def _of_library(error: Exception) -> str:
    """The text of an error that is none of ours, with what can be translated in it."""
    said = str(error)
    if isinstance(error, OSError):
        why, name = os_reason(error), error.filename
        known = (
            Message("[Errno {errno}] {why}: {name!r}", errno=error.errno, why=why, name=name),
            Message("[Errno {errno}] {why}", errno=error.errno, why=why),
            Message("{name}: {why}", name=name, why=why),
        )
        return next((message for message in known if message == said), said)
    reason, _, place = said.removesuffix(")").partition(" (at ")  # As of a TOML file.
    match place.replace(",", "").split(" "):
        case ["line", line, "column", column]:
            return Message(
                "{reason} (at line {line}, column {column})",
                reason=Message(reason),
                line=line,
                column=column,
            )
        case ["end", "of", "document"]:
            return Message("{reason} (at end of document)", reason=Message(reason))
    return Message(said)


def _packed(value: Any) -> Any:
    if isinstance(value, Message):
        return value.parts()
    return [_packed(one) for one in value] if isinstance(value, list) else value


def _parts_of(value: Any) -> Any:
    """None where a value holds no message; in an object or a list, of those that are one."""
    if isinstance(value, Message):
        return value.parts()
    if isinstance(value, Mapping):
        return {name: parts for name, it in value.items() if (parts := _parts_of(it))} or None
    if isinstance(value, list | tuple):
        parts = [_parts_of(one) for one in value]
        return parts if any(parts) else None
    return None


def _read(value: Any, parts: Any) -> Any:
    if isinstance(value, dict) and isinstance(parts, dict):
        return {name: _read(it, parts.get(name)) for name, it in value.items()}
    if isinstance(value, list) and isinstance(parts, list) and len(value) == len(parts):
        return [_read(one, part) for one, part in zip(value, parts, strict=True)]
    if isinstance(value, str) and len(value) <= _LONGEST and isinstance(parts, dict):
        try:
            message = _unpacked(parts, _DEPTH)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            return value
        return message if message == value else value
    return value


def _unpacked(value: Any, depth: int) -> Any:
    if not depth:
        raise ValueError
    if isinstance(value, dict):
        template, values = value["template"], value["values"]
        if not isinstance(template, str) or len(template) > _LONGEST // 10:
            raise TypeError
        kept = {name: _unpacked(it, depth - 1) for name, it in values.items()}
        if any(len(str(it)) > _LONGEST for it in kept.values()):
            raise ValueError
        return Message(template, **kept)
    if isinstance(value, list):
        return [_unpacked(one, depth - 1) for one in value]
    if not isinstance(value, str | int | float | None):
        raise TypeError
    return value


def _remade(template: str, values: dict[str, Any]) -> Message:
    return Message(template, **values)


if __name__ == "__main__":
    inner = Message("loss is {loss:.2f}", loss=2)
    outer = Message("step {step}: {what}", step=7, what=inner)
    assert outer == "step 7: loss is 2.00"
    record = with_parts({"message": outer})
    print(record)
    assert with_messages(record)["message"].values["what"].template == inner.template
    print("=== 自测通过 ===")

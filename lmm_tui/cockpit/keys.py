"""Key bindings: the key bar, palette and help screen all read `cockpit.key_table`.

Knows what a key is called and where it works, never what an action does. Every binding carries the
id of its row, so that a key map can change its keys: `remap` sets them for this process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, cast

from textual.binding import Binding, BindingType

from lmm_tui.cockpit.key_table import TABLE
from lmm_tui.i18n.language import mark, tr

Where = Literal[
    "app",
    "configure",
    "dashboard",
    "charts",
    "overlay",
    "dialog",
    "place",
    "list",
    "runs",
    "checkpoints",
    "log",
    "system",
    "samples",
    "chat",
    "tokens",
    "data",
    "evaluate",
    "spikes",
    "ranks",
    "rank_text",
]
"""Where keys work: a screen, or app (any screen), place (any but the dashboard), list, charts."""

FORBIDDEN = frozenset({"ctrl+enter", "ctrl+j", "ctrl+m", "ctrl+i", "ctrl+b", "ctrl+q", "ctrl+z"})
"""Keys that terminals, tmux or editors intercept, and ctrl+z, which would suspend training."""


@dataclass(frozen=True)
class Key:
    """A row of the table: `action` is a Textual action of the node named by `where`."""

    id: str
    keys: tuple[str, ...]
    action: str
    title: str
    help: str
    group: str
    where: Where
    bar: int = 0
    """Rank in the key bar: the highest is dropped first, 0 is not in it."""
    palette: bool = False

    @property
    def current_keys(self) -> tuple[str, ...]:
        """Its keys in this process: those of the key map, else of the table."""
        return _remapped.get(self.id, self.keys)

    @property
    def key_display(self) -> str:
        """The current keys as the screen shows them."""
        return " ".join(_DISPLAYS.get(key, key) for key in self.current_keys)

    @property
    def label(self) -> str:
        """The title in the language of the interface, as translated for its group."""
        return tr(self.title, about=self.group)

    def binding(self) -> Binding:
        return Binding(
            ",".join(self.keys),
            self.action,
            self.label,
            show=bool(self.bar),
            priority=self.where == "app" and "ctrl+c" in self.keys,
            tooltip=tr(self.help),
            id=self.id,
        )


_DISPLAYS = {
    "question_mark": "?",
    "slash": "/",
    "ampersand": "&",
    "colon": ":",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "shift+left": "⇧←",
    "shift+right": "⇧→",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "escape": "esc",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "delete": "del",
}

_BY_CHARACTER = {shown: key for key, shown in _DISPLAYS.items() if len(shown) == 1}
"""Textual's names of keys that the table gives as a character."""

_remapped: dict[str, tuple[str, ...]] = {}

SHORT_NAMES = {
    "dashboard": mark("dash"),
    "samples": mark("samp"),
    "evaluate": mark("eval"),
    "checkpoints": mark("ckpt"),
    "system": mark("sys"),
    "configure": mark("new"),
}
"""Of screens, for a line too short for their full names."""


def read_table(table: str) -> Iterator[Key]:
    """Read the rows of a key table; raises ValueError for a line that is not one."""
    prefix, section = "", dict[str, str]()
    for line in filter(None, table.splitlines()):
        match re.split("  +", line):
            case [heading, *fields] if heading.startswith("["):
                prefix = heading.strip("[]")
                section = dict(field.split(": ", 1) for field in fields)
            case [name, keys, bar, palette, title, text, *action] if len(action) < 2:
                yield Key(
                    f"{prefix}.{name}",
                    tuple(_BY_CHARACTER.get(key, key) for key in keys.split()),
                    "".join(action) or section.get("action", "*").replace("*", name),
                    title,
                    text,
                    section.get("group", ""),
                    cast(Where, section["where"]),
                    bar=0 if bar == "-" else int(bar),
                    palette=palette == "*",
                )
            case _:
                raise ValueError(f"not a row of the key table: {line}")


KEYS: tuple[Key, ...] = tuple(read_table(TABLE))

SCREENS = tuple((key.keys[0], key.title, key.help) for key in KEYS if key.id.startswith("go."))
"""Key, name and help of each screen; a screen is opened by its key, the palette and the help."""

ACTIVE_TOGETHER: tuple[tuple[Where, ...], ...] = (
    ("app", "dashboard", "charts"),
    ("app", "overlay", "charts"),
    *(("app", "place", "list", where) for where in ("runs", "checkpoints", "log")),
    *(("app", "place", "list", where) for where in ("system", "ranks")),
    *(("app", "place", where) for where in ("samples", "chat", "tokens", "data")),
    ("app", "place", "list", "evaluate"),
    ("configure",),
    ("dialog",),
    ("spikes", "list"),
    ("rank_text",),
)
"""Groups of places whose keys work at the same time: a key must be unique in each."""


def bindings(*where: Where) -> list[BindingType]:
    """The BINDINGS of the app, a screen or a widget."""
    return [key.binding() for key in KEYS if key.where in where]


def bar_keys(*where: Where) -> list[Key]:
    """The keys of a screen's key bar: its own in the order of the table, then those of the app."""
    return [key for place in (*where, "app") for key in KEYS if key.bar and key.where == place]


def remap(keymap: Mapping[str, tuple[str, ...]]) -> None:
    """Display other keys for rows, by id; Textual itself dispatches by the app's `set_keymap`."""
    _remapped.clear()
    _remapped.update(keymap)


def keymap() -> dict[str, str]:
    """The remapped keys, in the form that Textual takes."""
    return {name: ",".join(keys) for name, keys in _remapped.items()}


def help_groups() -> Iterator[tuple[str, list[Key]]]:
    """The rows of the help screen, group by group, in the order of the table."""
    for group in dict.fromkeys(key.group for key in KEYS if key.group):
        yield group, [key for key in KEYS if key.group == group]


if __name__ == "__main__":
    for title, rows in help_groups():
        print(f"{title}:", ", ".join(f"{row.key_display} {row.label}" for row in rows))
    assert not FORBIDDEN & {key for row in KEYS for key in row.keys}
    assert len({row.id for row in KEYS}) == len(KEYS)
    print("=== 自测通过 ===")

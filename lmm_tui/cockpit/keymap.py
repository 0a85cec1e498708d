"""Custom keys, from `keys.toml` in the settings: `"run.pause" = "space,f5"`.

The file is checked before the app starts: unknown ids, unknown keys, keys that terminals do not
pass on, and clashes are errors. Binding is done by Textual, display by `lmm_tui.cockpit.keys`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from textual.binding import Binding
from textual.keys import Keys

from lmm_tui.cockpit.keys import ACTIVE_TOGETHER, FORBIDDEN, KEYS, Key
from lmm_tui.errors import LmmError
from lmm_tui.toml_text import flat
from lmm_tui.user_folders import user_settings

Keymap = Mapping[str, tuple[str, ...]]
"""Keys by id in the key table, instead of the default ones."""

_MODIFIERS = re.compile(r"(?:(?:ctrl|shift|alt|super|hyper|meta)\+)*")
_NAMED = frozenset(key.value for key in Keys)


class KeymapError(LmmError):
    """An invalid key file."""


def load(path: Path | None = None) -> Keymap:
    """The key map of `path` (default: `keys.toml` in the settings); empty without a file.

    Raises KeymapError, which names the file and the id.
    """
    path = path or user_settings() / "keys.toml"
    if not path.exists():
        return {}
    import tomllib

    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KeymapError(
            "{path}: cannot be read as TOML ({error})", path=path, error=error
        ) from None
    # `pause = …` in `[run]` is the same as `"run.pause" = …`.
    keymap = {name: _keys(path, name, value) for name, value in flat(found)}
    _refuse_clashes(path, keymap)
    return keymap


def _keys(path: Path, name: str, value: object) -> tuple[str, ...]:
    known = [row.id for row in KEYS]
    if name not in known:
        import difflib

        near = difflib.get_close_matches(name, known, 1)
        raise KeymapError(
            "{path}: nothing is called {name!r}; did you mean {near}?"
            if near
            else "{path}: nothing is called {name!r}; ? in the cockpit lists the names",
            path=path,
            name=name,
            near=near,
        )
    if not isinstance(value, str) or not value.strip():
        raise KeymapError(
            '{path}: {name} must be keys in quotes, such as "f5" or "p,f5"', path=path, name=name
        )
    keys = tuple(_named(part.strip()) for part in value.split(",") if part.strip())
    for key in keys:
        if key in FORBIDDEN:
            raise KeymapError(
                "{path}: {name}: {key} never arrives, since terminals, tmux or "
                "editors take it; choose another",
                path=path,
                name=name,
                key=key,
            )
        if not _is_key(key):
            raise KeymapError(
                "{path}: {name}: no key is called {key!r}; names are like f5, ctrl+x, slash",
                path=path,
                name=name,
                key=key,
            )
    return keys


def _refuse_clashes(path: Path, keymap: Keymap) -> None:
    """Raise KeymapError for a changed key that has two meanings on one screen."""
    for places in ACTIVE_TOGETHER:
        owners: dict[str, Key] = {}
        rows = [row for row in KEYS if row.where in places]
        for row in rows:
            for key in keymap.get(row.id, row.keys):
                other = owners.setdefault(key, row)
                if other is not row and (row.id in keymap or other.id in keymap):
                    raise KeymapError(
                        "{path}: {key} is both {id} and {row_id}; give one of them another",
                        path=path,
                        key=key,
                        id=other.id,
                        row_id=row.id,
                    )


def _named(key: str) -> str:
    """The name of a key that may be given as its character."""
    return next(iter(Binding.make_bindings([Binding(key, "")]))).key


def _is_key(key: str) -> bool:
    name = key[_MODIFIERS.match(key).end() :]  # type: ignore[union-attr]
    if len(name) == 1 or name in _NAMED:
        return bool(name)
    try:
        unicodedata.lookup(name.replace("_", " "))
    except KeyError:
        return False
    return True


if __name__ == "__main__":
    import tempfile

    with tempfile.NamedTemporaryFile("w", buffering=1) as file:
        file.write('[run]\npause = "f5,!"\n"probe" = "ctrl+t"\n')
        print(load(Path(file.name)))
    print("=== 自测通过 ===")

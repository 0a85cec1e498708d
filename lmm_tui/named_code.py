"""Code that a configuration names: `module:name` and `file.py:name`, or what a package installs.

Names are recognised here without importing anything; `load` runs the code of its module.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lmm_tui.errors import LmmError
from lmm_tui.message import kind_and_text

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

STAGE_GROUP = "lmm_tui.stages"
TRACKER_GROUP = "lmm_tui.trackers"
LOG_FORMAT_GROUP = "lmm_tui.log_formats"

_CODE = re.compile(r"(?P<place>.+\.py|[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<name>[^\W\d]\w*)")


class NamedCodeError(LmmError):
    """Code that is named and cannot be loaded."""


def names_code(text: str) -> bool:
    """Whether it is `module:name` or `file.py:name`."""
    return _CODE.fullmatch(text) is not None


def installed_names(group: str) -> tuple[str, ...]:
    """What the installed packages offer in a group of entry points."""
    return tuple(_installed(group))


def load(text: str, group: str = "") -> Any:
    """Import what is named, from a file, the current folder or an installed package.

    Raises NamedCodeError in one sentence.
    """
    found = _CODE.fullmatch(text)
    try:
        if found is None:
            return _installed(group)[text].load()
        place, name = found["place"], found["name"]
        module = module_at(place)
    except Exception as error:
        raise NamedCodeError(
            "{text}: cannot be loaded ({error}); mend it, or check the path",
            text=text,
            error=kind_and_text(error),
        ) from error
    if not hasattr(module, name):
        raise NamedCodeError(
            "{text}: {place} has no {name}; check the name", text=text, place=place, name=name
        )
    return getattr(module, name)


def module_at(place: str) -> ModuleType:
    """Import `file.py`, an installed module, or one in the current folder."""
    if place.endswith(".py"):
        return _from_file(Path(place))
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    return importlib.import_module(place)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"lmm_tui_named_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickle look up the module of a class by its name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@cache
def _installed(group: str) -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # 20 ms, for what few name.

    return {point.name: point for point in entry_points(group=group)}


if __name__ == "__main__":
    print(load("math:sqrt")(9.0), installed_names(STAGE_GROUP))
    assert names_code("my.module:Mine") and names_code("a/b.py:Mine") and not names_code("sft")
    print("=== 自测通过 ===")

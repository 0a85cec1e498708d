"""Replaces private parts of Textual by ours, each only where Textual is as it was written for.

Textual may change its private parts in any release. A patch names the functions it replaces, with
a fingerprint of each, and the names it relies on in others. It imports no private module itself.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from inspect import getattr_static, isroutine, unwrap
from types import CodeType
from typing import Any

from textual.app import App

from lmm_tui.i18n.language import tr

PLAIN = "LMM_TUI_PLAIN_TEXTUAL"
"""Set to anything in the environment, it leaves Textual as it is."""

WRITTEN_FOR = "8.2.8"
"""The version of Textual that all patches were last tested with."""


@dataclass(frozen=True)
class Patch:
    """A module of this package, whose `install` replaces parts of Textual."""

    name: str
    replaced: Mapping[str, str]
    """Functions whose work is done by ours instead, `module:Class.name`, and their fingerprints."""
    used: Mapping[str, tuple[str, ...]]
    """Functions and objects, and the names that they must have inside or as attributes."""

    def difference(self) -> str:
        """The first part of Textual that is not as expected; empty where all are."""
        for part, expected in self.replaced.items():
            found = _find(part)
            if found is None or fingerprint(found) != expected:
                return part
        for part, names in self.used.items():
            found = _find(part)
            if found is None or not set(names) <= _names(found):
                return part
        return ""


PATCHES = (
    Patch(
        "partial_repaint",
        replaced={
            "textual._compositor:Compositor.render_full_update": "74a7a41c",
            "textual._compositor:Compositor.render_partial_update": "bff07107",
        },
        used={
            "textual._compositor:Compositor": ("visible_widgets",),
            "textual._compositor:Compositor.__init__": ("_dirty_regions", "size"),
            "textual._compositor:Compositor.update_widgets": ("_dirty_regions",),
            "textual._compositor:Compositor.render_update": (
                "_dirty_regions",
                "render_full_update",
                "render_partial_update",
            ),
            "textual._compositor:CompositorUpdate.render_segments": ("self", "console"),
            "textual._compositor:LayoutUpdate": (),
            "textual._context:active_app": ("get",),
            "textual.app:App._display": ("CompositorUpdate", "render_segments", "_batch_count"),
            "textual.screen:Screen.__init__": ("_compositor", "Compositor"),
            "textual.screen:Screen._compositor_refresh": ("render_update", "_display"),
            "textual.screen:Screen.focused": ("_repaint",),
            "textual.widget:Widget.render_lines": ("self", "crop"),
        },
    ),
    Patch(
        "single_paint",
        replaced={},
        used={
            "textual.widget:Widget._size_updated": (
                "self",
                "size",
                "virtual_size",
                "container_size",
                "layout",
            ),
            "textual.widget:Widget._exchange_repaint_regions": ("_repaint_regions",),
        },
    ),
    Patch(
        "backdrop",
        replaced={
            "textual.renderables.background_screen:BackgroundScreen.__rich_console__": "69c58272",
            "textual.renderables.background_screen:BackgroundScreen.process_segments": "0fd18bd0",
        },
        used={
            "textual.renderables.background_screen:BackgroundScreen.__init__": ("screen", "color"),
            "textual.screen:Screen.render": ("BackgroundScreen", "visible_screen_stack"),
            "textual.screen:Screen.__init__": ("_compositor",),
            "textual._compositor:Compositor.render_strips": ("self",),
        },
    ),
    Patch(
        "escape_key",
        replaced={"textual.drivers.linux_driver:LinuxDriver.run_input_thread": "a6d96279"},
        used={
            "textual.drivers.linux_driver:selectors": ("SelectSelector",),
            "textual._xterm_parser:XTermParser.parse": ("ESCAPE_DELAY",),
        },
    ),
    Patch(
        "one_shot_timers",
        replaced={},
        used={
            "textual.message_pump:MessagePump.set_timer": ("Timer", "delay"),
            "textual.timer:Timer.__init__": ("_skip", "_repeat"),
            "textual.timer:Timer._run": ("_skip", "_repeat", "_tick"),
        },
    ),
    Patch(
        "style_once",
        replaced={"textual.css.stylesheet:Stylesheet.reparse": "7aea7838"},
        used={
            "textual.css.stylesheet:Stylesheet.parse": ("_invalid_css", "_parse_rules", "_rules"),
            "textual.css.stylesheet:Stylesheet.__init__": ("_parse_cache", "LRUCache"),
            "textual.css.stylesheet:Stylesheet.set_variables": ("_variables", "clear"),
            "textual.cache:LRUCache": ("grow",),
            "textual.dom:DOMNode.update_node_styles": ("update_styles", "animate"),
            "textual.dom:DOMNode.add_class": ("update_node_styles",),
            "textual.app:App._register": ("_register_child", "apply"),
            "textual.app:App._load_screen_css": ("screen", "stylesheet", "has_source", "read"),
            "textual.events:ScreenResume": ("refresh_styles",),
            "textual.screen:Screen._on_screen_resume": ("refresh_styles", "update_node_styles"),
        },
    ),
)

_outcome: dict[str, str] = {}


def differences() -> dict[str, str]:
    """The name of every patch, and the part of this Textual that it was not written for, if any."""
    return {patch.name: patch.difference() for patch in PATCHES}


def install() -> dict[str, str]:
    """Install what fits, once for the process; the same as `differences`, empty where none may."""
    if not os.environ.get(PLAIN) and not _outcome:
        _outcome.update(differences())
        for name, difference in _outcome.items():
            if not difference:
                import_module(f"lmm_tui.textual_patches.{name}").install()
    return dict(_outcome)


def is_installed(name: str) -> bool:
    """Whether a patch of this process is in place."""
    return _outcome.get(name) == ""


def explain(outcome: Mapping[str, str]) -> str:
    """What a person should know of an outcome; empty where all is as it should be."""
    parts = sorted({part for part in outcome.values() if part})
    if not parts:
        return ""
    from importlib import metadata  # 20 ms, of a start that is mostly as it should be.

    return tr(
        "Textual {version} has changed inside ({parts}): screens are painted more slowly",
        version=metadata.version("textual"),
        parts=", ".join(parts),
    )


def forget_terminal_contents(app: App[Any]) -> None:
    """The terminal may show something else than `app` painted; the next frame is sent whole."""
    if is_installed("partial_repaint"):
        from lmm_tui.textual_patches.partial_repaint import terminal_contents

        terminal_contents(app).forget()


def fingerprint(function: object) -> str:
    """Of the arguments of a function and of all names that it uses, whatever the Python version."""
    # Up to Python 3.11 a comprehension is a function of its own, whose argument is called ".0".
    names = sorted(_names(function) - {".0"})
    return f"{zlib.crc32(' '.join(names).encode()):08x}"


def _find(part: str) -> object:
    """What stands at `module:Class.name`; None where there is nothing."""
    module, _, path = part.partition(":")
    try:
        found: object = import_module(module)
        for name in path.split("."):
            found = getattr_static(found, name)
    except (ImportError, AttributeError):
        return None
    return found


def _names(part: object) -> set[str]:
    if isinstance(part, property):
        part = part.fget
    if isinstance(part, staticmethod | classmethod):
        part = part.__func__
    if isroutine(part):
        return set(_names_in(unwrap(part).__code__))
    return set(dir(part))


def _names_in(code: CodeType) -> Iterator[str]:
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    yield from (*code.co_names, *arguments)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


if __name__ == "__main__":
    for patch in PATCHES:
        for part in patch.replaced:
            print(part, fingerprint(_find(part)))
    print(install())
    print("=== 自测通过 ===")

"""The one table of keys: bindings, key bar, command palette and help screen are all made from it.

It knows what a key is called and where it works, never what an action does. Every binding carries
the id of its row, so a key map can move it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding, BindingType

Where = Literal["app", "configure", "dashboard", "dialog"]

FORBIDDEN = frozenset({"ctrl+enter", "ctrl+j", "ctrl+m", "ctrl+i", "ctrl+b", "ctrl+q", "ctrl+z"})
"""Keys that terminals, tmux or editors swallow, and the one that would suspend training."""


@dataclass(frozen=True)
class Key:
    """One thing a key does: `action` is a Textual action of the node named by `where`."""

    id: str
    keys: tuple[str, ...]
    action: str
    title: str
    help: str
    group: str
    where: Where
    bar: int = 0
    """Rank for a place in the key bar, 1 the surest; 0 keeps it out."""
    palette: bool = False

    @property
    def shown(self) -> str:
        """The keys as a person calls them."""
        return " ".join(_NAMES.get(key, key) for key in self.keys)

    def binding(self) -> Binding:
        return Binding(
            ",".join(self.keys),
            self.action,
            self.title,
            show=bool(self.bar),
            priority=self.where == "app" and "ctrl+c" in self.keys,
            tooltip=self.help,
            id=self.id,
        )


_NAMES = {
    "question_mark": "?",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "escape": "esc",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
}

KEYS: tuple[Key, ...] = (
    Key(
        "run.probe",
        ("p",),
        "probe",
        "probe",
        "Measure the nine probe numbers and sample text from the live model, now",
        "Run",
        "dashboard",
        bar=3,
        palette=True,
    ),
    Key(
        "run.pause",
        ("space",),
        "toggle_pause",
        "pause",
        "Pause after the step in progress, or go on; the model stays in memory",
        "Run",
        "dashboard",
        bar=5,
        palette=True,
    ),
    Key(
        "run.checkpoint",
        ("c",),
        "checkpoint",
        "checkpoint",
        "Write a checkpoint after the step in progress",
        "Run",
        "dashboard",
        bar=6,
        palette=True,
    ),
    Key(
        "run.validate",
        ("v",),
        "validate",
        "validate",
        "Measure the loss on the held-out text, now",
        "Run",
        "dashboard",
        bar=7,
        palette=True,
    ),
    Key(
        "run.export",
        ("e",),
        "export",
        "export",
        "Write the plots as PNG files, in a process of its own",
        "Run",
        "dashboard",
        bar=8,
        palette=True,
    ),
    Key(
        "view.next",
        ("n", "pagedown"),
        "turn_page(1)",
        "next page",
        "Show the next page of panels",
        "View",
        "dashboard",
        bar=4,
    ),
    Key(
        "view.previous",
        ("N", "pageup"),
        "turn_page(-1)",
        "previous page",
        "Show the previous page of panels",
        "View",
        "dashboard",
    ),
    *(
        Key(
            f"view.page{number}",
            (str(number),),
            f"open_page({number})",
            f"page {number}",
            f"Show page {number}",
            "",
            "dashboard",
        )
        for number in range(1, 10)
    ),
    Key(
        "view.zoom",
        ("enter", "z"),
        "zoom",
        "zoom",
        "Give the focused panel the whole screen, or put it back",
        "View",
        "dashboard",
        bar=9,
    ),
    Key(
        "view.restore",
        ("escape",),
        "restore",
        "back",
        "Put a zoomed panel back, drop the focus",
        "View",
        "dashboard",
    ),
    Key(
        "focus.next",
        ("tab", "right"),
        "app.focus_next",
        "next panel",
        "Focus the next panel",
        "View",
        "dashboard",
    ),
    Key(
        "focus.previous",
        ("shift+tab", "left"),
        "app.focus_previous",
        "previous panel",
        "Focus the previous panel",
        "View",
        "dashboard",
    ),
    Key(
        "view.theme",
        ("t",),
        "app.toggle_theme",
        "theme",
        "Change between the dark and the light theme",
        "View",
        "dashboard",
        palette=True,
    ),
    Key(
        "app.help",
        ("question_mark", "f1"),
        "app.help",
        "help",
        "Show or hide this help",
        "Cockpit",
        "app",
        bar=2,
        palette=True,
    ),
    Key(
        "app.palette",
        ("ctrl+p",),
        "app.command_palette",
        "palette",
        "Find a command by name",
        "Cockpit",
        "app",
    ),
    Key(
        "app.quit",
        ("q",),
        "app.request_quit",
        "quit",
        "Detach, stop with a checkpoint, or stay; an ended run is left at once",
        "Cockpit",
        "app",
        bar=1,
        palette=True,
    ),
    Key(
        "app.interrupt",
        ("ctrl+c",),
        "app.request_quit",
        "quit",
        "The same as q, also while typing; a second time detaches",
        "Cockpit",
        "app",
    ),
    Key(
        "configure.start",
        ("enter",),
        "start",
        "start",
        "Start the run, or go to the first value that is wrong",
        "Configure",
        "configure",
    ),
    Key(
        "configure.leave",
        ("escape", "q"),
        "leave",
        "leave",
        "Leave without starting; asks where something was changed",
        "Configure",
        "configure",
    ),
    Key(
        "configure.next",
        ("down", "tab"),
        "app.focus_next",
        "next",
        "Go to the next field; left and right choose in it",
        "Configure",
        "configure",
    ),
    Key(
        "configure.previous",
        ("up", "shift+tab"),
        "app.focus_previous",
        "previous",
        "Go to the field before",
        "Configure",
        "configure",
    ),
    Key(
        "configure.reset",
        ("ctrl+r",),
        "reset",
        "default",
        "Put the field back to its default",
        "Configure",
        "configure",
    ),
    Key(
        "configure.copy",
        ("ctrl+y",),
        "copy",
        "copy",
        "Copy the command line that starts this run",
        "Configure",
        "configure",
    ),
    Key("dialog.detach", ("d",), "detach", "detach", "Leave; training goes on", "", "dialog"),
    Key(
        "dialog.stop",
        ("s",),
        "stop",
        "stop",
        "Stop after the step in progress, with a checkpoint",
        "",
        "dialog",
    ),
    Key("dialog.again", ("q",), "app.request_quit", "detach", "Leave at once", "", "dialog"),
    Key("dialog.cancel", ("escape",), "cancel", "stay", "Close the dialog", "", "dialog"),
)


def bindings(where: Where) -> list[BindingType]:
    """What belongs into the BINDINGS of the app or of a screen."""
    return [key.binding() for key in KEYS if key.where == where]


def bar_keys() -> list[Key]:
    """The keys of the key bar, in the order of the table."""
    return [key for key in KEYS if key.bar]


def help_groups() -> Iterator[tuple[str, list[Key]]]:
    """The rows of the help screen, group by group, in the order of the table."""
    for group in dict.fromkeys(key.group for key in KEYS if key.group):
        yield group, [key for key in KEYS if key.group == group]


if __name__ == "__main__":
    for title, rows in help_groups():
        print(title)
        for row in rows:
            print(f"  {row.shown:14} {row.help}")
    assert not FORBIDDEN & {key for row in KEYS for key in row.keys}
    assert len({row.id for row in KEYS}) == len(KEYS)
    print("=== 自测通过 ===")

"""The one table of keys: bindings, key bar, command palette and help screen are all made from it.

It knows what a key is called and where it works, never what an action does. Every binding carries
the id of its row, so a key map can move it: `remap` says which keys a row has in this process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding, BindingType

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
]
"""A screen, or what many have: every screen, those beside the dashboard, their lists."""

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
    def current(self) -> tuple[str, ...]:
        """The keys of this process, which a key map may have moved."""
        return _remapped.get(self.id, self.keys)

    @property
    def shown(self) -> str:
        """The current keys as a person calls them."""
        return " ".join(_NAMES.get(key, key) for key in self.current)

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
    "slash": "/",
    "ampersand": "&",
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

_remapped: dict[str, tuple[str, ...]] = {}

SCREENS = (
    ("1", "dashboard", "Curves, probes, samples and events of the run that is open"),
    ("2", "runs", "All runs: open, compare, rename, resume, delete"),
    ("5", "checkpoints", "What the run has saved: keep, evaluate, convert, start from, erase"),
    ("6", "log", "What the run has printed: followed, searched, narrowed"),
    ("7", "system", "Processors, memory, disk and graphics cards of this machine"),
    ("8", "configure", "A new run: decide its settings and start it"),
)
"""The screens by number; each opens with its digit, from the palette and from the help."""

KEYS: tuple[Key, ...] = (
    *(
        Key(
            f"go.{name}",
            (digit,),
            f"app.go('{name}')",
            name,
            text,
            "Screens",
            "app",
            palette=True,
        )
        for digit, name, text in SCREENS
    ),
    Key(
        "place.back",
        ("escape",),
        "back",
        "back",
        "Go back to the dashboard, from any other screen",
        "Screens",
        "place",
    ),
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
        "run.set",
        ("L",),
        "app.change_settings",
        "change",
        "Change learning rate, clipping and intervals of the live run; shows and asks first",
        "Run",
        "dashboard",
        bar=10,
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
        ("tab",),
        "app.focus_next",
        "next panel",
        "Focus the next panel",
        "View",
        "dashboard",
    ),
    Key(
        "focus.previous",
        ("shift+tab",),
        "app.focus_previous",
        "previous panel",
        "Focus the previous panel",
        "View",
        "dashboard",
    ),
    Key(
        "chart.in",
        ("plus", "equals_sign", "up"),
        "gesture('in')",
        "zoom in",
        "Show half as much of the run: around the cursor, or at the live edge",
        "Charts: the focused one, or all",
        "charts",
        bar=10,
        palette=True,
    ),
    Key(
        "chart.out",
        ("minus", "down"),
        "gesture('out')",
        "zoom out",
        "Show twice as much of the run",
        "Charts: the focused one, or all",
        "charts",
        palette=True,
    ),
    Key(
        "chart.left",
        ("left",),
        "gesture('left')",
        "earlier",
        "Move the window half its width to the left",
        "Charts: the focused one, or all",
        "charts",
        palette=True,
    ),
    Key(
        "chart.right",
        ("right",),
        "gesture('right')",
        "later",
        "Move the window half its width to the right; at the end it follows the run",
        "Charts: the focused one, or all",
        "charts",
        palette=True,
    ),
    Key(
        "chart.fit",
        ("0",),
        "gesture('fit')",
        "all",
        "Show the whole run again",
        "Charts: the focused one, or all",
        "charts",
        palette=True,
    ),
    Key(
        "chart.start",
        ("home",),
        "gesture('start')",
        "start",
        "Move the window to the start of the run",
        "Charts: the focused one, or all",
        "charts",
        palette=True,
    ),
    Key(
        "chart.live",
        ("end",),
        "gesture('live')",
        "live edge",
        "Move the window to the live edge and stay there",
        "Charts: the focused one, or all",
        "charts",
        palette=True,
    ),
    Key(
        "chart.cursor_left",
        ("shift+left",),
        "move_cursor(-1)",
        "cursor left",
        "Show the values at a step: a click sets the cursor, esc drops it",
        "Charts: the focused one, or all",
        "charts",
        palette=True,
    ),
    Key(
        "chart.cursor_right",
        ("shift+right",),
        "move_cursor(1)",
        "cursor right",
        "Move the cursor to the right",
        "Charts: the focused one, or all",
        "charts",
        palette=True,
    ),
    Key(
        "chart.smooth",
        ("s",),
        "gesture('smooth')",
        "smoothing",
        "Smooth the lines more, after the last level not at all; the raw band stays",
        "Charts: the focused one, or all",
        "charts",
        palette=True,
    ),
    Key(
        "chart.log",
        ("y",),
        "toggle_log",
        "log axis",
        "Change between a linear and a logarithmic y axis",
        "Charts: the focused one, or all",
        "charts",
        palette=True,
    ),
    Key(
        "chart.axis",
        ("x",),
        "next_axis",
        "x axis",
        "Go from steps to tokens to time",
        "Charts: the focused one, or all",
        "charts",
        palette=True,
    ),
    Key(
        "metric.search",
        ("slash",),
        "search",
        "search",
        "Show only charts of metrics whose name has these words; esc shows all again",
        "Metrics",
        "dashboard",
        bar=11,
        palette=True,
    ),
    Key(
        "metric.pin",
        ("P",),
        "pin",
        "pin",
        "Pin the metric of the focused chart to the first page of metrics, or take it off",
        "Metrics",
        "dashboard",
        palette=True,
    ),
    Key(
        "metric.earlier",
        ("less_than_sign",),
        "move_pinned(-1)",
        "pinned first",
        "Move a pinned chart one place to the front",
        "Metrics",
        "dashboard",
    ),
    Key(
        "metric.later",
        ("greater_than_sign",),
        "move_pinned(1)",
        "pinned last",
        "Move a pinned chart one place to the back",
        "Metrics",
        "dashboard",
    ),
    Key(
        "metric.hide",
        ("H",),
        "hide",
        "hide",
        "Leave the metric of the focused chart out of its page; searching finds it still",
        "Metrics",
        "dashboard",
        palette=True,
    ),
    Key(
        "view.theme",
        ("t",),
        "app.toggle_theme",
        "theme",
        "Change between the dark and the light theme",
        "View",
        "app",
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
        "configure.next_tab",
        ("pagedown",),
        "next_tab",
        "next tab",
        "Show the next tab: every option of a run has its place on one",
        "Configure",
        "configure",
    ),
    Key(
        "configure.previous_tab",
        ("pageup",),
        "previous_tab",
        "previous tab",
        "Show the tab before",
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
        "configure.try",
        ("ctrl+t",),
        "try",
        "try",
        "Do a few steps aside, thrown away afterwards, to know how long the run will take",
        "Configure",
        "configure",
    ),
    Key(
        "configure.load",
        ("ctrl+o",),
        "load",
        "load",
        "Take the settings of a TOML file, of another run or of a stage of a recipe",
        "Configure",
        "configure",
    ),
    Key(
        "configure.save",
        ("ctrl+s",),
        "save",
        "save",
        "Write the settings to a new TOML file",
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
    Key(
        "runs.open",
        ("enter",),
        "open",
        "open",
        "Show this run in the dashboard; a double click does the same",
        "Runs",
        "runs",
        bar=2,
        palette=True,
    ),
    Key(
        "runs.mark",
        ("space",),
        "mark",
        "mark",
        "Mark this run, or take the mark away",
        "Runs",
        "runs",
        bar=4,
    ),
    Key(
        "runs.overlay",
        ("o",),
        "overlay",
        "overlay",
        "Draw the curves of the marked runs over each other",
        "Runs",
        "runs",
        bar=5,
        palette=True,
    ),
    Key("overlay.close", ("escape", "o"), "close", "back", "Go back", "", "overlay", bar=1),
    Key(
        "runs.differences",
        ("d",),
        "differences",
        "differences",
        "Show the settings in which the two marked runs differ",
        "Runs",
        "runs",
        bar=5,
        palette=True,
    ),
    Key(
        "runs.filter",
        ("slash",),
        "filter",
        "filter",
        "List only the runs with these words in name, state, stage, model or note",
        "Runs",
        "runs",
        bar=3,
        palette=True,
    ),
    Key(
        "runs.sort",
        ("s",),
        "sort",
        "sort",
        "Sort by the next column; a click on its head does the same",
        "Runs",
        "runs",
        bar=6,
        palette=True,
    ),
    Key(
        "runs.reverse",
        ("S",),
        "reverse",
        "reverse",
        "Turn the order round; so does a second click on the head",
        "Runs",
        "runs",
    ),
    Key(
        "runs.note",
        ("n",),
        "note",
        "note",
        "Keep a few words with this run",
        "Runs",
        "runs",
        bar=8,
        palette=True,
    ),
    Key(
        "runs.rename",
        ("r",),
        "rename",
        "rename",
        "Give a run that is not live another name",
        "Runs",
        "runs",
        bar=9,
        palette=True,
    ),
    Key(
        "runs.resume",
        ("R",),
        "resume",
        "resume",
        "Go on with a run that ended, or say by which command; asks",
        "Runs",
        "runs",
        bar=7,
        palette=True,
    ),
    Key(
        "runs.delete",
        ("x", "delete"),
        "delete",
        "delete",
        "Move a run that is not live to the trash beside the runs; asks",
        "Runs",
        "runs",
        bar=10,
        palette=True,
    ),
    Key(
        "checkpoints.pin",
        ("p",),
        "pin",
        "pin",
        "Keep this checkpoint for good, or no longer",
        "Checkpoints",
        "checkpoints",
        bar=3,
        palette=True,
    ),
    Key(
        "checkpoints.evaluate",
        ("e",),
        "evaluate",
        "evaluate",
        "Ask it the built-in questions in the background, or say by which command",
        "Checkpoints",
        "checkpoints",
        bar=4,
        palette=True,
    ),
    Key(
        "checkpoints.fork",
        ("f",),
        "fork",
        "fork",
        "Start a run from it: configure one, or copy the command line",
        "Checkpoints",
        "checkpoints",
        bar=5,
        palette=True,
    ),
    Key(
        "checkpoints.convert",
        ("c",),
        "convert",
        "convert",
        "Write it as a Hugging Face folder or a MiniMind file",
        "Checkpoints",
        "checkpoints",
        bar=6,
        palette=True,
    ),
    Key(
        "checkpoints.check",
        ("v",),
        "check",
        "check",
        "Read every file and compare it with its checksum",
        "Checkpoints",
        "checkpoints",
        bar=7,
        palette=True,
    ),
    Key(
        "checkpoints.delete",
        ("x", "delete"),
        "delete",
        "delete",
        "Erase it; asks, and leaves the only one of a live run",
        "Checkpoints",
        "checkpoints",
        bar=8,
        palette=True,
    ),
    Key(
        "log.find",
        ("slash",),
        "find",
        "find",
        "Search upwards from here, in the whole file; case does not matter",
        "Log",
        "log",
        bar=3,
        palette=True,
    ),
    Key(
        "log.next",
        ("n",),
        "find_up",
        "next",
        "Go to the next line found, upwards",
        "Log",
        "log",
        bar=4,
        palette=True,
    ),
    Key(
        "log.previous",
        ("N",),
        "find_down",
        "previous",
        "Go to the line found before, downwards",
        "Log",
        "log",
    ),
    Key(
        "log.narrow",
        ("f",),
        "narrow",
        "only",
        "Show only the lines with a text",
        "Log",
        "log",
        bar=5,
        palette=True,
    ),
    Key(
        "log.follow",
        ("F",),
        "follow",
        "follow",
        "Stay at the last line while more comes, or stand still",
        "Log",
        "log",
        bar=6,
        palette=True,
    ),
    Key("list.up", ("up", "k"), "move(-1)", "up", "Go a line up", "Lists", "list"),
    Key("list.down", ("down", "j"), "move(1)", "down", "Go a line down", "Lists", "list"),
    Key("list.page_up", ("pageup",), "page(-1)", "page up", "Go a page up", "Lists", "list"),
    Key("list.page_down", ("pagedown",), "page(1)", "page down", "Go a page down", "Lists", "list"),
    Key("list.first", ("home", "g"), "first", "first", "Go to the first line", "Lists", "list"),
    Key("list.last", ("end", "G"), "last", "last", "Go to the last line", "Lists", "list"),
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


TOGETHER: tuple[tuple[Where, ...], ...] = (
    ("app", "dashboard", "charts"),
    ("app", "overlay", "charts"),
    *(("app", "place", "list", where) for where in ("runs", "checkpoints", "log", "system")),
    ("configure",),
    ("dialog",),
)
"""Places whose keys work at the same time, so that none of them may mean two things."""


def bindings(*where: Where) -> list[BindingType]:
    """What belongs into the BINDINGS of the app or of a screen."""
    return [key.binding() for key in KEYS if key.where in where]


def bar_keys(*where: Where) -> list[Key]:
    """The keys of a screen's key bar: its own in the order of the table, then those of the app."""
    return [key for place in (*where, "app") for key in KEYS if key.bar and key.where == place]


def remap(keymap: Mapping[str, tuple[str, ...]]) -> None:
    """Give rows other keys, by id, for as long as the process lives; once, before an app is made.

    What Textual dispatches by is the app's `set_keymap`; this is what people are shown.
    """
    _remapped.clear()
    _remapped.update(keymap)


def keymap() -> dict[str, str]:
    """What was remapped, as Textual takes it."""
    return {name: ",".join(keys) for name, keys in _remapped.items()}


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

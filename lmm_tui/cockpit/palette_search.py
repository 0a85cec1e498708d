"""Search of the command palette among runs, checkpoints, metrics and settings.

`lr 1e-4` offers to set the learning rate of the live run, and says what it changes from; on the
configure screen a setting is a field of the form.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from textual.command import CommandPalette, Hits, Provider
from textual.widgets import Input

from lmm_tui.cockpit.command_search import found
from lmm_tui.cockpit.messages import CONFIGURE, OpenRun
from lmm_tui.cockpit.screens.live_settings import SETTINGS, current_settings, what_changes
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import figure, number
from lmm_tui.metrics import names
from lmm_tui.runs.run_list import ListedRun, RunList

if TYPE_CHECKING:
    from lmm_tui.cockpit.screens.configure import ConfigureScreen
    from lmm_tui.engine.run.reader import Reader

_COMMON, _RARE = 0.9, 0.6
"""Weights: a command of the same name comes first, a metric last."""
_CHECKPOINTS = 40


class Cockpit(Protocol):
    """What the app can be asked for and told."""

    @property
    def session(self) -> Reader | None: ...
    @property
    def runs_dir(self) -> Path: ...
    def post_message(self, message: OpenRun) -> bool: ...
    def show_metric(self, name: str) -> None: ...
    def action_go(self, name: str) -> None: ...
    def action_change_settings(self) -> None: ...
    def change_settings(self, changes: dict[str, float]) -> None: ...


class _CockpitSearch(Provider):
    @property
    def cockpit(self) -> Cockpit:
        return cast(Cockpit, self.app)


class RunSearch(_CockpitSearch):
    """Opens runs, and the checkpoints of the open one."""

    async def startup(self) -> None:
        # Not awaited: a letter typed meanwhile would cancel it, and with it all later searches.
        read = RunList(self.cockpit.runs_dir).read
        self._reading = asyncio.ensure_future(asyncio.to_thread(read))
        self._reading.add_done_callback(lambda _: self._search_again())

    def _search_again(self) -> None:
        """For the runs that a search before could not know yet."""
        if isinstance(palette := self.app.screen, CommandPalette):
            for field in filter(attrgetter("value"), palette.query(Input)):
                field.post_message(Input.Changed(field, field.value))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for run in self._reading.result() if self._reading.done() else ():
            open_it = partial(self.cockpit.post_message, OpenRun(run.summary.path))
            about = _about(run)
            if hit := found(matcher, run.name, tr("run"), open_it, about, _COMMON):
                yield hit
        for step in self._steps():
            name = tr("checkpoint of step {step}", step=f"{step:,}")
            show = partial(self.cockpit.action_go, "checkpoints")
            help_text = tr("Open the list of checkpoints")
            if hit := found(matcher, name, tr("checkpoint"), show, help_text, _COMMON):
                yield hit

    def _steps(self) -> list[int]:
        session = self.cockpit.session
        if session is None or session.foreign:
            return []
        folders = session.run_dir.checkpoints.glob("step-*")
        steps = [int(end) for path in folders if (end := path.name[5:]).isdecimal()]
        return sorted(steps, reverse=True)[:_CHECKPOINTS]


def _about(run: ListedRun) -> str:
    summary = run.summary
    parts = [tr(summary.state), summary.info.stage, run.note]
    if summary.status.loss is not None:
        parts.append(tr("loss {loss}", loss=number(summary.status.loss)))
    return " · ".join(filter(None, parts))


class MetricSearch(_CockpitSearch):
    """Shows the charts of one metric on the dashboard."""

    async def search(self, query: str) -> Hits:
        session = self.cockpit.session
        if session is None:
            return
        matcher = self.matcher(query)
        for name in session.series.names():
            series = session.series.get(name)
            last = series.last_value if series else None
            about = tr("last value {value}", value=figure(last)) if last is not None else ""
            show = partial(self.cockpit.show_metric, name)
            if hit := found(matcher, name, tr("metric"), show, about, _RARE):
                yield hit


class SettingSearch(_CockpitSearch):
    """Changes settings of the live run, or fills in the form."""

    async def search(self, query: str) -> Hits:
        name, _, value = query.strip().replace("=", " ").partition(" ")
        hits = self._of_form if self.screen.name == CONFIGURE else self._of_run
        matcher = self.matcher(name)
        for title, about, do in hits(name, value.strip()):
            if hit := found(matcher, title, tr("setting"), do, about, _COMMON):
                yield hit

    def _of_run(self, name: str, value: str) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        session, cockpit = self.cockpit.session, self.cockpit
        if session is None:
            return
        current = current_settings(session.run_dir)
        rates = session.series.get(names.LR)
        present = rates.last_value if rates else None
        for setting in SETTINGS:
            title = f"{setting.name}  {tr(setting.label)}"
            if not session.view.active:
                about = tr("Only a live run can be changed; this one has ended.")
                yield title, about, cockpit.action_change_settings
                continue
            if not value:
                shown = current.get(setting.name)
                about = tr(
                    "now {value}; type `{name} VALUE` to change it",
                    value="?" if shown is None else f"{shown:g}",
                    name=setting.name,
                )
                yield title, about, cockpit.action_change_settings
                continue
            try:
                wanted = setting.judge(value)
            except ValueError as error:
                yield title, f"{value}: {error}", cockpit.action_change_settings
                continue
            change = partial(cockpit.change_settings, {setting.name: wanted})
            yield title, what_changes(setting, wanted, current, present), change

    def _of_form(self, name: str, value: str) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        form = cast("ConfigureScreen", self.screen)
        for option in form.options():
            title = f"{option.key}  {tr(option.label)}"
            about = tr("set to {value}", value=value) if value else tr(option.help)
            yield title, about, partial(form.go_to_field, option.key, value)


if __name__ == "__main__":
    for each in SETTINGS:
        print(each.name, each.judge("20"))
    print("=== 自测通过 ===")

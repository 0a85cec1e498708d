"""Notifications of a run by what is written to its events: it ended, has an alert, met its target.

They are sent by ntfy, a webhook or the desktop of this machine, whether or not a cockpit is open.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from lmm_tui.engine.config.sections.notify_config import NotifyConfig, parse_target
from lmm_tui.engine.health.notifications import Channel, Notifier
from lmm_tui.engine.health.webhook import NotificationError, Webhook
from lmm_tui.message import Message, with_parts

_DESKTOP_S = 10.0


class RunNotifications:
    """Give `event` each event of the run, and `observe` each row."""

    def __init__(
        self, section: NotifyConfig, run: str, tell_failure: Callable[[str], None]
    ) -> None:
        self._section, self._run = section, run
        self._target = parse_target(section.target) if section.target else None
        self._notifier = Notifier(_channels(section), tell_failure)

    def event(self, record: Mapping[str, Any]) -> None:
        """Announce an event, if it is one of those that are wanted."""
        kind = record.get("kind")
        if kind == "alert" and record.get("level") == "info":
            return
        if kind in ("end", "alert", "target") and kind in self._section.on:
            text = f"{self._run}: {record['message']} (step {record['step']})"
            self._notifier.send(json.dumps({**with_parts(record), "run": self._run, "text": text}))

    def met(self, row: Mapping[str, float]) -> str | None:
        """What is said where a row meets the target for the first time."""
        if self._target is None:
            return None
        metric, sign, bound = self._target
        value = row.get(metric)
        if value is None or not math.isfinite(value):
            return None
        if (value < bound) if sign == "<" else (value > bound):
            self._target = None
            return Message(
                "{metric} is {value:.4g}: target {sign} {bound:g} reached",
                metric=metric,
                value=value,
                sign=sign,
                bound=bound,
            )
        return None

    def close(self) -> None:
        """Wait a few seconds for pending notifications."""
        self._notifier.close()


def _channels(section: NotifyConfig) -> list[Channel]:
    channels: list[Channel] = []
    if section.webhook:
        channels.append(("notify.webhook", Webhook(section.webhook).post))
    if section.ntfy:
        ntfy = Webhook(section.ntfy, content_type="text/plain; charset=utf-8")
        channels.append(("notify.ntfy", lambda text: ntfy.post(_plain(text).encode())))
    if section.desktop:
        channels.append(("notify.desktop", lambda text: _show_on_desktop(_plain(text))))
    return channels


def _plain(record: bytes) -> str:
    return str(json.loads(record)["text"])


def _show_on_desktop(text: str) -> None:
    program = shutil.which("notify-send")
    if program is None:
        raise NotificationError("notify-send is not installed; use notify.ntfy or notify.webhook")
    try:
        subprocess.run(
            [program, "lmm-tui", "--", text], timeout=_DESKTOP_S, check=True, capture_output=True
        )
    except subprocess.SubprocessError:
        raise NotificationError("notify-send failed; is there a desktop here?") from None


if __name__ == "__main__":
    demo = RunNotifications(NotifyConfig(target="val/loss < 3.2", on=["end"]), "story", print)
    print(demo.met({"val/loss": 3.5}), demo.met({"val/loss": 3.1}), demo.met({"val/loss": 3.0}))
    demo.event({"kind": "end", "message": "finished", "step": 200})
    demo.close()
    print("=== 自测通过 ===")

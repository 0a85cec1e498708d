"""`[notify]`: how to announce that a run has ended, has an alert or met its target."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from lmm_tui.engine.config.sections.section import Section
from lmm_tui.message import Message

_TARGET = re.compile(r"\s*(?P<metric>[^<>\s]+)\s*(?P<sign>[<>])\s*(?P<bound>\S+)\s*")


class NotifyConfig(Section):
    on: list[Literal["end", "alert", "target"]] = Field(
        ["end", "alert", "target"], description="What is announced: end, alert, target"
    )
    target: str | None = Field(
        None, min_length=1, description="Target to announce, such as 'val/loss < 3.2'"
    )
    terminal: bool = Field(
        True, description="Terminal bell and notification (OSC 9, OSC 777) from the cockpit"
    )
    desktop: bool = Field(False, description="Desktop notification of this machine (notify-send)")
    ntfy: str | None = Field(
        None, pattern=r"^https?://\S+$", description="ntfy topic URL: https://ntfy.sh/my-topic"
    )
    webhook: str | None = Field(
        None, pattern=r"^https?://\S+$", description="URL that receives a JSON POST"
    )

    @field_validator("ntfy", "webhook", "target", mode="before")
    @classmethod
    def _empty_is_unset(cls, given: object) -> object:
        """So that `--set notify.webhook=` switches off what a run came with."""
        return given or None

    @field_validator("target")
    @classmethod
    def _readable_target(cls, given: str | None) -> str | None:
        if given is not None:
            parse_target(given)
        return given


def parse_target(text: str) -> tuple[str, str, float]:
    """Metric, `<` or `>`, and bound of a target; raises ValueError where it is none."""
    found = _TARGET.fullmatch(text)
    try:
        bound = float(found["bound"]) if found else None
    except ValueError:
        bound = None
    if found is None or bound is None:
        raise ValueError(
            Message("{text!r} is not a target; write one like 'val/loss < 3.2'", text=text)
        )
    return found["metric"], found["sign"], bound


if __name__ == "__main__":
    print(NotifyConfig(target="val/loss < 3.2"), parse_target("val/loss<3.2"))
    try:
        parse_target("val/loss")
    except ValueError as error:
        print(error)
    print("=== 自测通过 ===")

"""Runs one chat template for the process that started it: requests and answers are JSON lines.

A template comes with a model, from anybody: it has no more memory than a conversation needs, no
files to write, and may be ended at any moment.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lmm_tui.child_process import limit_resources
from lmm_tui.data.chat.find_answers import Place, Write, find_answers
from lmm_tui.data.chat.template_jinja import ChatMessage, JinjaTemplate, MarkedText
from lmm_tui.data.errors import DataError
from lmm_tui.message import Message, with_parts

MOST_MEMORY = 1 << 30
MOST_TEXT = 1 << 24
"""Characters that a conversation may be written in."""
_FLUSH_S = 0.2
"""How long an answer may wait for the next ones."""


class Renderer:
    """One template; an answer is JSON, with `error` where the template fails."""

    def __init__(self, source: str, variables: Mapping[str, str], controls: str) -> None:
        """`controls` is a pattern that matches a control token."""
        self._template = JinjaTemplate(source, variables)
        self._controls = re.compile(controls)

    def answer(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """The text of `messages`: `as` a prompt with what opens the next answer, or as a talk with
        the places of what is learnt; `shown` are the numbers of answers that are not."""
        messages, tools = wanted["messages"], wanted["tools"]

        def write(some: Sequence[ChatMessage], add_generation_prompt: bool) -> MarkedText:
            try:
                written = self._template.write(some, tools, add_generation_prompt)
            except Exception as error:  # Whatever Python raises within a template.
                raise DataError(_why(error)) from None
            if len(written.text) > MOST_TEXT:
                raise DataError(
                    "it writes more than {most_text} million characters", most_text=MOST_TEXT >> 20
                )
            return written

        try:
            written = write(messages, wanted["as"] == "prompt")
            learnt: list[Place] = []
            if wanted["as"] == "talk":
                shown = frozenset(wanted["shown"])
                if not self._template.marks_answers:
                    learnt = self._found(messages, write, shown)
                else:
                    learnt = self._marked(written, messages, write, shown)
            return {"text": written.text, "learnt": learnt}
        except DataError as error:
            return with_parts({"error": str(error)})

    def _found(
        self, messages: Sequence[ChatMessage], write: Write, shown: frozenset[int]
    ) -> list[Place]:
        found = find_answers(messages, write, self._controls)
        return [place for number, place in found if number not in shown]

    def _marked(
        self,
        written: MarkedText,
        messages: Sequence[ChatMessage],
        write: Write,
        shown: frozenset[int],
    ) -> list[Place]:
        """What the template marks, without what lies in an answer that is only shown."""
        if not shown:
            return written.marked
        found = find_answers(messages, write, self._controls)
        hidden = [place for number, place in found if number in shown]
        return [
            (start, stop)
            for start, stop in written.marked
            if not any(start < end and stop > begin for begin, end in hidden)
        ]


def _why(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return Message(
            "it needs more than {most_memory} MB of memory", most_memory=MOST_MEMORY >> 20
        )
    if isinstance(error, RecursionError):
        return Message("it is nested too deeply")
    return str(error)[:300] or type(error).__name__


def main() -> None:
    """The first line that comes is the template, each further one a list of what is wanted."""
    # macOS does not hold the first; there the process that waits looks at the memory.
    limit_resources({resource.RLIMIT_AS: MOST_MEMORY, resource.RLIMIT_FSIZE: 0})
    _send([{}])  # Python runs; from here on the time is the template's.
    lines = iter(sys.stdin.buffer)
    try:
        renderer = Renderer(**json.loads(next(lines)))
    except Exception as error:
        _send([{"error": _why(error)}])
        return
    _send([{}])
    for line in lines:
        _send(map(renderer.answer, json.loads(line)))


def _send(answers: Sequence[Any] | Iterator[Any]) -> None:
    flushed = time.monotonic()
    for answer in answers:
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        if time.monotonic() - flushed > _FLUSH_S:
            sys.stdout.buffer.flush()
            flushed = time.monotonic()
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    shown = Renderer("{% for m in messages %}{{ m.content }}<e>{% endfor %}", {}, "<e>")
    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "you"}]
    print(answer := shown.answer({"messages": talk, "tools": None, "as": "talk", "shown": []}))
    assert answer == {"text": "hi<e>you<e>", "learnt": [(5, 11)]}
    print("=== 自测通过 ===")

"""Ollama's `Modelfile` for a GGUF file: the chat template in Go's language, and where to stop.

A template of Jinja cannot be translated as a whole; what it writes around the turns can be found
out by trying it. The result is compared with the template on conversations, and left out where it
differs. The format: https://docs.ollama.com/modelfile and /template.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lmm_tui.data.chat.chatml import ChatML
from lmm_tui.data.errors import DataError
from lmm_tui.data.turns import Turn

Write = Callable[[Sequence[Turn], bool], str]
"""(turns, whether an answer is opened behind them) -> the text that the model reads."""

FILE = "Modelfile"
_ROLES = ("system", "user", "assistant")
_PLAIN = "{{ .Prompt }}"
_MARK = "\u2402{}\u2402"


@dataclass(frozen=True)
class TurnForms:
    """What stands before and after the content of a turn of each role, and before an answer."""

    around: Mapping[str, tuple[str, str]]
    opening: str
    default_system: str | None = None
    """What the model is told where a conversation has no system turn."""

    def write(self, turns: Sequence[Turn]) -> str:
        """A conversation and the opening of an answer."""
        said = [(turn.role, turn.content) for turn in turns]
        if self.default_system is not None and turns[0].role != "system":
            said.insert(0, ("system", self.default_system))
        return "".join(content.join(self.around[role]) for role, content in said) + self.opening

    def go_template(self) -> str:
        """The same in Go's template language, over the messages that Ollama gives."""
        cases = "{{ else }}".join(
            f'{{{{ if eq .Role "{role}" }}}}{_go(before)}{{{{ .Content }}}}{_go(after)}'
            for role, (before, after) in self.around.items()
        )
        ends = "{{ end }}" * len(self.around)
        return f"{{{{ range .Messages }}}}{cases}{ends}{{{{ end }}}}{_go(self.opening)}"


def turn_forms(write: Write, begin: str = "") -> TurnForms | None:
    """Those of a template; None where it does more than writing one turn after another.

    What they write has no `begin` in front, the bos token of a model that puts one before a text.
    """
    wanted = []
    for turns in _conversations():
        with suppress(DataError, ValueError):  # Many allow no two turns of one role.
            wanted.append((turns, write(turns, True)))
    try:
        possible = [*_tried(write, begin)]
    except (DataError, ValueError):
        return None
    every = (
        forms
        for forms in possible
        if all(forms.write(turns) == text.removeprefix(begin) for turns, text in wanted)
    )
    return next(every, None) if len(wanted) > 1 else None


def modelfile(
    gguf: Path, forms: TurnForms | None, stops: Sequence[str], context: int, chats: bool
) -> str:
    """The text of a Modelfile beside `gguf`.

    Without `forms` Ollama takes the template that it knows for the one in the GGUF file. A model
    that does not chat continues its prompt.
    """
    lines = [f"FROM ./{gguf.name}", f"PARAMETER num_ctx {context}"]
    lines += [f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in stops]
    template = _PLAIN if not chats else forms.go_template() if forms else ""
    if template and '"""' not in template:
        lines.append(f'TEMPLATE """{template}"""')
    if forms and forms.default_system and '"""' not in forms.default_system:
        lines.append(f'SYSTEM """{forms.default_system}"""')
    return "\n".join(lines) + "\n"


def _tried(write: Write, begin: str) -> Iterator[TurnForms]:
    """By the text between marks, of a conversation of all roles: the likeliest first.

    What stands between two turns belongs to the first or to the second, which one conversation
    does not tell.
    """
    marks = {role: _MARK.format(role) for role in _ROLES}
    turns = [Turn(role, marks[role]) for role in _ROLES]
    again = _MARK.format("again")
    whole = write([*turns, Turn("user", again)], True).removeprefix(begin)
    if not all(whole.count(mark) == 1 for mark in (*marks.values(), again)):
        return
    before_system, rest = whole.split(marks["system"])
    after_system, rest = rest.split(marks["user"])
    after_user, rest = rest.split(marks["assistant"])
    after_answer, end = rest.split(again)
    first = write([Turn("user", again)], True).removeprefix(begin).partition(again)[0]
    shared = _common_end(_common_end(after_system, after_answer), first)
    closed = write([Turn("user", again)], False).partition(again)[2]
    if not (end.startswith(closed) and after_user.startswith(closed)):
        return
    for at in range(len(shared) + 1):
        before_user = shared[at:]
        system = (before_system, after_system.removesuffix(before_user))
        around = {
            "system": system,
            "user": (before_user, closed),
            "assistant": (after_user.removeprefix(closed), after_answer.removesuffix(before_user)),
        }
        told = first.removesuffix(before_user)
        default = told.removeprefix(system[0]).removesuffix(system[1]) if told else None
        yield TurnForms(around, end.removeprefix(closed), default)


def _conversations() -> list[list[Turn]]:
    user, answer = Turn("user", "1 + 1?"), Turn("assistant", "2.\nSure.")
    system = Turn("system", "Be brief.")
    return [
        [user],
        [system, user],
        [user, answer, Turn("user", "And {{ x }} 你好?")],
        [system, user, answer, user, answer, user],
        [user, user],
    ]


def _common_end(one: str, other: str) -> str:
    return _common_start(one[::-1], other[::-1])[::-1]


def _common_start(one: str, other: str) -> str:
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return one[:length]


def _go(text: str) -> str:
    """Text as it stands in a template: braces would open an action."""
    return text.replace("{{", '{{ "{{" }}')


if __name__ == "__main__":

    def chatml(turns: Sequence[Turn], opened: bool) -> str:
        spans = ChatML().prompt_spans(turns) if opened else ChatML().spans(turns)
        return "".join(span.text for span in spans)

    found = turn_forms(chatml)
    assert found is not None and found.around["user"] == ("<|im_start|>user\n", "<|im_end|>\n")
    print(modelfile(Path("m.gguf"), found, ["<|im_end|>"], 512, chats=True))
    print("=== 自测通过 ===")

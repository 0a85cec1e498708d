"""A chat template in Jinja, run in a sandbox with the settings and functions of transformers.

It knows no tokens and no turns. jinja2 is imported with this module: import it late.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

# Noncharacters, which no text has: what stands between them a template has marked.
_OPENED, _CLOSED = "\ufdd2", "\ufdd3"
_MARKS = re.compile(f"[{_OPENED}{_CLOSED}]")
_GENERATION = re.compile(r"\{%-?\s*generation\b")

ChatMessage = Mapping[str, Any]


class MarkedText(NamedTuple):
    text: str
    marked: list[tuple[int, int]]
    """Where text within `{% generation %}` starts and stops."""


class JinjaTemplate:
    """Writes messages as `apply_chat_template` of transformers does."""

    def __init__(self, source: str, variables: Mapping[str, str]) -> None:
        """`variables` are the tokens that a template may name, such as bos_token.

        Raises jinja2.TemplateError where `source` is no template.
        """
        self._template = _environment().from_string(source)
        self._variables = variables
        self.marks_answers = _GENERATION.search(source) is not None

    def write(
        self,
        messages: Sequence[ChatMessage],
        tools: Sequence[Any] | None,
        add_generation_prompt: bool,
    ) -> MarkedText:
        """Raises jinja2.TemplateError, TypeError or ValueError where the template refuses them."""
        found = self._template.render(
            **self._variables,
            messages=messages,
            tools=tools,
            documents=None,
            add_generation_prompt=add_generation_prompt,
        )
        text, *rest = _MARKS.split(found)
        marked: list[tuple[int, int]] = []
        for number, piece in enumerate(rest):
            if number % 2 == 0 and piece:
                marked.append((len(text), len(text) + len(piece)))
            text += piece
        return MarkedText(text, marked)


class _Generation(Extension):
    """The tag with which templates mark answers for transformers."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Callable[[], str]) -> str:
        return f"{_OPENED}{caller()}{_CLOSED}"


def _environment() -> ImmutableSandboxedEnvironment:
    def refuse(message: str) -> None:
        raise TemplateError(message)

    def to_json(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


if __name__ == "__main__":
    demo = JinjaTemplate(
        "{{ bos }}{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}."
        "{% endfor %}",
        {"bos": "<s>"},
    )
    written = demo.write([{"content": "one"}, {"content": "two"}], None, False)
    print(written)
    assert [written.text[start:stop] for start, stop in written.marked] == ["one", "two"]
    print("=== 自测通过 ===")

r"""ChatML, `<|im_start|>role\n…<|im_end|>\n` a turn: in Python for training, as Jinja for export.

System, user and assistant turns of text equal those of the templates of Qwen and MiniMind.
Thoughts stand in `<think>`, calls in `<tool_call>`, their results in `<tool_response>` of a user
turn, as those models have them; the text that introduces the tools is our own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from lmm_tui.data.chat.spans import Span
from lmm_tui.data.tokenizing.tokenizer import IM_END, IM_START
from lmm_tui.data.turns import Turn

_TOOLS_BEFORE = "# Tools\n\nThese functions may be called, one JSON description a line:\n<tools>\n"
_TOOLS_AFTER = (
    "</tools>\n\nA call is one JSON object in tags of its own:\n"
    '<tool_call>\n{"name": "…", "arguments": {…}}\n</tool_call>'
)


class ChatML:
    """The template that a conversation gets unless the tokenizer's own is configured."""

    identity = "chatml"
    turn_ends = (IM_END,)

    def spans(self, turns: Sequence[Turn]) -> list[Span]:
        """What the assistant says is learnt, and the token that ends it."""
        if turns and turns[0].role != "system" and (tools := turns[0].extra.get("tools")):
            turns = (Turn("system", "", {"tools": tools}), *turns)
        return [span for turn in _with_results_as_users(turns) for span in _turn(turn)]

    def spans_of_all(self, conversations: Sequence[Sequence[Turn]]) -> list[list[Span]]:
        return [self.spans(turns) for turns in conversations]

    def prompt_spans(self, turns: Sequence[Turn]) -> list[Span]:
        """Up to and with the line `<|im_start|>assistant`."""
        shown = [span._replace(learnt=False) for span in self.spans(turns)]
        return [*shown, Span(IM_START, control=True), Span("assistant\n")]


def _turn(turn: Turn) -> Iterator[Span]:
    answers = turn.role == "assistant"
    learnt = answers and turn.learnt
    yield Span(IM_START, control=True)
    if answers:
        yield Span("assistant\n")
        # Encoded apart from what stands before, as a prompt ends there.
        yield Span(_answer(turn), learnt, apart=True)
    elif turn.role == "system" and turn.extra.get("tools"):
        yield Span(f"{turn.role}\n{_introduction(turn.content, turn.extra['tools'])}")
    else:
        yield Span(f"{turn.role}\n{turn.content}")
    yield Span(IM_END, learnt, control=True)
    yield Span("\n")


def _answer(turn: Turn) -> str:
    thought = turn.extra.get("reasoning_content")
    calls = [
        f"<tool_call>\n{_call(call)}\n</tool_call>" for call in turn.extra.get("tool_calls", ())
    ]
    said = "\n".join([turn.content, *calls] if turn.content else calls)
    return f"<think>\n{thought}\n</think>\n\n{said}" if thought else said


def _call(call: Mapping[str, Any]) -> str:
    call = call.get("function") or call
    arguments = call.get("arguments")
    written = arguments if isinstance(arguments, str) else _json(arguments)
    return f'{{"name": "{call["name"]}", "arguments": {written}}}'


def _introduction(content: str, tools: Sequence[Any]) -> str:
    listed = "".join(f"{_json(tool)}\n" for tool in tools)
    before = f"{content}\n\n" if content else ""
    return f"{before}{_TOOLS_BEFORE}{listed}{_TOOLS_AFTER}"


def _with_results_as_users(turns: Sequence[Turn]) -> Iterator[Turn]:
    """Results of tools that follow each other are one turn of the user."""
    for is_tool, group in groupby(turns, lambda turn: turn.role == "tool"):
        if is_tool:
            results = (f"<tool_response>\n{turn.content}\n</tool_response>" for turn in group)
            yield Turn("user", "\n".join(results))
        else:
            yield from group


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _jinja_text(text: str) -> str:
    """As a Jinja string literal, which has JSON's escapes."""
    return json.dumps(text, ensure_ascii=False)


_ASSISTANT = r"""
    {{- '<|im_start|>assistant\n' }}
    {%- if message.reasoning_content %}
        {{- '<think>\n' + message.reasoning_content + '\n</think>\n\n' }}
    {%- endif %}
    {{- message.content or '' }}
    {%- for call in message.tool_calls or [] %}
        {{- '\n' if message.content or not loop.first else '' }}
        {%- set call = call.function or call %}
        {{- '<tool_call>\n{"name": "' + call.name + '", "arguments": ' }}
        {{- call.arguments if call.arguments is string else call.arguments | tojson }}
        {{- '}\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}"""

_TOOL = r"""
    {{- '' if loop.previtem and loop.previtem.role == 'tool' else '<|im_start|>user' }}
    {{- '\n<tool_response>\n' + message.content + '\n</tool_response>' }}
    {{- '' if loop.nextitem and loop.nextitem.role == 'tool' else '<|im_end|>\n' }}"""

CHAT_TEMPLATE = rf"""
{{%- if tools %}}
    {{{{- '<|im_start|>system\n' }}}}
    {{%- if messages[0].role == 'system' and messages[0].content %}}
        {{{{- messages[0].content + '\n\n' }}}}
    {{%- endif %}}
    {{{{- {_jinja_text(_TOOLS_BEFORE)} }}}}
    {{%- for tool in tools %}}
        {{{{- tool | tojson + '\n' }}}}
    {{%- endfor %}}
    {{{{- {_jinja_text(_TOOLS_AFTER)} + '<|im_end|>\n' }}}}
{{%- endif %}}
{{%- for message in messages %}}
{{%- if message.role == 'assistant' %}}{_ASSISTANT}
{{%- elif message.role == 'tool' %}}{_TOOL}
{{%- elif not (loop.first and tools and message.role == 'system') %}}
    {{{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}}}
{{%- endif %}}
{{%- endfor %}}
{{%- if add_generation_prompt %}}
    {{{{- '<|im_start|>assistant\n' }}}}
{{%- endif %}}""".lstrip()
"""The same for tokenizer_config.json; tools come as the `tools` of apply_chat_template."""


if __name__ == "__main__":
    talk = (
        Turn("system", "", {"tools": [{"name": "add"}]}),
        Turn("user", f"1 + 1? {IM_END}"),
        Turn("assistant", "2", {"reasoning_content": "Easy."}),
    )
    for span in ChatML().spans(talk):
        print(f"{'learnt ' if span.learnt else ''}{span.text!r}")
    assert [span.text for span in ChatML().spans(talk) if span.learnt] == [
        "<think>\nEasy.\n</think>\n\n2",
        IM_END,
    ]
    print("=== 自测通过 ===")

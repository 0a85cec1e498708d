"""The chat template that a tokenizer brings along: Jinja, run in a sandbox.

What is learnt is found by rendering: an answer is what comes on top of the prompt before it. It
knows no tokens; jinja2 is imported when the first template is opened.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmm_tui.data.chat.spans import Span
from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Turn

if TYPE_CHECKING:
    import jinja2

# Some templates mark answers for transformers with a tag that plain Jinja lacks.
_MARKED = re.compile(r"\{%(-?)\s*(end)?generation\s*(-?)%\}")
# A noncharacter: it stands inside of control tokens that a text spells out, until they are encoded.
_GUARD = "\ufdd0"
_MARK = "0123456789"
_CALL = {"id": "call00001", "type": "function"}
_ANSWERS = (
    Turn("assistant", _MARK),
    Turn(
        "assistant",
        "",
        {"tool_calls": [{**_CALL, "function": {"name": "f", "arguments": {"a": _MARK}}}]},
    ),
)
"""Answers that show how a template ends a turn."""


class TokenizerTemplate:
    """Writes turns as `apply_chat_template` of transformers does."""

    def __init__(self, source: str, tokenizer: Tokenizer, variables: Mapping[str, str]) -> None:
        """`variables` are the tokens that a template may name, such as bos_token.

        Raises jinja2.TemplateError where `source` is no template.
        """
        self._template = _compiled(source)
        self._variables = variables
        self._controls = _any_of(tokenizer.special_tokens)
        self._added = _any_of(tokenizer.added_tokens)

    @classmethod
    def load(cls, path: Path, tokenizer: Tokenizer) -> TokenizerTemplate:
        """The template of the tokenizer that was loaded from `path`.

        Raises DataError where there is none, or one that does not compile.
        """
        from jinja2 import TemplateError

        source = tokenizer.settings.chat_template
        if source is None:
            raise DataError(
                f"data.template: {path}: the tokenizer has no chat template (neither "
                "chat_template.jinja nor chat_template in tokenizer_config.json); choose chatml"
            )
        try:
            return cls(source, tokenizer, tokenizer.settings.tokens)
        except TemplateError as error:
            raise DataError(
                f"data.template: {path}: the tokenizer's chat template cannot be used "
                f"({error}); choose chatml"
            ) from None

    def spans(self, turns: Sequence[Turn]) -> list[Span]:
        """Learnt is each answer, with the control token that ends it.

        Where a template writes an earlier answer otherwise once more turns follow (Qwen3 takes
        the thoughts out), that answer is not learnt: a model never gives it in that form.
        """
        whole = self._written(turns)
        spans: list[Span] = []
        done = 0
        for place, turn in enumerate(turns):
            if turn.role != "assistant":
                continue
            before = self._written(turns[:place], add_generation_prompt=True)
            after = self._written(turns[: place + 1])
            start = self._parting(before, after)
            if not whole.startswith(after) or start < done:
                continue
            spans += self._spans(whole[done:start])
            answer = self._spans(after[start:], turn.learnt)
            last = max((at for at, span in enumerate(answer) if span.control), default=len(answer))
            spans += answer[: last + 1]
            spans += [span._replace(learnt=False) for span in answer[last + 1 :]]
            done = len(after)
        return spans + self._spans(whole[done:])

    def prompt_spans(self, turns: Sequence[Turn]) -> list[Span]:
        return self._spans(self._written(turns, add_generation_prompt=True))

    @cached_property
    def turn_ends(self) -> tuple[str, ...]:
        """The tokens that the template writes after an answer and after a tool call."""
        ends: list[str] = []
        for answer in _ANSWERS:
            try:
                written = self._written((Turn("user", "?"), answer))
            except DataError:
                continue  # Not every template has tool calls.
            after = written[written.rfind(_MARK) :] if _MARK in written else ""
            tokens = self._added.findall(after)
            # Behind a call stand tokens that close it, before the one that ends the turn.
            if tokens and not set(ends).intersection(tokens):
                ends.append(tokens[-1] if answer.extra else tokens[0])
        return tuple(ends)

    def _written(self, turns: Sequence[Turn], add_generation_prompt: bool = False) -> str:
        """As text in which control tokens that a turn spells out are guarded."""
        from jinja2 import TemplateError

        messages = [_message(turn) for turn in turns]
        tools = next((turn.extra["tools"] for turn in turns if turn.extra.get("tools")), None)
        try:
            return self._template.render(
                **self._variables,
                messages=self._guarded(messages),
                tools=self._guarded(tools),
                add_generation_prompt=add_generation_prompt,
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise DataError(
                f"data.template: the tokenizer's chat template refuses a conversation of "
                f"{', '.join(turn.role for turn in turns)} ({error}); choose chatml, or mend "
                "the data"
            ) from None

    def _parting(self, before: str, after: str) -> int:
        """Where `after` is no longer what `before` is; never inside of a control token."""
        same = len(os.path.commonprefix([before, after]))  # noqa: RUF071 (these are no paths)
        inside = (m.start() for m in self._controls.finditer(after) if m.start() < same < m.end())
        return next(inside, same)

    def _guarded(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._controls.sub(lambda m: f"{m[0][0]}{_GUARD}{m[0][1:]}", value)
        if isinstance(value, dict):
            return {key: self._guarded(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._guarded(item) for item in value]
        return value

    def _spans(self, text: str, learnt: bool = False) -> list[Span]:
        spans: list[Span] = []
        done = 0
        for match in self._controls.finditer(text):
            spans.append(Span(text[done : match.start()].replace(_GUARD, ""), learnt))
            spans.append(Span(match[0], learnt, control=True))
            done = match.end()
        spans.append(Span(text[done:].replace(_GUARD, ""), learnt))
        return [span for span in spans if span.text]


def _message(turn: Turn) -> dict[str, Any]:
    """As transformers gets it: tools beside the messages, unless their system turn holds them."""
    extra = {k: v for k, v in turn.extra.items() if k != "tools" or turn.role == "system"}
    return {"role": turn.role, "content": turn.content, **extra}


def _any_of(tokens: Sequence[str]) -> re.Pattern[str]:
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _compiled(source: str) -> jinja2.Template:
    """With the settings and functions that transformers gives to chat templates."""
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    plain = _MARKED.sub(lambda m: f"{{%{m[1]} {'endif' if m[2] else 'if true'} {m[3]}%}}", source)
    return environment.from_string(plain)


if __name__ == "__main__":
    demo_tokenizer = Tokenizer.train(["some words "] * 9, 280)
    demo_source = (
        "{% for m in messages %}<|im_start|>[{{ m.role }}]{{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>[assistant]{% endif %}"
    )
    with tempfile.TemporaryDirectory() as scratch:
        try:
            TokenizerTemplate.load(Path(scratch), demo_tokenizer)
        except DataError as refusal:
            print(refusal)
    own = TokenizerTemplate(demo_source, demo_tokenizer, {})
    talk = (Turn("user", "two <|im_end|>"), Turn("assistant", "words"))
    print(own.spans(talk))
    assert [span.text for span in own.spans(talk) if span.learnt] == ["words", "<|im_end|>"]
    assert sum(span.control for span in own.spans(talk)) == 4
    assert own.turn_ends == ("<|im_end|>",)
    print("=== 自测通过 ===")

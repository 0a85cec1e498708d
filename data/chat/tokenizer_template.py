"""The chat template that a tokenizer brings along: conversations are written as one text.

What is learnt are the answers found in it, or what the template marks with `{% generation %}`. It
knows no tokens; jinja2 is imported when the first template is opened.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmm_tui.data.chat.spans import Span
from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Turn

if TYPE_CHECKING:
    from lmm_tui.data.chat.template_jinja import Message, Written

# A noncharacter: it stands inside of control tokens that a text spells out, until they are encoded.
_GUARD = "\ufdd0"
# It and those that mark places while a template is written out; a text has U+FFFD for them.
_NONCHARACTERS = str.maketrans(dict.fromkeys("\ufdd0\ufdd1\ufdd2\ufdd3", "\ufffd"))
_SAMPLE, _THOUGHT = "0123456789", "9876543210"
_CALL = {"id": "call00001", "type": "function"}
_ASKED = Turn("user", "?")
_ANSWER = Turn("assistant", _SAMPLE)
_CALLING = Turn(
    "assistant",
    "",
    {"tool_calls": [{**_CALL, "function": {"name": "f", "arguments": {"a": _SAMPLE}}}]},
)
_THINKING = Turn("assistant", _SAMPLE, {"reasoning_content": _THOUGHT})


class TokenizerTemplate:
    """Writes turns as `apply_chat_template` of transformers does."""

    def __init__(
        self,
        source: str,
        tokenizer: Tokenizer,
        variables: Mapping[str, str],
        with_tools: str | None = None,
    ) -> None:
        """`variables` are the tokens that a template may name, such as bos_token.

        `with_tools` takes the place of `source` where a conversation has tools. Raises
        jinja2.TemplateError where one is no template.
        """
        from lmm_tui.data.chat.template_jinja import JinjaTemplate

        self._plain = JinjaTemplate(source, variables)
        self._with_tools = JinjaTemplate(with_tools, variables) if with_tools else self._plain
        self._controls = _any_of(tokenizer.special_tokens)
        self._added = _any_of(tokenizer.added_tokens)

    @classmethod
    def load(cls, path: Path, tokenizer: Tokenizer) -> TokenizerTemplate:
        """The template of the tokenizer that was loaded from `path`.

        Raises DataError where there is none, or one that does not compile.
        """
        from jinja2 import TemplateError

        settings = tokenizer.settings
        source = settings.chat_template
        if source is None:
            raise DataError(
                f"data.template: {path}: the tokenizer has no chat template (neither "
                "chat_template.jinja nor chat_template in tokenizer_config.json); choose chatml"
            )
        try:
            return cls(source, tokenizer, settings.tokens, settings.named_templates.get("tool_use"))
        except TemplateError as error:
            raise DataError(
                f"data.template: {path}: the tokenizer's chat template cannot be used "
                f"({error}); choose chatml"
            ) from None

    def spans(self, turns: Sequence[Turn]) -> list[Span]:
        """Learnt is each answer with the control token that ends it, or what the template marks."""
        talk = _Talk(self, turns)
        spans: list[Span] = []
        done = 0
        text = talk.write(talk.messages).text
        for start, stop in talk.learnt():
            spans += self._spans(text[done:start]) + self._spans(text[start:stop], learnt=True)
            done = stop
        return spans + self._spans(text[done:])

    def prompt_spans(self, turns: Sequence[Turn]) -> list[Span]:
        talk = _Talk(self, turns)
        return self._spans(talk.write(talk.messages, add_generation_prompt=True).text)

    @cached_property
    def turn_ends(self) -> tuple[str, ...]:
        """The tokens that the template writes after an answer: the last, a tool call, an earlier.

        A token that stands within an answer, behind its thought, ends none.
        """
        last, after_call, earlier = (
            self._tokens(turns, _SAMPLE)
            for turns in ((_ASKED, _ANSWER), (_ASKED, _CALLING), (_ASKED, _ANSWER, _ASKED))
        )
        ends = last[:1]
        # Behind a call stand tokens that close it, before the one that ends the turn.
        if after_call and not set(ends).intersection(after_call):
            ends.append(after_call[-1])
        within = self._tokens((_ASKED, _THINKING), _THOUGHT)
        ends += [end for end in earlier[:1] if end not in (*ends, *within)]
        return tuple(ends)

    def _tokens(self, turns: Sequence[Turn], sample: str) -> list[str]:
        """The added tokens behind a text that an answer holds."""
        talk = _Talk(self, turns)
        try:
            written = talk.write(talk.messages).text
        except DataError:
            return []  # Not every template has tool calls.
        _, found, after = written.rpartition(sample)
        tokens: list[str] = self._added.findall(after) if found else []
        return tokens

    def guarded(self, value: Any) -> Any:
        """`value` with the control tokens guarded that its texts spell out."""
        if isinstance(value, str):
            text = value.translate(_NONCHARACTERS)
            return self._controls.sub(lambda m: f"{m[0][0]}{_GUARD}{m[0][1:]}", text)
        if isinstance(value, dict):
            return {key: self.guarded(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.guarded(item) for item in value]
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


class _Talk:
    """One conversation, as messages for the template."""

    def __init__(self, template: TokenizerTemplate, turns: Sequence[Turn]) -> None:
        tools = next((turn.extra["tools"] for turn in turns if turn.extra.get("tools")), None)
        self.messages = [template.guarded(_message(turn)) for turn in turns]
        self._turns, self._tools = turns, template.guarded(tools)
        self._controls = template._controls
        self._jinja = template._with_tools if tools else template._plain

    def write(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> Written:
        """As text in which control tokens that a turn spells out are guarded."""
        from jinja2 import TemplateError

        try:
            return self._jinja.write(messages, self._tools, add_generation_prompt)
        except (TemplateError, TypeError, ValueError) as error:
            raise DataError(
                f"data.template: the tokenizer's chat template refuses a conversation of "
                f"{', '.join(message['role'] for message in messages)} ({error}); choose chatml, "
                "or mend the data"
            ) from None

    def learnt(self) -> list[tuple[int, int]]:
        """Where in the whole text stands what is learnt."""
        from lmm_tui.data.chat.find_answers import find_answers

        marked = self.write(self.messages).marked if self._jinja.marks_answers else None
        if marked is not None and all(turn.learnt for turn in self._turns):
            return marked
        found = [*find_answers(self.messages, self.write, self._controls)]
        if marked is None:
            return [place for number, place in found if self._turns[number].learnt]
        shown = [place for number, place in found if not self._turns[number].learnt]
        return [m for m in marked if not any(m[0] < end and m[1] > start for start, end in shown)]


def _message(turn: Turn) -> dict[str, Any]:
    """As transformers gets it: tools beside the messages, unless their system turn holds them."""
    extra = {k: v for k, v in turn.extra.items() if k != "tools" or turn.role == "system"}
    if thought := extra.get("reasoning_content"):
        extra.setdefault("thinking", thought)  # gpt-oss's name, which transformers fills, too.
    return {"role": turn.role, "content": turn.content, **extra}


def _any_of(tokens: Sequence[str]) -> re.Pattern[str]:
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


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

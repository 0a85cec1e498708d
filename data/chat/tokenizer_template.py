"""The chat template that a tokenizer brings along: conversations are written as one text.

What is learnt are the answers found in it, or what the template marks with `{% generation %}`. It
knows no tokens; a template runs in a process of its own.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lmm_tui.data.chat.spans import Span
from lmm_tui.data.chat.template_process import TemplateProcess, TemplateRefusal, WrittenTalk
from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Turn

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
        TemplateRefusal where one is no template.
        """
        written = repr((source, sorted(variables.items()), with_tools))
        self.identity = hashlib.blake2b(written.encode(), digest_size=16).hexdigest()
        self._controls = _any_of(tokenizer.special_tokens)
        pattern = self._controls.pattern
        self._plain = TemplateProcess(source, variables, pattern)
        self._with_tools = (
            TemplateProcess(with_tools, variables, pattern) if with_tools else self._plain
        )
        self._added = _any_of(tokenizer.added_tokens)

    @classmethod
    def load(cls, path: Path, tokenizer: Tokenizer) -> TokenizerTemplate:
        """The template of the tokenizer that was loaded from `path`.

        Raises DataError where there is none, or one that does not compile.
        """
        settings = tokenizer.settings
        source = settings.chat_template
        if source is None:
            raise DataError(
                "data.template: {path}: the tokenizer has no chat template "
                "(neither chat_template.jinja nor chat_template in "
                "tokenizer_config.json); choose chatml",
                path=path,
            )
        try:
            return cls(source, tokenizer, settings.tokens, settings.named_templates.get("tool_use"))
        except TemplateRefusal as error:
            raise DataError(
                "data.template: {path}: the tokenizer's chat template cannot be "
                "used ({error}); choose chatml",
                path=path,
                error=error,
            ) from None

    def spans(self, turns: Sequence[Turn]) -> list[Span]:
        """Learnt is each answer with the control token that ends it, or what the template marks."""
        return self.spans_of_all([turns])[0]

    def spans_of_all(self, conversations: Sequence[Sequence[Turn]]) -> list[list[Span]]:
        """`spans` of each, written in one go."""
        talks = [_Talk(self, turns) for turns in conversations]
        written = [WrittenTalk("", [])] * len(talks)
        for process in {self._plain, self._with_tools}:
            places = [at for at, talk in enumerate(talks) if talk.process is process]
            for at, found in zip(
                places, _Talk.write_all([talks[at] for at in places]), strict=True
            ):
                written[at] = found
        return [self._learnt_spans(found) for found in written]

    def _learnt_spans(self, written: WrittenTalk) -> list[Span]:
        text, done = written.text, 0
        spans: list[Span] = []
        for start, stop in written.learnt:
            spans += self._spans(text[done:start]) + self._spans(text[start:stop], learnt=True)
            done = stop
        return spans + self._spans(text[done:])

    def prompt_spans(self, turns: Sequence[Turn]) -> list[Span]:
        return self._spans(_Talk(self, turns).write_prompt())

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
            written = _Talk.write_all([talk])[0].text
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
    """One conversation, as messages in which control tokens are guarded that a turn spells out."""

    def __init__(self, template: TokenizerTemplate, turns: Sequence[Turn]) -> None:
        tools = next((turn.extra["tools"] for turn in turns if turn.extra.get("tools")), None)
        self.messages = [template.guarded(_message(turn)) for turn in turns]
        self.tools = template.guarded(tools)
        self.shown = [number for number, turn in enumerate(turns) if not turn.learnt]
        self.process = template._with_tools if tools else template._plain

    @staticmethod
    def write_all(talks: Sequence[_Talk]) -> list[WrittenTalk]:
        """Of the same process."""
        if not talks:
            return []
        try:
            found = talks[0].process.write_all(
                [(talk.messages, talk.tools, talk.shown) for talk in talks]
            )
        except TemplateRefusal as error:
            raise talks[0].refused(error) from None
        written: list[WrittenTalk] = []
        for talk, one in zip(talks, found, strict=True):
            if isinstance(one, TemplateRefusal):
                raise talk.refused(one)
            written.append(one)
        return written

    def write_prompt(self) -> str:
        try:
            return self.process.write_prompt(self.messages, self.tools)
        except TemplateRefusal as error:
            raise self.refused(error) from None

    def refused(self, error: TemplateRefusal) -> DataError:
        return DataError(
            "data.template: the tokenizer's chat template refuses a conversation "
            "of {role} ({error}); choose chatml, or mend the data",
            role=[message["role"] for message in self.messages],
            error=error,
        )


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

"""Where the answers of a conversation stand in the whole that a chat template has written.

An answer is what comes on top of the prompt before it, up to the token that ends the turn. Where a
template writes it otherwise once more turns follow (Qwen3 takes the thoughts out), it is found by
writing the conversation again with another answer in its place. It knows no tokenizer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence

from lmm_tui.data.chat.template_jinja import ChatMessage, JinjaTemplate, MarkedText
from lmm_tui.data.errors import DataError

MARK = "\ufdd1"
"""A noncharacter: the answer that is put in another's place. No message may hold it."""

Place = tuple[int, int]
"""Start and stop in the text."""
Write = Callable[[Sequence[ChatMessage], bool], MarkedText]
"""Messages, and whether the opening of an answer is added; raises DataError."""


def find_answers(
    messages: Sequence[ChatMessage], write: Write, controls: re.Pattern[str]
) -> Iterator[tuple[int, Place]]:
    """The number of each message by the assistant that is found, and its place in the whole.

    `controls` matches a control token.
    """
    whole = write(messages, False).text
    done = 0
    for number, message in enumerate(messages):
        if message["role"] == "assistant":
            search = _Search(messages, number, write, controls)
            if found := search.appended(whole, done) or search.exchanged(whole, done):
                done = found[1]
                yield number, found


class _Search:
    """For the answer that is message `number`."""

    def __init__(
        self, messages: Sequence[ChatMessage], number: int, write: Write, controls: re.Pattern[str]
    ) -> None:
        self._messages, self._number = messages, number
        self._write, self._controls = write, controls
        self._prompt = self._text(messages[:number], True)

    def appended(self, whole: str, done: int) -> Place | None:
        """The place in a text that begins with the conversation up to this answer."""
        after = self._text(self._messages[: self._number + 1])
        if not after or not whole.startswith(after):
            return None
        start = self._parting(self._prompt, after)
        if start < done:
            return None
        ended = self._last_control(after, start)
        # A token with text behind it opens the answer, in a template without a prompt for it.
        return start, len(after) if after[ended:].strip() else ended

    def exchanged(self, whole: str, done: int) -> Place | None:
        """The place that differs where another answer stands in place of this one."""
        other = {"role": "assistant", "content": MARK}
        before, after = self._messages[: self._number], self._messages[self._number + 1 :]
        swapped = self._text((*before, other, *after))
        if MARK not in swapped:
            return None
        start = self._parting(swapped, whole)
        stop = len(whole) - len(_common(whole[start:][::-1], swapped[start:][::-1]))
        if stop <= start or start < done:
            return None
        inside = self._inside(whole, stop)
        if inside is None:
            closing = self._text((*before, other)).rpartition(MARK)[2]
            ended = self._closed(whole, stop, closing)
        else:  # Another token ends this answer, such as one after calls of tools.
            ended = inside.end()
        return self._opened(whole, done, start), ended

    def _closed(self, whole: str, stop: int, closing: str) -> int:
        """Where the token ends that closes the answer; `closing` stands after a last answer."""
        same = _common(closing, whole[stop:])
        if self._controls.search(same):
            return stop + self._last_control(same, 0)
        token = self._controls.search(closing)
        if token is None:
            return stop
        before = closing[: token.start()]
        ending = self._controls.match(whole, stop + len(before))
        return ending.end() if ending and same.startswith(before) else stop

    def _opened(self, whole: str, done: int, start: int) -> int:
        """Where the opening of the answer ends that stands before `start`."""
        if done <= len(self._prompt) <= start and whole.startswith(self._prompt):
            return len(self._prompt)
        before = self._text(self._messages[: self._number])
        opening = self._prompt[len(_common(before, self._prompt)) :]
        for size in range(len(opening), 0, -1):
            at = whole.rfind(opening[:size], done, start)
            if at >= 0 and self._inside(whole, at + size) is None:
                return at + size
        return start

    def _text(self, messages: Sequence[ChatMessage], opened: bool = False) -> str:
        """Empty where the template refuses a part of what it takes as a whole."""
        try:
            return self._write(messages, opened).text
        except DataError:
            return ""

    def _parting(self, before: str, after: str) -> int:
        """Where `after` is no longer what `before` is; never inside of a control token."""
        same = len(_common(before, after))
        inside = self._inside(after, same)
        return same if inside is None else inside.start()

    def _inside(self, text: str, place: int) -> re.Match[str] | None:
        """The control token that reaches over a place."""
        found = self._controls.finditer(text)
        return next((match for match in found if match.start() < place < match.end()), None)

    def _last_control(self, text: str, start: int) -> int:
        """Where the last control token from `start` on ends; without one, the end of the text."""
        ends = [match.end() for match in self._controls.finditer(text, start)]
        return ends[-1] if ends else len(text)


def _common(one: str, other: str) -> str:
    """The start that both have."""
    return os.path.commonprefix([one, other])  # noqa: RUF071 (these are no paths)


if __name__ == "__main__":
    forgetful = JinjaTemplate(
        "{% for m in messages %}<{{ m.role }}>"
        "{% if loop.last and m.thought %}({{ m.thought }}){% endif %}{{ m.content }}<end>"
        "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
        {},
    )
    thinking = [{"role": "assistant", "content": text, "thought": "hm"} for text in ("one", "two")]

    def demo(messages: Sequence[ChatMessage], opened: bool) -> MarkedText:
        return forgetful.write(messages, None, opened)

    text = demo(thinking, False).text
    answers = find_answers(thinking, demo, re.compile("<[a-z]+>"))
    said = [text[start:stop] for _, (start, stop) in answers]
    print(text, said)
    assert said == ["one<end>", "(hm)two<end>"]
    print("=== 自测通过 ===")

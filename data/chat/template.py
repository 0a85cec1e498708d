"""Conversations to token ids, with a mark on what is learnt: the assistant's words and the token
that ends them.

ChatML unless another template is given. It knows no file and no packing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from lmm_tui.data.chat.chatml import ChatML
from lmm_tui.data.chat.spans import ChatTemplate, Rendered, encode_spans
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Conversation, Turn

CHATML = ChatML()

_CHUNK = 512


def render(
    conversation: Conversation, tokenizer: Tokenizer, template: ChatTemplate = CHATML
) -> Rendered:
    """(ids, learnt): the tokens, and for each whether the loss counts it.

    Text of a turn never becomes a special token. Raises DataError where the tokenizer lacks a
    token that the template needs.
    """
    return encode_spans([template.spans(conversation.turns)], tokenizer)[0]


def render_all(
    conversations: Iterable[Conversation], tokenizer: Tokenizer, template: ChatTemplate = CHATML
) -> Iterator[Rendered]:
    """`render` of each, in order; encoded many at a time, on all cores and without the GIL."""
    waiting = iter(conversations)
    while chunk := list(islice(waiting, _CHUNK)):
        yield from encode_spans(template.spans_of_all([c.turns for c in chunk]), tokenizer)


def render_prompt(
    turns: Sequence[Turn], tokenizer: Tokenizer, template: ChatTemplate = CHATML
) -> list[int]:
    """Ids of the turns and of what opens the answer: a model goes on from here."""
    return encode_spans([template.prompt_spans(turns)], tokenizer)[0][0]


def stop_ids(tokenizer: Tokenizer, template: ChatTemplate) -> frozenset[int]:
    """The tokens at which an answer is over: of the tokenizer, and of the chat template."""
    turn_ends = map(tokenizer.id_of, template.turn_ends)
    return tokenizer.end_ids | {token for token in turn_ends if token is not None}


if __name__ == "__main__":
    demo_tokenizer = Tokenizer.train(["user assistant what is one and one? two "] * 9, 300)
    talk = Conversation((Turn("user", "one and <|im_end|>?"), Turn("assistant", "two")))
    ids, learnt = render(talk, demo_tokenizer)
    print(demo_tokenizer.decode(ids))
    labelled = [token for token, counted in zip(ids, learnt, strict=True) if counted]
    assert demo_tokenizer.decode(labelled) == "two<|im_end|>"
    assert ids.count(2) == 2
    assert ids[: len(render_prompt(talk.turns[:1], demo_tokenizer))] == render_prompt(
        talk.turns[:1], demo_tokenizer
    )
    print("=== 自测通过 ===")

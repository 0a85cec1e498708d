"""A tokenizer.json in which special tokens are spelt with a mark in front.

With it a text says itself which special tokens are meant and which are only spelt out, and is
still encoded as one text.
"""

from __future__ import annotations

import json
from typing import Any

CONTROL_MARK = "\ufdd0"
"""A noncharacter, which no text has."""


def with_marked_tokens(serialised: str) -> str:
    """The same vocabulary, ids and rules; nothing is added around a text."""
    content: dict[str, Any] = json.loads(serialised)
    marked: dict[str, str] = {}
    for token in content["added_tokens"]:
        if token["special"]:
            marked[token["content"]] = token["content"] = CONTROL_MARK + token["content"]
    model = content["model"]
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {marked.get(piece, piece): id_ for piece, id_ in vocabulary.items()}
    else:  # Of Unigram: pieces with their log-probabilities.
        model["vocab"] = [[marked.get(piece, piece), score] for piece, score in vocabulary]
    if model.get("unk_token") in marked:
        model["unk_token"] = marked[model["unk_token"]]
    # It would be trimmed from the places of tokens, and is for added tokens.
    content["post_processor"] = None
    return json.dumps(content, ensure_ascii=False)


if __name__ == "__main__":
    import tokenizers

    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<s>": 0, "a": 1, "<": 2}, "<"))
    made.add_special_tokens(["<s>", "<e>"])
    again = tokenizers.Tokenizer.from_str(with_marked_tokens(made.to_str()))
    found = again.encode(f"a{CONTROL_MARK}<e>{CONTROL_MARK}<s>a")
    print(found.tokens, found.ids)
    assert found.ids == made.encode("a<e><s>a").ids
    print("=== 自测通过 ===")

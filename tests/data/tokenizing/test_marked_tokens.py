"""Special tokens are those with the mark in front, for every kind of vocabulary."""

from typing import Any

import pytest
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from lmm_tui.data.tokenizing.marked_tokens import CONTROL_MARK
from lmm_tui.data.tokenizing.tokenizer import Tokenizer

LETTERS = list("abcen <|>/\n")


def backend(kind: str, inside: bool) -> Any:
    """`inside`: whether the model's vocabulary has the special tokens, or they come on top."""
    pieces = ["<unk>", *(["</s>", "<|end|>"] if inside else []), *LETTERS]
    ids = {piece: id_ for id_, piece in enumerate(pieces)}
    if kind == "bpe":
        made = Backend(models.BPE(vocab=ids, merges=[], unk_token="<unk>"))
    elif kind == "unigram":
        made = Backend(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0))
    else:
        made = Backend(models.WordLevel(ids, unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.decoder = decoders.Fuse()
    rstripped = AddedToken("<|end|>", special=True, normalized=False, rstrip=True)
    made.add_special_tokens(["<unk>", "</s>", rstripped])
    return made


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordlevel"])
def test_marked_tokens_have_their_ids_and_spelt_ones_are_text(kind: str, inside: bool) -> None:
    theirs = backend(kind, inside)
    ours = Tokenizer(backend(kind, inside), "</s>")
    for text in ("ab<|end|>\n\nc</s>", "</s><|end|>  a", "<|end|>"):
        marked = text
        for token in ("<|end|>", "</s>"):
            marked = marked.replace(token, CONTROL_MARK + token)
        [found] = ours.encode_marked([marked])
        assert found.ids == theirs.encode(text, add_special_tokens=False).ids
        [spelt] = ours.encode_marked([text])
        special = {ours.id_of("<|end|>"), ours.id_of("</s>")}
        assert not special.intersection(spelt.ids)
    [places] = ours.encode_marked([f"a{CONTROL_MARK}<|end|>\nb"])
    assert places.offsets == [(0, 1), (1, 10), (10, 11)]

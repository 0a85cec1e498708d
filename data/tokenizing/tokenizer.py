"""Text to token ids and back: byte-level BPE from `tokenizers`, trained here or loaded.

The special tokens are MiniMind's. `encode` parses them in a text, as MiniMind's files need;
`encode_marked` only where they are marked as such.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import Encoding, Regex, decoders, models, pre_tokenizers, trainers

from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing import split_patterns
from lmm_tui.data.tokenizing.marked_tokens import with_marked_tokens
from lmm_tui.data.tokenizing.pattern_check import check_patterns, panics_refused
from lmm_tui.data.tokenizing.tokenizer_settings import CONFIG, TokenizerSettings
from lmm_tui.guarded_files import PRIVATE, read_bytes, replace_text

# With the variable set, tokenizers uses threads and does not warn about forks. A forked child has
# none of the threads, so it must not use them.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.register_at_fork(after_in_child=lambda: os.environ.update(TOKENIZERS_PARALLELISM="false"))

_LARGEST = 512 << 20
END_OF_TEXT, IM_START, IM_END = SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Ids 0, 1 and 2 of a tokenizer trained here: end of a document and padding; ChatML's turns."""

# Bytes of a token. Chinese has no spaces: without a limit, frequent clauses become single tokens,
# and the words in them are never trained.
_LONGEST = 15
_BYTE_FALLBACK = re.compile(r"<0x[0-9A-F]{2}>")
_ENDS = {"eos_token": END_OF_TEXT, "pad_token": END_OF_TEXT}
_MOST_TOKENS = 1 << 24
_OTHER_ENDS = ("</s>", "<eos>", "<|end_of_text|>", "<|eot_id|>", IM_END)


class Tokenizer:
    """A vocabulary and its merges. Thread-safe."""

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        end: str,
        settings: TokenizerSettings | None = None,
    ) -> None:
        """Takes ownership of `backend`; `end` is the token after a document.

        `settings` are those that its folder has beside the vocabulary.
        """
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._end = end
        eos_id = backend.token_to_id(end)
        assert eos_id is not None, f"{end} is not in the vocabulary"
        self.eos_id = eos_id
        self.vocab_size: int = max(backend.get_vocab().values()) + 1
        self.settings = self._completed(settings or TokenizerSettings())

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> Tokenizer:
        """Learn merges from `texts` up to `vocab_size` tokens; little text may give fewer.

        The same texts in the same order give the same tokenizer. `vocab_size` is at least 259.
        """
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(split_patterns.OURS), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            max_token_length=_LONGEST,
            show_progress=False,
        )
        backend.train_from_iterator(texts, trainer)
        return cls(backend, END_OF_TEXT, TokenizerSettings({"bos_token": END_OF_TEXT} | _ENDS))

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """From a tokenizer.json or a (Hugging Face) folder with one. Raises DataError."""
        file = _file(path)
        if not file.is_file():
            raise DataError(
                "data.tokenizer: {path}: holds no {name}; give a tokenizer.json or a folder "
                "with one"
                if path.is_dir()
                else "data.tokenizer: {path}: no such file; give a tokenizer.json or a folder "
                "with one",
                path=path,
                name=file.name,
            )
        try:
            with panics_refused():
                backend = tokenizers.Tokenizer.from_buffer(read_bytes(file, limit=_LARGEST))
        except Exception as error:  # tokenizers raises nothing more specific.
            raise DataError(
                "data.tokenizer: {file}: not a tokenizer ({error})", file=file, error=error
            ) from None
        if max(backend.get_vocab().values(), default=0) >= _MOST_TOKENS:
            raise DataError(
                "data.tokenizer: {file}: has ids of {most_tokens:,} and more, "
                "and a model needs a row for each id below; choose another "
                "tokenizer",
                file=file,
                most_tokens=_MOST_TOKENS,
            )
        check_patterns(backend, file)
        settings = TokenizerSettings.read(file.parent)
        if end := _end_token(backend, settings):
            return cls(backend, end, settings)
        raise DataError(
            "data.tokenizer: {file}: has no token that ends a document; add "
            "{end_of_text}, or an eos_token in tokenizer_config.json",
            file=file,
            end_of_text=END_OF_TEXT,
        )

    def save(self, path: Path, chat_template: str | None = None, mode: int = PRIVATE) -> None:
        """Write tokenizer.json and tokenizer_config.json into the folder `path`.

        `path` may also be the file itself, if it ends in .json. `load` and transformers'
        AutoTokenizer read them. `chat_template`, Jinja for `apply_chat_template`, takes the place
        of the tokenizer's own.
        """
        file = _file(path, new=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_text(file, self.serialised, mode=mode)
        settings = self.settings
        if chat_template not in (None, settings.chat_template):
            settings = replace(settings, chat_template=chat_template, named_templates={})
        settings.write(file.with_name(CONFIG), mode)

    def with_eos(self, token: str) -> Tokenizer:
        """The same vocabulary with another `eos_token`; documents still end as before."""
        settings = replace(self.settings, tokens={**self.settings.tokens, "eos_token": token})
        return Tokenizer(tokenizers.Tokenizer.from_str(self.serialised), self._end, settings)

    def within(self, rows: int) -> tuple[Tokenizer, tuple[str, ...]]:
        """The same without the added tokens whose ids are `rows` and more, and those tokens.

        Ids of the vocabulary itself stay, whatever they are. Raises DataError where no token is
        left that ends a document.
        """
        content = json.loads(self.serialised)
        beyond = [token for token in content["added_tokens"] if token["id"] >= rows]
        if not beyond:
            return self, ()
        content["added_tokens"] = [t for t in content["added_tokens"] if t["id"] < rows]
        backend = tokenizers.Tokenizer.from_str(json.dumps(content))
        left_out = tuple(token["content"] for token in beyond)
        end = _end_token(backend, self.settings) if self._end in left_out else self._end
        if end is None:
            raise DataError(
                "data.tokenizer: its token that ends a document, {end}, has no row in the model, "
                "which has {rows}; give the tokenizer that the model was trained with",
                end=self._end,
                rows=rows,
            )
        return Tokenizer(backend, end, self.settings), left_out

    def other_tokens(self, other: Tokenizer) -> list[tuple[str, str]]:
        """Of each id that both have for another token: that token here, and there."""
        theirs = {token: text for text, token in other._backend.get_vocab().items()}
        mine = sorted(self._backend.get_vocab().items(), key=lambda item: item[1])
        return [(text, theirs[i]) for text, i in mine if theirs.get(i, text) != text]

    @cached_property
    def fingerprint(self) -> str:
        """32 hex digits; tokenizers with the same one give the same ids for every document."""
        content = f"{self._end}\n{self.serialised}"
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, nothing added; a lone surrogate, which is not valid UTF-8, becomes `?`."""
        utf8 = text.encode("utf-8", "replace").decode()
        with panics_refused():
            return self._backend.encode(utf8, add_special_tokens=False).ids

    def encode_as_input(self, text: str) -> list[int]:
        """Ids of `text` with the tokens that transformers adds around an input, such as a BOS."""
        explicit = self.settings.options.keys() & {"add_bos_token", "add_eos_token"}
        if not explicit:
            utf8 = text.encode("utf-8", "replace").decode()
            with panics_refused():
                return self._backend.encode(utf8, add_special_tokens=True).ids
        return self._around("bos") + self.encode(text) + self._around("eos")

    def _around(self, name: str) -> list[int]:
        token = self.named_id(f"{name}_token")
        wanted = self.settings.options.get(f"add_{name}_token") and token is not None
        return [token] if wanted and token is not None else []

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, on all cores and without the GIL; `texts` have no lone surrogates."""
        with panics_refused():
            found = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def encode_marked(self, texts: Sequence[str]) -> list[Encoding]:
        """Ids of each text and the places of their characters; special tokens are those after
        CONTROL_MARK alone.

        So a user's text cannot end a turn or start one.
        """
        utf8 = [text.encode("utf-8", "replace").decode() for text in texts]
        with panics_refused():
            return self._marked.encode_batch(utf8, add_special_tokens=False)

    @cached_property
    def can_be_cut(self) -> bool:
        """Whether a piece of a text gets nothing in front, such as the mark of Metaspace."""
        return "".join(self.token_strings(self.encode("a"))) == "a"

    def id_of(self, token: str) -> int | None:
        """The id of a token given as text; None if it is not in the vocabulary."""
        found: int | None = self._backend.token_to_id(token)
        return found

    def named_id(self, name: str) -> int | None:
        """The id of `bos_token`, `eos_token`, `pad_token` or another token with a name."""
        token = self.settings.tokens.get(name)
        return None if token is None else self.id_of(token)

    @property
    def end_of_document(self) -> str:
        """The token with the id `eos_id`; `eos_token` of the settings may be another one."""
        return self._end

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """The ids that end a document or, as far as the vocabulary and its folder say, a turn.

        What a chat template ends turns with is in `data.chat.template.stop_ids`.
        """
        ends = (IM_END, self.settings.tokens["eos_token"], *self.settings.stop_tokens)
        found = map(self.id_of, ends)
        return frozenset({self.eos_id, *(token for token in found if token is not None)})

    @cached_property
    def added_tokens(self) -> tuple[str, ...]:
        """All tokens that are not learnt from text, the special ones among them."""
        added = self._backend.get_added_tokens_decoder().values()
        return tuple(token.content for token in added)

    @cached_property
    def special_tokens(self) -> tuple[str, ...]:
        """The tokens that `encode` parses in a text, and `encode_marked` only where marked."""
        added = self._backend.get_added_tokens_decoder().values()
        return tuple(token.content for token in added if token.special)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids` with special tokens as text; an incomplete character gives U+FFFD."""
        with panics_refused():
            return self._backend.decode([int(token) for token in ids], skip_special_tokens=False)

    def token_strings(self, ids: Iterable[int]) -> list[str]:
        """A readable string for each token; bytes of a split character are shown as `<E5>`.

        An id without a token (padding of a larger model) is shown as `<#id>`.
        """
        return [self._token_string(int(token)) for token in ids]

    def _completed(self, settings: TokenizerSettings) -> TokenizerSettings:
        """With an eos_token, and with stop ids as text where they stand for an added token."""
        tokens = dict(settings.tokens) or {"eos_token": self._end, "pad_token": self._end}
        tokens.setdefault("eos_token", self._end)
        added = self._backend.get_added_tokens_decoder()
        stops = [added[id_].content for id_ in settings.stop_ids if id_ in added]
        known = (*settings.stop_tokens, *stops)
        further = dict.fromkeys(stop for stop in known if stop != tokens["eos_token"])
        return replace(settings, tokens=tokens, stop_tokens=(*further,), stop_ids=())

    @cached_property
    def byte_lengths(self) -> NDArray[np.int64]:
        """The bytes of text that each id stands for, (V,); none for the end of a document."""
        lengths = np.zeros(self.vocab_size, np.int64)
        for piece, id_ in self._backend.get_vocab(with_added_tokens=True).items():
            lengths[id_] = self._bytes_of(piece)
        lengths[self.eos_id] = 0
        return lengths

    def _bytes_of(self, piece: str) -> int:
        if piece not in self._added_set:
            if self._byte_level:
                return len(piece)  # A character of the byte alphabet is a byte.
            if _BYTE_FALLBACK.fullmatch(piece):
                return 1
            piece = piece.replace("▁", " ")
        return len(piece.encode("utf-8", "replace"))

    @cached_property
    def _added_set(self) -> frozenset[str]:
        return frozenset(self.added_tokens)

    def _token_string(self, token: int) -> str:
        piece = self._backend.id_to_token(token)
        if piece is None:
            return f"<#{token}>"
        if not self._byte_level:
            return piece.replace("▁", " ")  # SentencePiece's mark of a space.
        try:
            raw = bytes(_BYTE_OF[char] for char in piece)
        except KeyError:
            return piece  # A special token is plain text, not in the byte alphabet.
        return raw.decode("utf-8", "lmm-tui-hex")

    @cached_property
    def _marked(self) -> tokenizers.Tokenizer:
        """A copy whose special tokens are spelt with the mark in front."""
        return tokenizers.Tokenizer.from_str(with_marked_tokens(self.serialised))

    @cached_property
    def serialised(self) -> str:
        """The vocabulary and how text is cut, as tokenizer.json has them."""
        return self._backend.to_str()

    @property
    def is_whole_byte_level(self) -> bool:
        """Whether text is cut into bytes, and each of them has a token."""
        cut = "ByteLevel" in repr(self._backend.pre_tokenizer)
        return cut and all(self._backend.token_to_id(char) is not None for char in _BYTE_OF)

    @cached_property
    def _byte_level(self) -> bool:
        return "ByteLevel" in repr(self._backend.decoder)


def _end_token(backend: tokenizers.Tokenizer, settings: TokenizerSettings) -> str | None:
    """The token after a document; None if it has none."""
    known = (END_OF_TEXT, settings.tokens.get("eos_token"), *_OTHER_ENDS)
    return next((end for end in known if end and backend.token_to_id(end) is not None), None)


def _file(path: Path, new: bool = False) -> Path:
    folder = path.suffix != ".json" if new else path.is_dir()
    return path / "tokenizer.json" if folder else path


def _byte_alphabet() -> dict[str, int]:
    """The byte for each character of byte-level BPE (the inverse of GPT-2's `bytes_to_unicode`).

    Printable Latin-1 maps to itself; the other bytes have code points from 256 on, in order.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + position): byte for position, byte in enumerate(hidden)
    }


def _as_hex(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    broken = error.object[error.start : error.end]
    return "".join(f"<{byte:02X}>" for byte in broken), error.end


_BYTE_OF = _byte_alphabet()
_handler: Callable[[UnicodeError], tuple[str, int]] = _as_hex
codecs.register_error("lmm-tui-hex", _handler)


if __name__ == "__main__":
    trained = Tokenizer.train(["the rabbit and the river 12 + 7 = 19 "] * 9, vocab_size=280)
    encoded = trained.encode("the river, 12 + 7; 兔")
    print(trained.vocab_size, encoded, trained.token_strings(encoded))
    assert trained.decode(encoded) == "the river, 12 + 7; 兔"
    print("=== 自测通过 ===")

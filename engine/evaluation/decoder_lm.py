"""Our decoder behind lm-eval's model interface, without transformers; the backend of `--run`.

Requests are truncated, sorted and answered as lm-eval's HFLM does, so that the same weights get
the same scores.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from torch import Tensor

from lmm_tui.data.chat.spans import ChatTemplate
from lmm_tui.data.chat.template import stop_ids
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Turn
from lmm_tui.engine.device import Precision, autocast
from lmm_tui.engine.evaluation.job import EvaluateError
from lmm_tui.engine.generation.rollout import rollout
from lmm_tui.engine.model.language_model import LanguageModel

Pair = tuple[list[int], list[int]]
"""Token ids of a context and of its continuation, neither of them empty."""


class DecoderLM(TemplateLM):
    """Batches are padded on the right, which does not affect a causal model."""

    max_gen_toks = 256

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        batch_size: int,
        precision: Precision = "fp32",
    ) -> None:
        super().__init__()
        self._precision = precision
        self.notes: tuple[str, ...] = ()
        """Sentences about how the weights were read."""
        self.truncated = 0
        """Requests that were truncated on the left to fit the context."""
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._template = template
        self._batch_size = batch_size
        self._prefix = tokenizer.decode([self.prefix_token_id])
        self._ends = stop_ids(tokenizer, template)
        self._special = {tokenizer.id_of(token) for token in tokenizer.special_tokens}

    @property
    def max_length(self) -> int:
        return self._model.shape.max_positions

    @property
    def eot_token_id(self) -> int:
        return self._tokenizer.eos_id

    @property
    def prefix_token_id(self) -> int:
        """What precedes a text without a context: the BOS if there is one."""
        bos = self._tokenizer.named_id("bos_token")
        return self.eot_token_id if bos is None else bos

    @property
    def tokenizer_name(self) -> str:
        return self._tokenizer.fingerprint

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """As HFLM: a BOS that the tokenizer adds, unless the text begins with it."""
        if add_special_tokens is None:
            add_special_tokens = not string.startswith(self._prefix)
        encode = self._tokenizer.encode_as_input if add_special_tokens else self._tokenizer.encode
        return encode(string)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The prompt as text; without `add_generation_prompt` it ends inside the last turn."""
        turns = [Turn(turn["role"], turn["content"]) for turn in chat_history]
        opened = turns if add_generation_prompt else turns[:-1]
        text = "".join(span.text for span in self._template.prompt_spans(opened))
        return text if add_generation_prompt else text + turns[-1].content

    @torch.no_grad()
    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        """Per request: the log-probability of its continuation, and whether decoding is greedy.

        Requests that differ only in their last token, such as the letters of a choice, share one
        row of the batch.
        """
        with autocast(self._model.head_weight.device, self._precision):
            return self._likelihoods(requests)

    def _likelihoods(
        self, requests: Sequence[tuple[Any, list[int], list[int]]]
    ) -> list[tuple[float, bool]]:
        rows: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, (text, context, continuation) in enumerate(requests):
            if not continuation:
                raise EvaluateError(
                    "the choice {text!r} merges with the token before it; its "
                    "task needs a target_delimiter",
                    text=text and text[1],
                )
            rows[(*context, *continuation[:-1])].append(index)
        answers: dict[int, tuple[float, bool]] = {}
        # Longest first, so that an out-of-memory error comes at once.
        by_length = sorted(rows.items(), key=lambda row: (-len(row[0]), row[0]))
        for start in range(0, len(by_length), self._batch_size):
            batch = by_length[start : start + self._batch_size]
            longest = [max(len(requests[index][2]) for index in indices) for _, indices in batch]
            logits = self._last_logits([self._cut(list(ids)) for ids, _ in batch], longest)
            for (_ids, indices), logits_CxV in zip(batch, logits, strict=True):
                for index in indices:
                    text, _context, continuation = requests[index]
                    answers[index] = _log_likelihood(logits_CxV[-len(continuation) :], continuation)
                    if text is not None:
                        self.cache_hook.add_partial("loglikelihood", text, answers[index])
        return [answers[index] for index in range(len(requests))]

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-probability of whole texts, in windows of the context length."""
        answers = []
        for request in requests:
            (text,) = request.args
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            pairs: list[Pair] = [make_disjoint_window(window) for window in windows]
            scored = self._loglikelihood_tokens([(None, *pair) for pair in pairs])
            answers.append(sum(log_p for log_p, _ in scored))
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), answers[-1])
        return answers

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The continuation of each context, up to a stop text or an end token."""
        groups: dict[str, list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            groups[json.dumps(request.args[1], sort_keys=True)].append(index)
        answers: dict[int, str] = {}
        for indices in groups.values():
            options = dict(normalize_gen_kwargs(requests[indices[0]].args[1], self.max_gen_toks))
            contexts = {index: self._context(requests[index].args[0], options) for index in indices}
            indices.sort(key=lambda index: -len(contexts[index]))
            for start in range(0, len(indices), self._batch_size):
                batch = indices[start : start + self._batch_size]
                texts = self._generate([contexts[index] for index in batch], options, seed=start)
                for index, text in zip(batch, texts, strict=True):
                    answers[index] = text
                    self.cache_hook.add_partial("generate_until", requests[index].args, text)
        return [answers[index] for index in range(len(requests))]

    def _context(self, text: str, options: dict[str, Any]) -> list[int]:
        """The ids of `text`, truncated on the left to leave room for the answer."""
        room = self.max_length - options["max_gen_toks"]
        ids = self.tok_encode(text)
        self.truncated += len(ids) > room
        return ids[-room:]

    def _generate(self, contexts: list[list[int]], options: dict[str, Any], seed: int) -> list[str]:
        stops = handle_stop_sequences(options["until"], eos=None)
        with autocast(self._model.head_weight.device, self._precision):
            written = rollout(
                self._model,
                contexts,
                samples=1,
                max_tokens=options["max_gen_toks"],
                temperature=options.get("temperature", 0.0) if options["do_sample"] else 0.0,
                top_p=options.get("top_p", 1.0),
                seed=seed,
                stop_ids=self._ends | self._tokens_with(tuple(stops)),
            )
        # Special tokens are removed before stop texts are looked for, as HFLM does.
        shown = ([token for token in ids if token not in self._special] for ids in written.ids)
        return [postprocess_generated_text(self._tokenizer.decode(i), stops, None) for i in shown]

    @cache  # noqa: B019 (as long-lived as the process)
    def _tokens_with(self, stops: tuple[str, ...]) -> frozenset[int]:
        """Tokens that contain a stop text: generation may end at them."""
        texts = enumerate(self._tokenizer.token_strings(range(self._tokenizer.vocab_size)))
        return frozenset(id_ for id_, text in texts if any(stop in text for stop in stops))

    def _cut(self, ids: list[int]) -> list[int]:
        """`ids` truncated on the left to the context length."""
        self.truncated += len(ids) > self.max_length
        return ids[-self.max_length :]

    def _last_logits(self, inputs: list[list[int]], wanted: list[int]) -> Iterator[Tensor]:
        """For each input the logits (C, V) of its last `wanted` positions only.

        The head is the largest matrix: it is applied to C of T positions, never to the padding.
        """
        if max(wanted) > self.max_length:
            raise EvaluateError(
                "a choice has {wanted} tokens, and the model's context "
                "{max_length}; leave that task out, or train with a larger "
                "context",
                wanted=max(wanted),
                max_length=self.max_length,
            )
        device = self._model.head_weight.device
        ids_BxT = torch.zeros(len(inputs), len(inputs[0]), dtype=torch.long)
        for row, ids in enumerate(inputs):
            ids_BxT[row, : len(ids)] = torch.tensor(ids)
        hidden_BxTxD = self._model.backbone(ids_BxT.to(device))
        for hidden_TxD, ids, count in zip(hidden_BxTxD, inputs, wanted, strict=True):
            yield self._model.head(hidden_TxD[len(ids) - count : len(ids)]).float()


def _log_likelihood(logits_CxV: Tensor, continuation: list[int]) -> tuple[float, bool]:
    """The sum over the C tokens of the continuation, and whether each is the argmax."""
    ids_C = torch.tensor(continuation, device=logits_CxV.device)
    log_p_C = logits_CxV.log_softmax(-1).gather(-1, ids_C.unsqueeze(-1))
    return float(log_p_C.sum()), bool((logits_CxV.argmax(-1) == ids_C).all())


if __name__ == "__main__":
    from lmm_tui.data.chat.template import CHATML
    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.model.decoder import Decoder

    words = Tokenizer.train(["the cat sat on the mat"] * 9, 280)
    tiny = Decoder(ModelShape(words.vocab_size, 32, 2, 4, 2, 8, 64, max_positions=48))
    tiny.init_weights(0)
    lm = DecoderLM(tiny, words, CHATML, batch_size=2)
    print(lm._loglikelihood_tokens([(("", ""), words.encode("the cat"), words.encode(" sat"))]))
    print("=== 自测通过 ===")

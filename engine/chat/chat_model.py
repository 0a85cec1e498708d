"""Chat with a model in memory, and the loss of each token of a text.

Both are stateless queries: nothing is trained or recorded, and each has all that it needs. A reply
comes in pieces, and each query passes the tokens generated so far; so a client may stop at any
moment, and training waits for one piece at most.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import ROLES, Turn
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.generation.generate import evaluating, generate
from lmm_tui.engine.generation.sampling_options import sampling
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.model.loss import token_nll
from lmm_tui.engine.run.command_arguments import require
from lmm_tui.engine.run.control_mailbox import CommandError
from lmm_tui.message import Message

LONGEST_READ = 1024
"""Tokens of a text that are read; longer texts are cut there."""

_PIECE = 8
"""Tokens of a piece of a reply, where `tokens` is not given."""
_MOST_AT_ONCE = 512
_LIKELIEST = 5


@dataclass(frozen=True)
class ChatModel:
    """A model, and how conversations and texts become its tokens."""

    model: LanguageModel
    tokenizer: Tokenizer
    turn_ids: Callable[[Sequence[Turn]], list[int]]
    """The tokens after which the model replies to these turns."""
    stop_ids: Collection[int]
    probe_sequence: Sequence[int] = ()
    """Tokens of validation data, read where no text is given."""
    longest: int | None = None
    """Tokens of a conversation with its reply, where the model has other things to do."""

    def talk(self, args: Mapping[str, Any], config: RunConfig) -> tuple[str, dict[str, Any]]:
        """Generate the next `tokens` tokens of the reply to `turns`, after those `so_far`.

        `turns` is a list of [role, text], `prompt` short for one user turn; `so_far` a list of
        token ids; `temperature` and `top_p` as for samples, `seed` an int. The data are all `ids`
        of the reply until now, their `text`, and whether the model `ended` the reply.
        Raises CommandError for other arguments, GenerateError as `generate`.
        """
        rest = dict(args)
        turns = _turns(rest)
        so_far = _ids(rest.pop("so_far", []), self.model.shape.vocab_size)
        tokens = _whole("tokens", rest.pop("tokens", _PIECE), 1, _MOST_AT_ONCE)
        seed = _whole("seed", rest.pop("seed", 0), 0, 2**31)
        options = {"max_tokens": tokens} | sampling(rest, config)
        chosen: dict[str, Any] = {
            "temperature": config.log.temperature,
            "top_p": config.log.top_p,
        }
        chosen |= options
        context = self.turn_ids(turns) + so_far
        check_length(len(context), self.longest)
        new = list(
            generate(
                self.model,
                context,
                seed=seed + len(so_far),
                stop_ids=self.stop_ids,
                **chosen,
            )
        )
        ids = so_far + new
        text = self.tokenizer.decode(ids)
        return text, {"ids": ids, "text": text, "ended": len(new) < chosen["max_tokens"]}

    @torch.no_grad()
    def read(self, args: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Compute the loss of each token of `text`, or of validation data.

        The data: `tokens` as strings; `losses`, -log p in nats, the first None; and `top`, for
        each token the five most likely ones in its place as [string, probability].
        """
        require(args, {"text": str})
        text = args.get("text")
        ids = list(self.probe_sequence) if text is None else self.tokenizer.encode(text)
        ids = ids[: min(LONGEST_READ, self.model.shape.max_positions)]
        if len(ids) < 2:
            raise CommandError("a text of two tokens or more is needed; give text=…")
        text_1xT = torch.tensor([ids], device=self.model.head_weight.device)
        with evaluating(self.model):
            hidden_1xTxD = self.model.read(text_1xT[:, :-1])
            projection = self.model.projection(hidden_1xTxD)
            likeliest = self.model.head(hidden_1xTxD[0]).float().softmax(-1).topk(_LIKELIEST)
        losses = token_nll(*projection, text_1xT[:, 1:], self.model.softcap)[0].tolist()
        strings = self.tokenizer.token_strings
        top = [
            [[string, round(p, 5)] for string, p in zip(strings(row), p_K, strict=True)]
            for row, p_K in zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
        ]
        data = {
            "tokens": strings(ids),
            "losses": [None, *(round(loss, 4) for loss in losses)],
            "top": [[], *top],
        }
        return Message(
            "loss {losses:.4f} over {losses2} tokens",
            losses=sum(losses) / len(losses),
            losses2=len(losses),
        ), data


def check_length(tokens: int, longest: int | None) -> None:
    """Raises CommandError for more tokens than training may wait for."""
    if longest is not None and tokens > longest:
        raise CommandError(
            "{tokens:,} tokens are too long while the model trains; give at most "
            "{longest:,}, or ask a checkpoint",
            tokens=tokens,
            longest=longest,
        )


def _turns(args: dict[str, Any]) -> list[Turn]:
    """Take `turns` or `prompt` out of `args`."""
    prompt = args.pop("prompt", None)
    found = args.pop("turns", None)
    if found is None and prompt is not None:
        found = [["user", prompt]]
    try:
        turns = [Turn(role, content) for role, content in found]
    except (TypeError, ValueError):
        turns = []
    valid = all(turn.role in ROLES and isinstance(turn.content, str) for turn in turns)
    if not turns or not valid:
        raise CommandError('turns: expected [["user", TEXT], …], or prompt=TEXT')
    return turns


def _ids(found: object, vocab_size: int) -> list[int]:
    if isinstance(found, list) and all(
        type(token) is int and 0 <= token < vocab_size for token in found
    ):
        return found
    raise CommandError(
        "so_far: expected a list of token ids below {vocab_size}", vocab_size=vocab_size
    )


def _whole(name: str, value: object, least: int, most: int) -> int:
    if type(value) is int and least <= value <= most:
        return value
    raise CommandError(
        "{name}: expected a whole number from {least} to {most} (got {value!r})",
        name=name,
        least=least,
        most=most,
        value=value,
    )


if __name__ == "__main__":
    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.model.decoder import Decoder

    english = Tokenizer.train(["the cat sat on the mat"] * 20, 270)
    tiny = Decoder(ModelShape(english.vocab_size, 16, 1, 2, 1, 8, 32))
    tiny.init_weights(0)
    demo = ChatModel(tiny, english, lambda turns: english.encode(turns[-1].content), ())
    print(demo.read({"text": "the cat sat"}))
    print("=== 自测通过 ===")

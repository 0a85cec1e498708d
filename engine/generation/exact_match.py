"""The share of built-in validation questions that a live model answers exactly, without lm-eval.

A quick number for validation and pipelines; `engine.evaluation` is the thorough way. Answers are
greedy: no random number is drawn, so training is unchanged.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lmm_tui.data.builtin.tasks import KINDS, test_set
from lmm_tui.data.chat.spans import ChatTemplate
from lmm_tui.data.chat.template import CHATML, render_prompt, stop_ids
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Turn
from lmm_tui.engine.generation.rollout import rollout
from lmm_tui.engine.model.language_model import LanguageModel

_LONGEST_ANSWER = 64


def exact_match(
    model: LanguageModel,
    tokenizer: Tokenizer,
    *,
    kinds: Sequence[str] = KINDS,
    questions: int = 100,
    template: ChatTemplate = CHATML,
) -> dict[str, float]:
    """Kind -> share (0 to 1) of its first validation questions that are answered exactly.

    The questions are those of the task `lmm_<kind>`, in the chat template.
    """
    shares = {}
    for kind in kinds:
        drawn = test_set(kind, questions)
        prompts = [render_prompt([Turn("user", d.question)], tokenizer, template) for d in drawn]
        given = answers(model, tokenizer, prompts, stop_ids(tokenizer, template))
        right = sum(text == task.answer for text, task in zip(given, drawn, strict=True))
        shares[kind] = right / len(drawn)
    return shares


def answers(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    stops: Collection[int],
    *,
    max_tokens: int = _LONGEST_ANSWER,
    batch_size: int = 64,
) -> list[str]:
    """The greedy answer to each prompt, up to one of `stops`, without surrounding space."""
    texts = []
    for start in range(0, len(prompts), batch_size):
        rollouts = rollout(
            model,
            prompts[start : start + batch_size],
            samples=1,
            max_tokens=max_tokens,
            temperature=0.0,
            top_p=1.0,
            seed=0,
            stop_ids=stops,
        )
        for ids, ended in zip(rollouts.ids, rollouts.ended, strict=True):
            texts.append(tokenizer.decode(ids[:-1] if ended else ids).strip())
    return texts


if __name__ == "__main__":
    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.model.decoder import Decoder

    words = Tokenizer.train([task.question for task in test_set("sums", 50)], 300)
    tiny = Decoder(ModelShape(words.vocab_size, 32, 2, 4, 2, 8, 64, max_positions=256))
    tiny.init_weights(0)
    print(exact_match(tiny, words, kinds=("sums", "talk"), questions=4))
    print("=== 自测通过 ===")

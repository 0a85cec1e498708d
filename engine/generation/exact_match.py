"""How many held-out questions a live model answers exactly: quick, and without lm-eval.

For a loop or a pipeline that wants one number now; `engine.evaluation` is the thorough way. Greedy,
so that no random number is drawn and training goes on as if nobody had asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmm_tui.data.builtin.tasks import KINDS, test_set
from lmm_tui.data.chat.spans import ChatTemplate
from lmm_tui.data.chat.template import CHATML, render_prompt
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Turn
from lmm_tui.engine.generation.rollout import rollout
from lmm_tui.engine.model.decoder import Decoder

_LONGEST_ANSWER = 64


def exact_match(
    model: Decoder,
    tokenizer: Tokenizer,
    *,
    kinds: Sequence[str] = KINDS,
    questions: int = 100,
    template: ChatTemplate = CHATML,
) -> dict[str, float]:
    """Kind -> share (0 to 1) of its first held-out questions whose answer is right to the letter.

    The questions of `lmm_<kind>`, asked in the chat template.
    """
    shares = {}
    for kind in kinds:
        drawn = test_set(kind, questions)
        prompts = [render_prompt([Turn("user", d.question)], tokenizer, template) for d in drawn]
        said = answers(model, tokenizer, prompts)
        right = sum(text == task.answer for text, task in zip(said, drawn, strict=True))
        shares[kind] = right / len(drawn)
    return shares


def answers(
    model: Decoder,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int = _LONGEST_ANSWER,
    batch_size: int = 64,
) -> list[str]:
    """The greedy answer to each prompt, up to a token that ends it, without the space around it."""
    said = []
    for start in range(0, len(prompts), batch_size):
        written = rollout(
            model,
            prompts[start : start + batch_size],
            samples=1,
            max_tokens=max_tokens,
            temperature=0.0,
            top_p=1.0,
            seed=0,
            stop_ids=tokenizer.end_ids,
        )
        for ids, ended in zip(written.ids, written.ended, strict=True):
            said.append(tokenizer.decode(ids[:-1] if ended else ids).strip())
    return said


if __name__ == "__main__":
    from lmm_tui.engine.config.model_shape import ModelShape

    words = Tokenizer.train([task.question for task in test_set("sums", 50)], 300)
    tiny = Decoder(ModelShape(words.vocab_size, 32, 2, 4, 2, 8, 64, max_positions=256))
    tiny.init_weights(0)
    shares = exact_match(tiny, words, kinds=("sums", "talk"), questions=4)
    print(shares)
    assert shares == {"sums": 0.0, "talk": 0.0} and tiny.training
    print("=== 自测通过 ===")

"""Finds the rewards that a configuration names.

They are built-in, functions of the user, or a local reward model, for which alone transformers is
imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lmm_tui.data.chat.template import CHATML, render
from lmm_tui.data.chat.template_process import TemplateProcess, TemplateRefusal
from lmm_tui.data.chat.tokenizer_template import TokenizerTemplate
from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.pattern_check import check_patterns
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Conversation, Turn
from lmm_tui.engine.library_import import import_quietly
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages.rewards import BUILTIN, Reward, RewardError, Sample, one_line, short
from lmm_tui.errors import LmmError
from lmm_tui.named_code import module_at


def load_rewards(names: Sequence[str], device: str = "cpu") -> list[Reward]:
    """Find the rewards called `names`, in their order.

    `exact`, `format`, `length` or `length:TOKENS`; `module:function` or `file.py:function`, looked
    up from the current folder and called with (prompt, completion, answer); a run or a checkpoint
    of a reward model, or a folder with a sequence classifier of one label, which run on `device`.
    Raises RewardError.
    """
    if not names:
        raise RewardError("no reward is named; give some of {builtin}", builtin=[*BUILTIN])
    if len(set(names)) < len(names):
        raise RewardError(
            "a reward is named twice in {names}; give it a larger weight", names=[*names]
        )
    return [Reward(name, _find(name, device)) for name in names]


def _find(name: str, device: str) -> Callable[[Sample], float]:
    if name in BUILTIN:
        return BUILTIN[name]
    folder = Path(name)
    if RunDir(folder).exists() or (folder / "state.json").is_file():
        return _own_reward_model(folder, device)
    if folder.is_dir():
        return _reward_model(folder, device)
    place, colon, function = name.rpartition(":")
    if place == "length":
        if not function.isdecimal() or int(function) == 0:
            raise RewardError(
                "reward {name!r}: {function!r} is no number of tokens from 1 on",
                name=name,
                function=function,
            )
        return partial(short, target=int(function))
    if not colon:
        raise RewardError(
            "there is no reward {name!r}; give one of {builtin}, "
            "module:function, file.py:function or a reward model's run or folder",
            name=name,
            builtin=[*BUILTIN],
        )
    return _user_function(name, place, function)


def _user_function(name: str, place: str, function: str) -> Callable[[Sample], float]:
    try:
        module = module_at(place)
    except FileNotFoundError:
        raise RewardError(
            "reward {name!r}: there is no file {place}; check the path", name=name, place=place
        ) from None
    except Exception as error:
        raise RewardError(
            "reward {name!r}: importing {place} failed with {one_line}; mend it, "
            "or call lmm-tui from the folder it is in",
            name=name,
            place=place,
            one_line=one_line(error),
        ) from error
    found = getattr(module, function, None)
    if not callable(found):
        raise RewardError(
            "reward {name!r}: {place} has no function {function!r}; expected one "
            "that takes (prompt, completion, answer) and gives a number",
            name=name,
            place=place,
            function=function,
        )

    def score_one(sample: Sample) -> float:
        return found(sample.prompt, sample.completion, sample.answer)

    return score_one


def _reward_model(folder: Path, device: str) -> Callable[[Sample], float]:
    """The one logit of a local sequence classifier, of the prompt and the completion as a chat."""
    import torch

    import_quietly("transformers.modeling_utils")
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        # With False transformers neither asks nor runs the code of the folder.
        options = {"local_files_only": True, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        model = AutoModelForSequenceClassification.from_pretrained(folder, **options)
        check_patterns(tokenizer.backend_tokenizer, folder)
        write = _chat_writer(tokenizer)
    except (OSError, ValueError, DataError) as error:
        raise RewardError(
            "{folder}: not a reward model that transformers can load "
            "({one_line}); give the folder of a sequence classifier",
            folder=folder,
            one_line=one_line(error),
        ) from error
    if model.config.num_labels != 1:
        raise RewardError(
            "{folder}: the classifier has {num_labels} labels, a reward model "
            "has one; give another folder",
            folder=folder,
            num_labels=model.config.num_labels,
        )
    model.eval().to(device)

    @torch.no_grad()
    def score_one(sample: Sample) -> float:
        if write is not None:
            text = write(sample.prompt, sample.completion)
            inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        else:
            inputs = tokenizer(sample.prompt, sample.completion, return_tensors="pt")
        return model(**inputs.to(device)).logits.item()

    return score_one


def _own_reward_model(folder: Path, device: str) -> Callable[[Sample], float]:
    """Of a run of stage `reward`: the prompt and the completion in its own chat template."""
    import torch

    from lmm_tui.engine.checkpoints.weights import read_weights
    from lmm_tui.engine.stages.reward import rewards_of

    try:
        weights = read_weights(folder)
    except LmmError as error:
        raise RewardError("{error}", error=error) from None
    if weights.reward_head is None or weights.tokenizer is None:
        raise RewardError(
            "{folder}: is no reward model; name a run of the stage reward", folder=folder
        )
    tokenizer = Tokenizer.load(weights.tokenizer)
    own = weights.has_own_template(tokenizer)
    template = TokenizerTemplate.load(weights.tokenizer, tokenizer) if own else CHATML
    model, head = weights.model().to(device).eval(), weights.reward_head.to(device)
    longest = weights.shape.max_positions

    @torch.no_grad()
    def score_one(sample: Sample) -> float:
        said = Conversation((Turn("user", sample.prompt), Turn("assistant", sample.completion)))
        ids, _ = render(said, tokenizer, template)
        if len(ids) > longest:
            raise RewardError(
                "{tokens} tokens do not fit into the reward model's context of {longest}",
                tokens=len(ids),
                longest=longest,
            )
        hidden_1xTxD = model.backbone(torch.tensor([ids], device=device))
        return rewards_of(hidden_1xTxD[:, -1], head).item()

    return score_one


def _chat_writer(tokenizer: Any) -> Callable[[str, str], str] | None:
    """By the tokenizer's own template, within limits of time and memory."""
    source = tokenizer.chat_template
    if not source:
        return None
    if not isinstance(source, str):  # Several, by name.
        source = tokenizer.get_chat_template()
    template = TemplateProcess(source, tokenizer.special_tokens_map, "(?!)")

    def write(prompt: str, completion: str) -> str:
        turns = [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": completion},
        ]
        try:
            return template.write_text(turns, None)
        except TemplateRefusal as error:
            raise RewardError(
                "the reward model's chat template fails ({error})", error=error
            ) from None

    return write


if __name__ == "__main__":
    for reward in load_rewards(["exact", "length:4"]):
        print(reward.name, reward.function(Sample("1 + 1?", "2", "2", tokens=6, ended=True)))
    print("=== 自测通过 ===")

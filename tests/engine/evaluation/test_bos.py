"""A tokenizer that puts a BOS first: the same inputs and scores as lm-eval's HFLM."""

from pathlib import Path
from typing import Any

import pytest
from foreign_models import byte_level, model_folder

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.evaluation.job import Job

pytest.importorskip("lm_eval")


class Request:
    def __init__(self, *args: Any) -> None:
        self.args = args


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bos", "options"),
    [
        ("<s>", {}),
        (None, {"add_bos_token": True}),
        ("<s>", {"add_bos_token": False}),
        (None, {}),
    ],
)
def test_scores_are_those_of_lm_eval_with_and_without_a_bos(
    tmp_path: Path, bos: str | None, options: dict[str, bool]
) -> None:
    from lmm_tui.engine.evaluation.open_model import open_model

    names = {"bos_token": "<s>", "eos_token": "</s>", **options}
    model_folder(tmp_path / "m", byte_level(["<s>", "</s>"], bos=bos), scale=6.0, **names)
    ours, theirs = (open_model(Job(str(tmp_path / "m"), ("x",), how)) for how in ("run", "hf"))
    for text in ("What is", "<s>What is"):
        assert ours.tok_encode(text) == theirs.tok_encode(text)
    assert ours.prefix_token_id == theirs.prefix_token_id
    requests = [Request("What is", " two"), Request("", "The cat"), Request("<s>What", " is")]
    found, right = ours.loglikelihood(requests), theirs.loglikelihood(requests)
    assert [p for p, _ in found] == pytest.approx([p for p, _ in right], abs=1e-3)
    Tokenizer.load(tmp_path / "m").save(tmp_path / "again")
    assert Tokenizer.load(tmp_path / "again").encode_as_input("a") == theirs.tok_encode("a")

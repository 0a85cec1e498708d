"""A checkpoint is evaluated in the arithmetic that its run evaluated it in."""

import pytest
import torch
from lm_eval.api.instance import Instance

from lmm_tui.data.chat.template import CHATML
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine import device as devices
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.device import Precision
from lmm_tui.engine.evaluation.decoder_lm import DecoderLM
from lmm_tui.engine.evaluation.open_model import evaluation_precision
from lmm_tui.engine.model.decoder import Decoder

CUDA, MPS, CPU = torch.device("cuda", 0), torch.device("mps"), torch.device("cpu")


@pytest.mark.parametrize(
    ("device", "trained", "has_bf16", "expected"),
    [
        (CPU, "bf16", True, "fp32"),  # As before: nothing is gained there.
        (CUDA, "auto", True, "bf16"),
        (CUDA, "auto", False, "fp16"),
        (CUDA, "fp16", True, "fp16"),
        (CUDA, "fp32", True, "fp32"),
        (CUDA, "bf16", False, "fp32"),  # Trained on a newer card.
        (CUDA, None, True, "fp32"),  # Weights that no run of ours trained.
        (MPS, "fp16", True, "fp32"),
    ],
)
def test_precision_is_that_of_the_run_on_this_device(
    monkeypatch: pytest.MonkeyPatch,
    device: torch.device,
    trained: str | None,
    has_bf16: bool,
    expected: str,
) -> None:
    monkeypatch.setattr(devices, "_cuda_has_bf16", lambda _: has_bf16)
    assert evaluation_precision(device, trained) == expected


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_likelihoods_are_those_of_this_precision(precision: Precision) -> None:
    tokenizer = Tokenizer.train(["the cat sat on the mat"] * 20, 280)
    model = Decoder(ModelShape(tokenizer.vocab_size, 32, 2, 4, 2, 8, 64, max_positions=32))
    model.init_weights(0)
    context, continuation = tokenizer.encode("the cat"), tokenizer.encode(" sat on")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        logits = model(torch.tensor([context + continuation]))[0, len(context) - 1 : -1]
    log_p = logits.float().log_softmax(-1).gather(-1, torch.tensor(continuation).unsqueeze(1))
    lm = DecoderLM(model, tokenizer, CHATML, 2, precision)
    asked = Instance("loglikelihood", {}, ("the cat", " sat on"), 0)
    ((found, _),) = lm.loglikelihood([asked], disable_tqdm=True)
    assert found == pytest.approx(log_p.sum().item(), rel=1e-6)
    with torch.no_grad():
        exact = model(torch.tensor([context + continuation]))[0, len(context) - 1 : -1]
    exact_p = exact.log_softmax(-1).gather(-1, torch.tensor(continuation).unsqueeze(1)).sum()
    assert (found == pytest.approx(exact_p.item(), rel=1e-6)) == (precision == "fp32")

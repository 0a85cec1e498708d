"""A checkpoint is evaluated in the arithmetic that its run evaluated it in."""

import pytest
import torch
from lm_eval.api.instance import Instance

from lmm_tui.data.chat.template import CHATML
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.device import Precision
from lmm_tui.engine.evaluation.decoder_lm import DecoderLM
from lmm_tui.engine.model.decoder import Decoder


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

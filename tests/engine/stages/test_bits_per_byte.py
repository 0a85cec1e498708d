"""Bits per byte divide a loss by the bytes of the very tokens that it is of."""

import math
from pathlib import Path

import pytest
import torch
from small_runs import silent
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.stages.pretrain import PretrainStage


@pytest.mark.parametrize("batches", [4, 1000])
def test_bits_per_byte_are_those_of_the_scored_tokens(tmp_path: Path, batches: int) -> None:
    english = (f"The cat {i} sat on the mat with {i * 7 % 13} things.\n\n" for i in range(3000))
    chinese = (f"第{i}只小猫坐在垫子上想着{i * 7 % 13}件事情。\n\n" for i in range(1500))
    (tmp_path / "t.txt").write_text("".join([*english, *chinese]), encoding="utf-8")
    settings = {
        "data.source": str(tmp_path / "t.txt"),
        "data.seq_len": 128,
        "train.batch_size": 4,
        "data.val_fraction": 0.5,
        "log.val_batches": batches,
        "data.cache_dir": str(tmp_path / "cache"),
        "model.num_layers": 1,
    }
    config = resolve(assignments=settings)
    stage = PretrainStage(config, torch.device("cpu"), silent)
    model = Decoder(config.model.shape(stage.tokenizer.vocab_size))
    model.init_weights(0)
    with torch.no_grad():
        found = stage.validate(model)
    labels = [
        token
        for batch in stage.validation_batches()
        for token in batch.labels_BxT.flatten().tolist()
    ]
    text = stage.tokenizer.decode(token for token in labels if token != stage.tokenizer.eos_id)
    # A character that is cut between two batches decodes as a mark of three bytes.
    right = found["val/loss"] * len(labels) / math.log(2) / len(text.encode())
    assert found["val/bits_per_byte"] == pytest.approx(right, rel=2e-3)


def test_bytes_of_tokens_add_up_without_a_byte_level(tmp_path: Path) -> None:
    backend = Backend(models.BPE(byte_fallback=True, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<unk>", "</s>", *fallback], show_progress=False
    )
    backend.train_from_iterator(["the cat sat on the mat"] * 9, trainer)
    backend.save(str(tmp_path / "tokenizer.json"))
    words = Tokenizer.load(tmp_path)
    text = "the cat sat"
    assert words.byte_lengths[words.encode(text)].sum() == len(text)

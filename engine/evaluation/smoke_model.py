"""An untrained model for `--smoke`, which tests an evaluation end to end.

Its scores are at chance level.
"""

from __future__ import annotations

from pathlib import Path


def make_model(folder: Path) -> Path:
    """Write a model of 0.1M random parameters (fixed seed) as a Hugging Face folder."""
    import torch

    from lmm_tui.data.builtin.task import KINDS
    from lmm_tui.data.builtin.tasks import test_set
    from lmm_tui.data.tokenizing.tokenizer import Tokenizer
    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.convert import convert
    from lmm_tui.engine.model.decoder import Decoder

    drawn = [task for kind in KINDS for task in test_set(kind, 20)]
    tokenizer = Tokenizer.train([f"{task.question}\n{task.answer}\n" for task in drawn], 400)
    tokenizer.save(folder)
    model = Decoder(ModelShape(tokenizer.vocab_size, 64, 2, 4, 2, 16, 128, max_positions=512))
    model.init_weights(0)
    torch.save(model.state_dict(), folder / "smoke.pth")
    convert(folder / "smoke.pth", folder / "smoke")
    return folder / "smoke"


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        made = make_model(Path(scratch))
        print(sorted(file.name for file in made.iterdir()))
        assert (made / "model.safetensors").is_file()
    print("=== 自测通过 ===")

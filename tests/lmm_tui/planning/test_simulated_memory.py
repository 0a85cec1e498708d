"""What a worker process tells a form of the model that its settings train."""

from pathlib import Path

from architectures import VOCABULARY, model_folder

from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.planning.simulated_memory import simulated


def test_a_form_is_told_the_shape_of_foreign_weights(tmp_path: Path) -> None:
    theirs = model_folder("llama", tmp_path / "llama")
    settings = RunConfig.model_validate(
        {"start_from": str(tmp_path / "llama"), "data": {"seq_len": 32}}
    )
    found = simulated(settings)
    assert found.shape.parameters == theirs.num_parameters()
    assert (found.shape.num_layers, found.shape.vocab_size) == (2, VOCABULARY)

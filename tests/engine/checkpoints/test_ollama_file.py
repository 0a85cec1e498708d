"""The Modelfile: Go's own engine writes what the chat template does."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from real_templates import FAMILIES, opened

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Turn
from lmm_tui.engine.checkpoints.ollama_file import TurnForms, modelfile, turn_forms
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.convert import convert
from lmm_tui.engine.model.decoder import Decoder

KNOWN = [name for name in FAMILIES if not name.startswith(("gemma", "phi"))]
TALK = [
    Turn("system", "Use {{ braces }}."),
    Turn("user", "Hi"),
    Turn("assistant", "Hello\nthere."),
    Turn("user", "小猫?"),
]
_GO = """
import sys
sys.path.insert(0, sys.argv[1])
import go_template
go_template.render_template(*sys.argv[2:])
"""


def written(name: str, turns: Sequence[Turn], open_: bool) -> str:
    template = opened(name).template
    spans = template.prompt_spans(turns) if open_ else template.spans(turns)
    return "".join(span.text for span in spans)


def forms_of(name: str) -> tuple[TurnForms | None, str]:
    bos = opened(name).ours.settings.tokens.get("bos_token") or ""
    return turn_forms(lambda turns, open_: written(name, turns, open_), bos), bos


@pytest.mark.parametrize("name", KNOWN)
def test_turns_are_written_as_the_template_writes_them(name: str) -> None:
    forms, bos = forms_of(name)
    assert forms is not None
    for turns in (TALK, TALK[1:], TALK[:2]):
        assert forms.write(turns) == written(name, turns, True).removeprefix(bos)


@pytest.mark.parametrize("name", ["gemma", "phi3"])
def test_a_template_that_does_more_gets_no_wrong_one(name: str) -> None:
    """Gemma's writes the system turn into the user's; Ollama knows it by the GGUF file."""
    forms, _ = forms_of(name)
    assert forms is None
    text = modelfile(Path("m.gguf"), None, ["<end_of_turn>"], 64, chats=True)
    assert text == 'FROM ./m.gguf\nPARAMETER num_ctx 64\nPARAMETER stop "<end_of_turn>"\n'


@pytest.mark.parametrize("name", ["smollm2", "llama3"])
def test_go_writes_it_so(name: str, tmp_path: Path) -> None:
    place = os.environ.get("LMM_GO_TEMPLATE")
    if place is None:
        pytest.skip("needs `pip install --target $LMM_GO_TEMPLATE go-template`")
    forms, bos = forms_of(name)
    assert forms is not None
    (tmp_path / "t").write_text(forms.go_template(), encoding="utf-8")
    messages = [{"Role": turn.role, "Content": turn.content} for turn in TALK]
    (tmp_path / "v").write_text(json.dumps({"Messages": messages}), encoding="utf-8")
    files = [str(tmp_path / name) for name in "tvo"]
    subprocess.run([sys.executable, "-c", _GO, place, *files], check=True, timeout=60)
    found = (tmp_path / "o").read_text(encoding="utf-8")
    assert found == written(name, TALK, True).removeprefix(bos)


def test_it_stands_beside_the_file_and_is_never_overwritten(tmp_path: Path) -> None:
    words = Tokenizer.train(["the cat sat on the mat"] * 9, 280)
    words.save(tmp_path)
    decoder = Decoder(ModelShape(words.vocab_size, 32, 1, 4, 2, 8, 64, max_positions=128))
    decoder.init_weights(0)
    torch.save(decoder.state_dict(), tmp_path / "chat_32.pth")
    convert(tmp_path / "chat_32.pth", tmp_path / "out" / "chat.gguf")
    text = (tmp_path / "out" / "Modelfile").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert lines[0] == "FROM ./chat.gguf"
    assert lines[2:3] == ['PARAMETER stop "<|im_end|>"']
    assert "{{ .Content }}<|im_end|>" in text and text.endswith('<|im_start|>assistant\n"""\n')
    weights = convert(tmp_path / "chat_32.pth", tmp_path / "out" / "other.gguf")
    assert any("Modelfile: exists already" in note for note in weights.notes)
    assert (tmp_path / "out" / "Modelfile").read_text(encoding="utf-8") == text

"""The identity of a model: a hash of its files, without loading it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lmm_tui.guarded_files import reading

_FILES = (
    *("*model*.safetensors", "*.bin", "*config.json", "tokenizer.json", "chat_template.jinja"),
    *("adapter/*.safetensors", "adapter/*config.json"),
)


def fingerprint(model: Path) -> str:
    """16 hex digits of the weights, configuration and tokenizer files."""
    digest = hashlib.blake2b(digest_size=8)
    for file in _files(model):
        digest.update(file.name.encode())
        with reading(file) as content:
            while block := content.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _files(model: Path) -> list[Path]:
    if model.is_file():
        return [model, *sorted(model.parent.glob("tokenizer*.json"))]
    # The tokenizer of a run's checkpoint is in the run's folder, two levels up.
    run = [model.parent.parent] if (model / "state.json").is_file() else []
    return [file for at in (model, *run) for name in _FILES for file in sorted(at.glob(name))]


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "model.safetensors").write_bytes(b"1")
        print(fingerprint(Path(scratch)))
    print("=== 自测通过 ===")

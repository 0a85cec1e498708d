"""The architecture of a run's model, where it is another than ours: transformers' config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.engine.checkpoints.json_table import load_table
from lmm_tui.guarded_files import kind_of, replace_text

_FILE = "architecture.json"


def write_architecture(run: Path, architecture: Mapping[str, Any] | None) -> None:
    """Keep `architecture` in the directory of a run; for None, which is our decoder, nothing."""
    if architecture is not None:
        text = json.dumps(dict(architecture), indent=1, ensure_ascii=False) + "\n"
        replace_text(run / _FILE, text, run)


def read_architecture(run: Path) -> dict[str, Any] | None:
    """What `write_architecture` wrote; WeightsError where it cannot be read."""
    file = run / _FILE
    if kind_of(file, run) is None:
        return None
    found = load_table(file, run)
    if not isinstance(found.get("model_type"), str):
        raise WeightsError("{file}: is no config.json of transformers", file=file)
    return found


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        print(read_architecture(Path(place)))
        write_architecture(Path(place), {"model_type": "llama"})
        print(read_architecture(Path(place)))
    print("=== 自测通过 ===")

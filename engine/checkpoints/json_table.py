"""Reads a JSON file that should hold a table, such as a config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.guarded_files import read_bytes


def load_table(path: Path) -> dict[str, Any]:
    """The table in `path`; WeightsError where there is none."""
    try:
        found = json.loads(read_bytes(path))
    except (OSError, ValueError) as error:
        raise WeightsError("{path}: cannot be read ({error})", path=path, error=error) from None
    except RecursionError:
        raise WeightsError("{path}: cannot be read (nested too deeply)", path=path) from None
    if not isinstance(found, dict):
        raise WeightsError("{path}: is no table of settings", path=path)
    return found


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        file.write_text('{"a": 1}')
        print(load_table(file))
    print("=== 自测通过 ===")

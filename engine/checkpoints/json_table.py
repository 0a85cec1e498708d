"""Reads a JSON file that should hold a table, such as a config.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.guarded_files import read_bytes
from lmm_tui.json_text import RepeatedKeyError, parse_json


def load_table(path: Path, inside: Path | None = None) -> dict[str, Any]:
    """The table in `path`, a file below `inside`; WeightsError where there is none."""
    try:
        found = parse_json(read_bytes(path, inside))
    except RepeatedKeyError as error:
        raise WeightsError(
            "{path}:{line}: {error}", path=path, line=error.line, error=error
        ) from None
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

"""The pages of docs/, as an agent reads them: a list, then a page in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lmm_tui.agents.run_access import AgentError

FOLDER = Path(__file__).resolve().parents[1] / "docs"
LONGEST_PART = 20_000
"""Characters."""


def pages() -> list[str]:
    """The names of the English pages; empty where they are not installed."""
    return sorted(path.stem for path in FOLDER.glob("*.md") if not path.stem.endswith(".zh"))


def read_page(name: str, part: int) -> dict[str, Any]:
    """Part `part` (from 1) of a page, or without a name the list of pages."""
    known = pages()
    if not name:
        return {"pages": known}
    if name not in known:
        raise AgentError(
            "{name!r}: no such page; there are {known}", name=name[:80], known=[*known]
        )
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    parts = -(-len(text) // LONGEST_PART)
    if not 1 <= part <= parts:
        raise AgentError("part: 1 to {parts} (got {part})", parts=parts, part=part)
    return {
        "page": name,
        "part": part,
        "parts": parts,
        "text": text[(part - 1) * LONGEST_PART : part * LONGEST_PART],
    }


if __name__ == "__main__":
    print(read_page("", 1))
    for wrong in ("../README", "none"):
        try:
            read_page(wrong, 1)
            raise AssertionError
        except AgentError as refusal:
            print(refusal)
    print("=== 自测通过 ===")

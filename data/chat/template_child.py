"""Runs one chat template for the process that started it: requests and answers are JSON lines.

A template comes with a model, from anybody: it has no more memory than a conversation needs, no
files to write, and may be ended at any moment.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from typing import Any

from lmm_tui.data.chat.template_jinja import JinjaTemplate

MOST_MEMORY = 1 << 30
MOST_TEXT = 1 << 24
"""Characters that a conversation may be written in."""


def main() -> None:
    """The first request is the template, each further one a conversation."""
    # macOS does not hold the first; there the process that waits looks at the memory.
    for limit, most in (
        (resource.RLIMIT_AS, MOST_MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (most, most))
    template: JinjaTemplate | None = None
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            if template is None:
                template = JinjaTemplate(request["source"], request["variables"])
                answer: dict[str, Any] = {"marks_answers": template.marks_answers}
            else:
                answer = _written(template, request)
        except MemoryError:
            answer = {"error": f"it needs more than {MOST_MEMORY >> 20} MB of memory"}
        except RecursionError:
            answer = {"error": "it is nested too deeply"}
        except Exception as error:  # Whatever Python raises within a template.
            answer = {"error": f"{error}"[:300] or type(error).__name__}
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _written(template: JinjaTemplate, request: dict[str, Any]) -> dict[str, Any]:
    written = template.write(
        request["messages"], request["tools"], request["add_generation_prompt"]
    )
    if len(written.text) > MOST_TEXT:
        return {"error": f"it writes more than {MOST_TEXT >> 20} million characters"}
    return {"text": written.text, "marked": written.marked}


if __name__ == "__main__":
    print(
        _written(
            JinjaTemplate("{{ messages[0] }}", {}),
            {"messages": ["hi"], "tools": None} | {"add_generation_prompt": False},
        )
    )
    print("=== 自测通过 ===")

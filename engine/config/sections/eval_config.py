"""`[eval]`: evaluations by lm-eval while a run trains."""

from __future__ import annotations

from pydantic import Field

from lmm_tui.engine.config.sections.section import Section


class EvalConfig(Section):
    every: int = Field(0, ge=0, description="lm-eval interval in steps; 0 = on request only")
    tasks: list[str] = Field(
        ["lmm_sums", "lmm_choice"],
        min_length=1,
        description="lm-eval tasks, or built-in ones: lmm_<kind>",
    )
    limit: int = Field(100, ge=1, description="Questions per task")
    data_dir: str | None = Field(None, description="Folder of local files for hellaswag and others")


if __name__ == "__main__":
    print(EvalConfig())
    print("=== 自测通过 ===")

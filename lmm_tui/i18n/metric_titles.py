"""The titles of metrics in the language of the interface."""

from __future__ import annotations

from dataclasses import replace

from lmm_tui.i18n.language import tr
from lmm_tui.metrics.names import describe


def title_of(metric: str) -> str:
    """The title of a metric, with the layer it was measured in; of an unknown one its name."""
    known = describe(metric)
    return replace(known, title=tr(known.title)).whole


if __name__ == "__main__":
    assert title_of("grad/layers.3") == "gradient norm · layers.3"
    print(title_of("probe/layers.0/cosine_sim_intra"), title_of("mine/score"))
    print("=== 自测通过 ===")

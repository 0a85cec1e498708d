"""The script of a report ticks its axes as Python does: both are asked about the same ranges."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

import lmm_tui.report
from lmm_tui.metrics.drawing.ticks import x_ticks, y_ticks

NODE = shutil.which("node")
SCRIPT = Path(lmm_tui.report.__file__).parent / "ticks.js"
ASK = """
const asked = JSON.parse(require("fs").readFileSync(0));
console.log(JSON.stringify(asked.map(([name, ...given]) => Ticks[name](...given))));
"""


def ranges() -> list[list[object]]:
    """What a reader may zoom to: of any size, far from 0, narrow and wide."""
    choose = random.Random(0)
    asked: list[list[object]] = []
    for axis, largest in (("step", 7), ("tokens", 13), ("time", 7), ("flops", 24)):
        for _ in range(150):
            low = choose.choice((0.0, choose.uniform(0, 10 ** choose.uniform(0, largest))))
            span = 10 ** choose.uniform(-1 if axis != "flops" else 9, largest)
            asked.append(["xTicks", low, low + span, choose.randrange(12, 180), axis])
    for log in (False, True):
        for _ in range(300):
            low = choose.choice((-1, 1)) * 10 ** choose.uniform(-9, 9)
            span = 10 ** choose.uniform(-6, 6) * abs(low)
            low = abs(low) if log else low
            asked.append(["yTicks", low, low + span, choose.randrange(3, 40), 8, log])
    return asked


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_the_script_and_python_give_the_same_ticks() -> None:
    asked = ranges()
    source = SCRIPT.read_text(encoding="utf-8") + ASK
    done = subprocess.run(
        [str(NODE), "-e", source],
        input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    drawn = 0
    for given, found in zip(asked, json.loads(done.stdout), strict=True):
        name, low, high, size, *more = given
        ours = (
            x_ticks(low, high, size, *more)  # type: ignore[arg-type]
            if name == "xTicks"
            else y_ticks(low, high, size, more[0], log=more[1])  # type: ignore[arg-type]
        )
        assert [(float(place), label) for place, label in found] == ours, given
        drawn += len(ours) > 1
    assert drawn > len(asked) / 2

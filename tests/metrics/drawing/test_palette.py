"""Series differ to every eye: their colours as colour-blind people see them, and how far apart."""

import itertools

import numpy as np
import pytest
from rich.color import Color

from lmm_tui.metrics.drawing.palette import SERIES_COLORS, shade

# Machado, Oliveira and Fernandes 2009, severity 1: what linear RGB looks like.
EYES = {
    "all colours": np.eye(3),
    "no red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no green": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "no blue": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
WHITE = np.array([0.9505, 1.0, 1.089])


def seen(color: str, eye: str) -> np.ndarray:
    """A colour in CIELAB, where a step of 1 can just be told and 10 is told at a glance."""
    channels = np.array(Color.parse(color).get_truecolor()) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(EYES[eye] @ linear, 0, 1) / WHITE
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("dark", [True, False], ids=["dark", "light"])
def test_any_two_series_are_told_apart_at_a_glance(dark: bool, eye: str) -> None:
    looks = {name: seen(shade(name, dark=dark).line, eye) for name in SERIES_COLORS}
    for one, other in itertools.combinations(SERIES_COLORS, 2):
        assert np.linalg.norm(looks[one] - looks[other]) > 17, (one, other)

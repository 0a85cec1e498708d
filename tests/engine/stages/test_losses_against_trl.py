"""Our preference and policy losses are trl's, in values and in gradients."""

import pytest

from benchmarks.losses import LIMIT, differences


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_losses_and_gradients_equal_trls() -> None:
    found = differences()
    assert len(found) == 23
    assert {name: value for name, value in found.items() if value > LIMIT} == {}

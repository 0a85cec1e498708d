"""Deep probes in a real run: they come with the probe, and training is the same to the bit."""

import math

from small_runs import MakeConfig, curve, lines

from lmm_tui.engine.config.sections.probe_config import ProbeConfig
from lmm_tui.engine.training.run_host import EngineHost
from lmm_tui.metrics.names import DEEP_LAYERS, LOG_NORMALISER, NOISE_SCALE, VAL_ECE

ALL = {f"probe__{name}": True for name in ProbeConfig.model_fields}


def test_every_part_comes_at_the_probes_and_changes_no_loss(small: MakeConfig) -> None:
    plain = EngineHost(small(name="plain", train__grad_accum=2))
    plain.run()
    host = EngineHost(small(name="deep", train__grad_accum=2, **ALL))
    host.run()
    assert host.state == "finished"
    assert curve(host.run_dir) == curve(plain.run_dir)
    assert not [name for row in lines(plain.run_dir.metrics) for name in row if "deep" in name]
    for family in DEEP_LAYERS:
        found = curve(host.run_dir, f"deep/{family}/layers.1")
        assert sorted(found) == [4, 8, 12], family
        assert all(math.isfinite(value) for value in found.values())
    assert sorted(curve(host.run_dir, LOG_NORMALISER)) == [4, 8, 12]
    assert all(0 <= error <= 1 for error in curve(host.run_dir, VAL_ECE).values())
    assert set(curve(host.run_dir, VAL_ECE)) == {5, 10, 12}
    assert all(scale > 0 for scale in curve(host.run_dir, NOISE_SCALE).values())


def test_a_resumed_run_has_the_same_deep_numbers(small: MakeConfig) -> None:
    options = {"train__grad_accum": 2, "optim__schedule": "constant", **ALL}
    whole = EngineHost(small(name="whole", **options))
    whole.run()
    first = EngineHost(small(name="halves", train__steps=6, **options))
    first.run()
    second = EngineHost(small(name="halves", **options), first.run_dir)
    second.run()
    assert second.state == "finished"
    for name in [f"deep/{family}/layers.0" for family in DEEP_LAYERS] + [NOISE_SCALE]:
        assert sorted(curve(whole.run_dir, name)) == [4, 8, 12] or name == NOISE_SCALE
        assert curve(whole.run_dir, name) == curve(second.run_dir, name)

"""The device of this machine that a configuration means, as a card to plan for. Imports torch."""

from __future__ import annotations

from dataclasses import replace

from lmm_tui.engine.cards import CardModel, card_of_device
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.i18n.translate_messages import translate_message

_HERE_GB_S = 1e6
"""Processes on one CPU send nothing through a link."""


def this_machine(config: RunConfig) -> CardModel:
    """Its memory, and the peak speed that is known or measured. Raises DeviceError."""
    from lmm_tui.engine import device as devices

    device = devices.resolve_device(config.device)
    precision = devices.resolve_precision(device, config.train.precision)
    info = next(one for one in devices.describe_devices() if one.name == str(device))
    known = card_of_device(devices.card_name(device))
    tflops = devices.peak_flops(device, precision) / 1e12
    card = known or CardModel(
        str(device),
        translate_message(info.description),
        info.memory / 2**30,
        half_tflops=tflops,
        fp32_tflops=tflops,
        bandwidth_gb_s=0.0,
        link_gb_s=_HERE_GB_S,
        bf16=precision != "fp16",
    )
    return replace(card, key=str(device), memory_gib=info.memory / 2**30, kind=device.type)


if __name__ == "__main__":
    print(this_machine(RunConfig()))
    print("=== 自测通过 ===")

"""Cards of every maker are read as they answer; what they do not tell is None and never zero."""

import sys

import pytest
from fake_nvml import H100, LAPTOP, MIG, FakeNvml, used_by

from lmm_tui.runs import amd_cards, apple_cards, nvidia_cards
from lmm_tui.runs.gpu_cards import Card, CardProcess


def test_all_that_a_busy_card_tells_is_read_in_our_units(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(used_by(H100, pid_7=38_000_000_000)))
    assert nvidia_cards.reader()() == (
        Card(
            "NVIDIA H100 80GB HBM3", busy=0.93, memory_used=40_000_000_000,
            memory_total=85_520_809_984, celsius=61.0, watts=480.123, watts_limit=700.0,
            clock=1755.0, clock_max=1980.0, throttle=("power cap",),
            processes=(CardProcess(7, 38_000_000_000),),
        ),
    )  # fmt: skip


def test_what_a_card_does_not_support_is_not_known():
    laptop, divided, lost = nvidia_cards.read_all(FakeNvml(LAPTOP, MIG, None))
    assert laptop.name == "NVIDIA GeForce RTX 3050 Laptop GPU"
    assert (laptop.watts, laptop.clock, laptop.processes) == (None, None, ())
    # Bit 1 says that it is idle, which is no throttling.
    assert (laptop.busy, laptop.fan, laptop.throttle) == (0.0, 0.3, ("too hot (hardware)",))
    assert divided == Card("NVIDIA A100-SXM4-40GB") and divided.memory_share is None
    assert lost == Card("GPU 2")


@pytest.mark.parametrize("count", [1, 2, 8, 16])
def test_one_to_sixteen_cards_are_read(count):
    cards = nvidia_cards.read_all(FakeNvml(*[H100] * count))
    assert len(cards) == count and {card.busy for card in cards} == {0.93}


def test_without_a_driver_or_a_card_there_is_no_reader(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    assert nvidia_cards.reader() is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvidia_cards.reader() is None


def test_the_memory_of_a_run_is_that_of_all_its_processes():
    [card] = nvidia_cards.read_all(FakeNvml(used_by(H100, pid_7=10, pid_8=20, pid_9=None)))
    assert card.memory_of(frozenset({7, 8})) == 30
    assert card.memory_of(frozenset({9})) is None  # In a container it is not told.


def test_an_amd_card_is_read_from_the_files_of_its_driver(tmp_path):
    bus = tmp_path / "pci" / "0000:03:00.0"
    sensors = bus / "hwmon" / "hwmon3"
    sensors.mkdir(parents=True)
    for name, text in {
        "vendor": "0x1002", "device": "0x73bf", "gpu_busy_percent": "87",
        "mem_info_vram_used": "8589934592", "mem_info_vram_total": "17163091968",
        "pp_dpm_sclk": "0: 500Mhz\n1: 2475Mhz *",
    }.items():  # fmt: skip
        (bus / name).write_text(f"{text}\n")
    for name, text in {
        "temp1_input": "71000", "power1_average": "203000000", "power1_cap": "272000000",
        "freq1_input": "2410000000", "pwm1": "102", "pwm1_max": "255",
    }.items():  # fmt: skip
        (sensors / name).write_text(f"{text}\n")
    sysfs = tmp_path / "drm"
    for name in ("card0", "card0-HDMI-A-1", "renderD128"):
        (sysfs / name).mkdir(parents=True)
    (sysfs / "card0" / "device").symlink_to(bus)
    fdinfo = tmp_path / "proc" / "4242" / "fdinfo"
    fdinfo.mkdir(parents=True)
    (fdinfo / "5").write_text(
        "pos:\t0\ndrm-driver:\tamdgpu\ndrm-pdev:\t0000:03:00.0\ndrm-client-id:\t9\n"
        "drm-memory-vram:\t2048 KiB\n"
    )
    (fdinfo / "6").write_text((fdinfo / "5").read_text())  # The same client: counted once.
    assert amd_cards.reader(sysfs, tmp_path / "proc")() == (
        Card(
            "AMD GPU 0x73bf", 0.87, 8589934592, 17163091968, 71.0, 203.0, 272.0, 2410.0, 2475.0,
            fan=0.4, processes=(CardProcess(4242, 2048 * 1024),),
        ),
    )  # fmt: skip
    assert amd_cards.reader(tmp_path / "none") is None


def test_an_apple_gpu_is_read_from_what_ioreg_prints():
    printed = """+-o AGXAcceleratorG13X  <class AGXAcceleratorG13X, id 0x1000004b2>
    {
      "model" = "Apple M1 Pro"
      "PerformanceStatistics" = {"In use system memory"=1245184000,"Device Utilization %"=37}
    }
"""
    [card] = apple_cards.cards_in(printed, 17_179_869_184)
    assert card == Card("Apple M1 Pro", 0.37, 1_245_184_000, 17_179_869_184)
    assert apple_cards.cards_in("", 1) == ()

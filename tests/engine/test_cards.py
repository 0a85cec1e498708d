"""The table of GPUs: found by what people and drivers call them, extended by the user."""

import pytest

from lmm_tui.engine.cards import CardError, card_of_device, cards, find_card


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The user's own table, to be written."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "lmm-tui" / "cards.toml"
    file.parent.mkdir()
    return file


@pytest.mark.parametrize(
    ("name", "key"),
    [("h100", "h100"), ("H100 SXM", "h100"), ("4090", "rtx-4090"), ("RTX_4090", "rtx-4090"),
     ("NVIDIA A100 40GB", "a100-40gb"), ("h100-pcie", "h100-pcie")],
)  # fmt: skip
def test_a_card_is_found_by_what_people_call_it(own, name, key):
    assert find_card(name).key == key


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H100 NVL", "h100-nvl"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        # Substrings of these are other cards.
        ("NVIDIA L40", None),
        ("NVIDIA RTX A1000", None),
        ("NVIDIA T400", None),
        ("", None),
    ],
)
def test_the_name_of_a_driver_matches_by_whole_words(own, name, key):
    found = card_of_device(name)
    assert (found and found.key) == key


@pytest.mark.parametrize("name", ["h1000", "", "abc", "\x1b[2J", "a" * 500])
def test_an_unknown_card_is_refused_with_near_ones(own, name):
    with pytest.raises(CardError, match="not in the table of cards"):
        find_card(name)


def test_the_user_changes_a_price_and_adds_a_card(own):
    own.write_text(
        '[h100]\nprice = 1.5\n[mine]\nname = "Mine"\nmemory_gib = 48\nhalf_tflops = 100\n'
        "fp32_tflops = 20\nbandwidth_gb_s = 900\nlink_gb_s = 32\n"
    )
    assert find_card("h100").price == 1.5 and find_card("h100").half_tflops == 989
    assert find_card("mine").memory == 48 * 2**30
    assert find_card("mine").peak_flops("bf16") == 1e14


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[h100]\nprise = 1", "unknown key prise"),
        ("[h100]\nprice = -1", "price = -1"),
        ("[h100]\nprice = nan", "price = nan"),
        ("[h100]\nmemory_gib = true", "memory_gib = True"),
        ("[mine]\nmemory_gib = 8", "lacks name"),
        ("h100 = 3", "h100 is no table"),
        ("[h100", "not valid TOML"),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(own, text, said):
    own.write_text(text)
    with pytest.raises(CardError, match=said) as refused:
        cards()
    assert str(own) in str(refused.value)

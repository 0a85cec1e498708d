"""Whether the Hugging Face hub is reachable, tested before a library waits for it."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies

_TIMEOUT_S = 2.0
_ON = ("1", "ON", "YES", "TRUE")
_SWITCHES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")


def hub_answers() -> bool:
    """Whether a connection or a proxy is available; False if an offline variable is set."""
    if any(os.environ.get(switch, "").upper() in _ON for switch in _SWITCHES):
        return False
    if getproxies().get("https"):
        return True
    hub = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        port = hub.port or (80 if hub.scheme == "http" else 443)
        socket.create_connection((hub.hostname or "", port), _TIMEOUT_S).close()
    except OSError:
        return False
    return True


def go_offline() -> None:
    """Make the Hugging Face libraries that are imported afterwards use their caches only."""
    os.environ.update(dict.fromkeys(_SWITCHES, "1"))


if __name__ == "__main__":
    go_offline()
    assert not hub_answers()
    print("=== 自测通过 ===")

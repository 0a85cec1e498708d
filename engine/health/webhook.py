"""POSTs texts to a URL, each within a total time, over http and https, without redirects.

A redirect would turn the POST into a GET without the text; the proxies of the environment hold.
"""

from __future__ import annotations

import threading
from functools import cache
from http.client import HTTPException
from typing import TYPE_CHECKING

from lmm_tui.errors import LmmError

if TYPE_CHECKING:
    from urllib.request import OpenerDirector

_TOTAL_S = 10.0


class NotificationError(LmmError):
    """A notification that could not be delivered."""


class Webhook:
    def __init__(self, url: str, total_s: float = _TOTAL_S) -> None:
        self._url = url
        self._total_s = total_s
        self._thread: threading.Thread | None = None

    def post(self, text: bytes) -> None:
        """Returns once the text was accepted. Raises NotificationError.

        In a thread, because a timeout of urllib is one for each read: a server that sends a byte
        now and then is left alone, and nothing is posted while it does so.
        """
        if self._thread is not None and self._thread.is_alive():
            raise NotificationError("the answer to an earlier alert has no end; check the URL")
        failures: list[str] = []
        self._thread = threading.Thread(
            target=self._request, args=(text, failures), name="webhook", daemon=True
        )
        self._thread.start()
        self._thread.join(self._total_s)
        if self._thread.is_alive():
            raise NotificationError(
                "no answer within {total_s:.0f} s; check the URL", total_s=self._total_s
            )
        if failures:
            raise NotificationError(
                "an alert did not arrive ({failures}); check the URL", failures=failures[0]
            )

    def _request(self, text: bytes, failures: list[str]) -> None:
        from urllib.request import Request

        try:
            request = Request(self._url, text, {"Content-Type": "application/json"})
            with _opener().open(request, timeout=self._total_s):
                pass
        except (OSError, ValueError, HTTPException) as error:  # HTTPError is an OSError.
            failures.append(str(error)[:200] or type(error).__name__)


@cache
def _opener() -> OpenerDirector:
    from urllib import request

    opener = request.OpenerDirector()
    for kind in (
        request.ProxyHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPErrorProcessor,
        request.HTTPDefaultErrorHandler,
        request.UnknownHandler,
    ):
        opener.add_handler(kind())
    return opener


if __name__ == "__main__":
    for url in ("ftp://127.0.0.1/x", "file:///etc/passwd", "http://127.0.0.1:9/", "nonsense"):
        try:
            Webhook(url).post(b"{}")
        except NotificationError as error:
            print(error)
    print("=== 自测通过 ===")

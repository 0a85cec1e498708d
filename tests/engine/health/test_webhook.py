"""A webhook has a total time, is not redirected, and its failure is said once."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from threading import Thread

import pytest

from lmm_tui.engine.health.notifications import Notifier, alert_channels
from lmm_tui.engine.health.webhook import NotificationError, Webhook

Answer = Callable[[socket.socket], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Starts a server that answers as said, for each request; its URL."""
    listeners = []

    def begin(answer: Answer) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def loop() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        answer(connection)
                    except OSError:
                        pass

        Thread(target=loop, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/x"

    yield begin
    for listener in listeners:
        listener.close()


def says(reply: bytes) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(reply)

    return answer


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["http", "file", "ftp"])
def test_a_redirect_is_not_followed(code: int, scheme: str, serve: Callable[[Answer], str]) -> None:
    reached: list[bytes] = []
    target = serve(lambda connection: reached.append(connection.recv(65536)))
    place = target if scheme == "http" else f"{scheme}://127.0.0.1/etc/passwd"
    url = serve(says(f"HTTP/1.1 {code} Go\r\nLocation: {place}\r\n\r\n".encode()))
    with pytest.raises(NotificationError, match=str(code)):
        Webhook(url).post(b"{}")
    assert not reached


def drips(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"a: b\r\n")
        time.sleep(0.05)


def test_a_server_that_drips_is_left_alone(serve: Callable[[Answer], str]) -> None:
    webhook = Webhook(serve(drips), total_s=0.5)
    begun = time.monotonic()
    with pytest.raises(NotificationError, match="no answer within"):
        webhook.post(b"{}")
    with pytest.raises(NotificationError, match="has no end"):
        webhook.post(b"{}")
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\x00\xff\r\n",
        b"HTTP/1.1 999999 x\r\n\r\n",
        b"x" * 100_000,
        b"HTTP/1.1 500 \x1b[2J\r\n\r\n",
    ],
)
def test_an_odd_answer_is_a_sentence_that_is_said_once(
    reply: bytes, serve: Callable[[Answer], str]
) -> None:
    said: list[str] = []
    notifier = Notifier(alert_channels(serve(says(reply)), None), said.append)
    for _ in range(3):
        notifier.send("{}")
    notifier.close()
    assert len(said) == 1 and said[0].startswith("health.webhook: an alert did not arrive")


def test_a_command_that_leaves_a_child_with_its_output_is_not_waited_for() -> None:
    said: list[str] = []
    notifier = Notifier(alert_channels(None, "sleep 300 & exit 3"), said.append)
    begun = time.monotonic()
    notifier.send("{}")
    notifier.close()
    assert time.monotonic() - begun < 5 and said == [
        "health.command: ended with 3; try it in a shell"
    ]

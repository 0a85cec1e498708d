"""Lines are appended in order and whole, whatever the disk does in between."""

import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm_tui.metrics.writers import line_file
from lmm_tui.metrics.writers.line_file import LineFile


class Disk:
    """A file that takes this many bytes of each write; none of them raises ENOSPC."""

    def __init__(self, moods: list[int | None]) -> None:
        self.content = b""
        self._moods = iter(moods)

    def write(self, data: bytes) -> int:
        taken = next(self._moods, None)
        if taken == 0:
            raise OSError(28, "No space left on device")
        self.content += data[:taken]
        return len(data[:taken])

    def close(self) -> None: ...


class HungDisk(Disk):
    """A disk of which no write comes back before `answer` is set."""

    def __init__(self) -> None:
        super().__init__([])
        self.asked, self.answer = threading.Event(), threading.Event()

    def write(self, data: bytes) -> int:
        self.asked.set()
        self.answer.wait()
        return super().write(data)


def on_disk(disk: Disk, most_bytes: int = 1 << 20) -> LineFile:
    with tempfile.TemporaryDirectory() as folder:
        file = LineFile(Path(folder, "lines"), most_bytes)
    file._file.close()
    file._file = disk  # type: ignore[assignment]
    return file


moods = st.lists(st.none() | st.integers(0, 9), max_size=30)


@given(moods, st.integers(1, 20))
def test_a_disk_that_is_full_for_a_while_loses_nothing(moods: list[int | None], count: int) -> None:
    disk = Disk(moods)
    file = on_disk(disk)
    lines = [f"line {number}\n".encode() for number in range(count)]
    for line in lines:
        file.append(line)
        assert bool(file.trouble) == bool(file.waiting)
    disk._moods = iter([])
    file.append(b"end\n")
    assert disk.content == b"".join([*lines, b"end\n"])
    assert (file.waiting, file.lost, file.trouble) == (0, 0, "")
    file.close()


@given(moods, st.integers(1, 20))
def test_memory_is_bounded_and_only_whole_lines_are_dropped(
    moods: list[int | None], count: int
) -> None:
    disk = Disk(moods)
    file = on_disk(disk, most_bytes=20)
    for number in range(count):
        file.append(f"line {number:02}\n".encode())
        assert sum(map(len, file._waiting)) <= 20
    disk._moods = iter([])
    file.close()
    kept = disk.content.splitlines(keepends=True)
    assert len(kept) + file.lost == count
    assert kept == sorted(set(kept)) and all(len(line) == 8 for line in kept)


def test_a_disk_that_hangs_costs_one_wait_and_bounded_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line_file, "PATIENCE_S", 0.01)
    disk = HungDisk()
    file = on_disk(disk, most_bytes=40)
    lines = [f"line {number:02}\n".encode() for number in range(9)]
    for line in lines:
        file.append(line)
        assert file.trouble == "the disk does not answer"
        assert disk.asked.wait(60)
    # The first line may be half in the file already: it is not the one to go.
    assert (file.waiting, file.lost) == (5, 4)
    disk.answer.set()
    file.close()
    assert (file.waiting, file.lost, file.trouble) == (0, 4, "")
    assert disk.content == b"".join([lines[0], *lines[5:]])


def test_threads_that_append_at_once_leave_whole_lines(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "lines")

    def write(name: str) -> None:
        for number in range(200):
            file.append(f"{name} {number}\n".encode())

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    found = (tmp_path / "lines").read_text().splitlines()
    assert len(found) == 600
    for name in "abc":
        own = [line for line in found if line.startswith(name)]
        assert own == [f"{name} {number}" for number in range(200)]

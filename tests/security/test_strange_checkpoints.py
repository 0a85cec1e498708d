"""Checkpoints of a stranger: nothing outside is opened, replaced or pruned, whatever they name.

Rows B2 to B5 and W9 of the review. `seal_again` makes checksums that fit, as a stranger would.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_strings import EVIL, unsafe
from strangers import FILES, FOLDERS, SETTINGS, linked, sparse

from lmm_tui.cli import main
from lmm_tui.engine.checkpoints import checkpoint_files
from lmm_tui.engine.checkpoints.checkpoint_files import CheckpointError, Retention, prune, verify
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.run.run_dir import RunDir

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("empty_pages")]

Capture = pytest.CaptureFixture[str]


def seal_again(checkpoint: Path, files: dict[str, str]) -> None:
    content = json.loads((checkpoint / "state.json").read_text())
    content.pop("digest")
    content["files"] |= files
    content["digest"] = checkpoint_files._digest(content)
    (checkpoint / "state.json").write_text(json.dumps(content))


NAMED = {
    "a device": "/dev/zero",
    "a file outside": "/etc/hostname",
    "a file above": "../../../../canary/run.json",
    "the same file again": "./model.safetensors",
    "a file below and above": "adapter/../../../run.json",
    "nothing": "",
}


@pytest.mark.parametrize("name", NAMED.values(), ids=NAMED)
def test_a_checkpoint_names_only_its_own_files(name: str, stranger: Path, canary: Path) -> None:
    newest = list_checkpoints(stranger / "checkpoints")[-1]
    seal_again(newest, {name: "0" * 64})
    with pytest.raises(CheckpointError, match="damaged checkpoint"):
        verify(newest)


@pytest.mark.parametrize("size", [{"hidden_size": 2**62}, {"num_hidden_layers": 2**40}], ids=str)
def test_an_architecture_of_any_size_is_one_sentence(
    size: dict[str, int], stranger: Path, capsys: Capture
) -> None:
    config = {"model_type": "llama", "hidden_size": 32, "vocab_size": 300} | size
    (stranger / "architecture.json").write_text(json.dumps(config))
    for command in (["convert", "x", "out"], ["resume", "x", "--steps", "12"]):
        assert main.run(command) in (1, 2)
        said = capsys.readouterr()
        assert "more than any model has" in said.err + said.out
        assert "Traceback" not in said.err + said.out


def test_a_name_in_a_checkpoint_reaches_no_terminal(stranger: Path, capfd: Capture) -> None:
    seal_again(list_checkpoints(stranger / "checkpoints")[-1], {EVIL: "0" * 64})
    assert main.run(["convert", "x", "out"]) == 0
    said = capfd.readouterr()
    assert "damaged checkpoint" in said.err and not unsafe(said.err + said.out)


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", '{"format": 2, "files": 5}', "\0"])
def test_an_odd_state_is_a_damaged_checkpoint(content: str, stranger: Path) -> None:
    newest = list_checkpoints(stranger / "checkpoints")[-1]
    (newest / "state.json").write_text(content)
    with pytest.raises(CheckpointError, match="damaged checkpoint"):
        verify(newest)


def weights(header: dict[str, object], size: int = 0) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(size)


def floats(*shape: int, size: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}


EMBEDDING = "model.embed_tokens.weight"
WEIGHTS = {
    "a header of 2^62 bytes": (1 << 62).to_bytes(8, "little") + b"{}",
    "2^62 rows": weights({EMBEDDING: floats(2**62, 2, size=8)}, 8),
    "two at one place": weights({EMBEDDING: floats(1, 1, size=4), "b": floats(1, 1, size=4)}, 4),
    "no embedding": weights({}),
    "an embedding of nothing": weights({EMBEDDING: floats(0, 32, size=0)}),
    "an embedding without dimensions": weights({EMBEDDING: floats(size=4)}, 4),
    "a layer of 5,000 digits": weights({f"model.layers.{'9' * 5000}.x": floats(1, size=4)}, 4),
}


@pytest.mark.parametrize("content", WEIGHTS.values(), ids=WEIGHTS)
def test_odd_weights_with_the_right_checksum_are_one_sentence(
    content: bytes, stranger: Path, capsys: Capture
) -> None:
    newest = list_checkpoints(stranger / "checkpoints")[-1]
    (newest / "model.safetensors").write_bytes(content)
    seal_again(newest, {"model.safetensors": hashlib.sha256(content).hexdigest()})
    for command in (["convert", "x", "out"], ["convert", "x", "out.pth"]):
        assert main.run(command) == 2
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1 and "step-000000010" in said


TRAPS: dict[str, Callable[[Path, Path], object]] = {
    "a link": lambda path, canary: path.symlink_to(canary / "run.json"),
    "zeros": lambda path, canary: path.symlink_to("/dev/zero"),
    "a pipe": lambda path, canary: os.mkfifo(path),
    "holes": lambda path, canary: sparse(path.name)(path.parent, canary),
}


@pytest.mark.parametrize("file", ["model.safetensors", "training.pt", "state.json"])
@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)
def test_a_checkpoint_with_a_trap_is_damaged_and_the_one_before_is_used(
    trap: Callable[[Path, Path], object],
    file: str,
    stranger: Path,
    canary: Path,
) -> None:
    before, newest = list_checkpoints(stranger / "checkpoints")
    (newest / file).unlink()
    trap(newest / file, canary)
    found, damaged = checkpoint_files.newest_intact(stranger / "checkpoints")
    assert found == before and [*damaged] == [newest]


def test_a_linked_checkpoint_is_none_and_is_not_pruned(stranger: Path, canary: Path) -> None:
    checkpoints = stranger / "checkpoints"
    (checkpoints / "step-000000019").symlink_to(next((canary / "checkpoints").iterdir()))
    (checkpoints / ".writing-step-000000020").symlink_to(canary)
    (checkpoints / ".removing-step-000000010").symlink_to(canary)
    (checkpoints / "damaged-step-000000010").symlink_to(canary)
    assert [path.name for path in list_checkpoints(checkpoints)] == [
        "step-000000005",
        "step-000000010",
    ]
    staging = checkpoint_files.make_staging(checkpoints / "step-000000020")
    checkpoint_files.seal(staging, {"format": 2, "step": 20})
    checkpoint_files.put_in_place(staging, checkpoints / "step-000000020")
    checkpoint_files.set_aside(checkpoints / "step-000000010")
    prune(checkpoints, Retention(last=1))
    assert [path.name for path in list_checkpoints(checkpoints)] == ["step-000000020"]


def test_pinning_follows_no_link(stranger: Path, canary: Path) -> None:
    newest = list_checkpoints(stranger / "checkpoints")[-1]
    (newest / "pinned").symlink_to(canary / "new")
    with pytest.raises(OSError, match="link"):
        checkpoint_files.pin(newest)
    checkpoint_files.unpin(newest)
    assert not (canary / "new").exists()


@pytest.mark.parametrize("name", [*FILES, *FOLDERS])
def test_a_resume_that_meets_a_link_late_writes_nothing_outside(
    name: str,
    stranger: Path,
    canary: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    """Links that appear after the run was looked at: the door itself holds."""
    monkeypatch.setattr(RunDir, "refuse_unsafe", lambda run: None)
    linked(name)(stranger, canary)
    assert main.run(["resume", "x", "--steps", "12", "--set=log.sample_every=1"]) in (0, 1, 2)
    assert "Traceback" not in capsys.readouterr().err


def test_a_run_is_made_from_a_run_of_a_stranger_without_touching_anything_else(
    stranger: Path, canary: Path, trained: Path, capsys: Capture
) -> None:
    newest = list_checkpoints(stranger / "checkpoints")[-1]
    (newest / "model.safetensors").unlink()
    (newest / "model.safetensors").symlink_to("/dev/zero")
    cache = f"--set=data.cache_dir={trained.parent / 'cache'}"
    made = ["train", "--from", "x", "--name", "mine", "--runs-dir", "runs", *SETTINGS, cache]
    assert main.run(made) == 0, capsys.readouterr().err
    assert main.run(["convert", "x", "out.pth"]) == 0
    assert list(Path().glob("*.pth")) == [Path("out.pth")]


@pytest.mark.parametrize("umask", [0, 0o022])
def test_every_file_of_a_run_is_for_its_user_only(
    umask: int, tmp_path: Path, trained: Path
) -> None:
    before = os.umask(umask)
    try:
        cache = f"--set=data.cache_dir={tmp_path / 'cache'}"
        assert main.run(["train", "--name", "a", "--runs-dir", "runs", *SETTINGS, cache]) == 0
    finally:
        os.umask(before)
    made = [path for top in ("runs", "cache") for path in (Path(top), *Path(top).rglob("*"))]
    assert len(made) > 15
    assert [str(path) for path in made if path.lstat().st_mode & 0o077] == []

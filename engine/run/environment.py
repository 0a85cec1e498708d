"""What a run was started with: the command line, and the git commit and changes of the folder.

No environment variable is recorded. What looks like a password, a token or a key is masked, in
arguments and in changed lines; the changes are bounded.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType

PACKAGES = (
    *("torch", "numpy", "tokenizers", "fastokens", "transformers", "peft", "lm-eval"),
    *("datasets", "pyarrow", "safetensors"),
)
DIFF_LIMIT = 32_000
"""Characters of changes that are kept."""
_GIT_S = 3.0
_MASK = "***"
# What precedes a word is no part of its pattern: a long argument would be scanned from each letter.
_MASKS = (
    (
        re.compile(
            r"(?i)((?:token|api_?key|secret|passw(?:or)?d|passphrase|credential|webhook|private_key)"
            r"[\w.-]{0,100}[\"']?\s*[:=]\s*[\"']?)[^\s\"',;]+"
        ),
        rf"\1{_MASK}",
    ),
    (re.compile(r"\b(\w+://)[^/@\s\"']+@"), rf"\1{_MASK}@"),
    (re.compile(r"\b(?:hf_|sk-|ghp_|gho_|github_pat_|glpat-|xox[bap]-|AKIA)[\w-]{8,}"), _MASK),
)


def masked(text: str) -> str:
    """Without what looks like a secret."""
    for pattern, instead in _MASKS:
        text = pattern.sub(instead, text)
    return text


def command_line(arguments: Sequence[str] | None = None) -> list[str]:
    """The arguments of this process, masked; an argument after a flag like --token, too."""
    given = list(sys.argv if arguments is None else arguments)
    shown: list[str] = []
    for at, argument in enumerate(given):
        before = given[at - 1].lstrip("-") if at and given[at - 1].startswith("--") else ""
        paired = masked(f"{before}={argument}").partition("=")[2] if before else ""
        shown.append(_MASK if paired == _MASK else masked(argument))
    return shown


@cache  # Each is a file of thousands of lines to parse; a process may begin many runs.
def package_versions() -> Mapping[str, str]:
    """Of the packages that a run's numbers follow from, as far as they are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return MappingProxyType(found)


def git_state(folder: str | None = None) -> dict[str, str]:
    """`commit`, `branch`, and the `diff` of tracked files of a working tree; empty without one."""
    commit = _git(folder, "rev-parse", "HEAD").strip()
    if not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        return {}
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD").strip()[:200]
    changes = _git(folder, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color")
    state = {"commit": commit, "branch": branch}
    if changes:
        lines = changes[:DIFF_LIMIT].rpartition("\n")[0] if len(changes) > DIFF_LIMIT else changes
        state["diff"] = masked(lines)
        if len(changes) > DIFF_LIMIT:
            state["diff_left_out"] = f"{len(changes) - len(lines):,} of {len(changes):,} characters"
    return state


def _git(folder: str | None, *arguments: str) -> str:
    """What git prints, empty where it cannot; it runs no program that a repository names."""
    quiet = ("-c", "core.fsmonitor=false", "-c", "core.pager=cat", "--no-optional-locks")
    try:
        done = subprocess.run(
            ["git", *quiet, *arguments],
            cwd=folder,
            capture_output=True,
            check=False,
            timeout=_GIT_S,
            stdin=subprocess.DEVNULL,
            env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


if __name__ == "__main__":
    print(command_line(["lmm-tui", "train", "--set", "health.webhook=https://hooks/x"]))
    print({key: value[:60] for key, value in git_state().items()}, package_versions())
    assert (
        masked("HF_TOKEN=abc https://me:pw@host hf_abcdefghij")
        == "HF_TOKEN=*** https://***@host ***"
    )
    print("=== 自测通过 ===")

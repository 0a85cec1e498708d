"""The one way to start a child process that runs our own Python code.

Whatever starts it, a child gets the same environment: it imports nothing from the working
directory, and no passwords, tokens or keys that it does not need.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

HUB_SECRETS = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})
"""For a child that may download from the Hugging Face hub."""

ALL_SECRETS = None
"""For a child that runs commands or functions of the user."""

_FEW = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT")

_SECRET_NAME = re.compile(
    r"(^|_)(TOKEN|KEY|APIKEY|SECRET|PASSWORD|PASSWD|PASSPHRASE|PAT|CREDENTIALS?)(_|$)", re.I
)
_SECRET_URL = re.compile(r"\w+://[^/@\s]*:[^/@\s]+@")


def start_python(
    arguments: Sequence[str],
    *,
    secrets: Collection[str] | None = (),
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> subprocess.Popen[str]:
    """Start Python with `arguments`, such as `-m MODULE` or `-c PROGRAM`, in its own session.

    `secrets` names the secret variables that it gets, or is ALL_SECRETS; `environment` is added,
    and `options` are those of Popen. Text goes as UTF-8.
    """
    variables = {**child_environment(secrets), **(environment or {})}
    return _started(arguments, variables, text=True, encoding="utf-8", **options)


def start_confined(arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start Python for something of a stranger, such as a chat template: as `start_python`, with
    the few variables that Python needs, and bytes for text."""
    few = {name: os.environ[name] for name in _FEW if name in os.environ}
    return _started(arguments, few | _search_path(), **options)


def limit_resources(most: Mapping[int, int]) -> None:
    """Limit this process for good: the most of each `resource.RLIMIT_…`, as far as the system
    allows. It leaves no core dump."""
    for limit, value in {resource.RLIMIT_CORE: 0, **most}.items():
        with suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, value))


def _started(
    arguments: Sequence[str], variables: Mapping[str, str], **options: Any
) -> subprocess.Popen[Any]:
    return subprocess.Popen(
        # -P: nothing is imported from the working directory. Not -I: packages may be installed
        # for the user only, or be on PYTHONPATH, as on clusters.
        [sys.executable, "-P", *arguments],
        env=variables,
        # Ctrl-C and a closed terminal reach the parent only.
        start_new_session=True,
        **options,
    )


def child_environment(secrets: Collection[str] | None = ()) -> dict[str, str]:
    """The variables of this process without secrets, except for those named."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if secrets is ALL_SECRETS or name in secrets or not _is_secret(name, value)
    }
    return kept | _search_path()


def _search_path() -> dict[str, str]:
    """PYTHONPATH: the folder of this package, then what it has but for the working directory."""
    own = str(Path(__file__).resolve().parents[1])
    given = [Path(name) for name in os.environ.get("PYTHONPATH", "").split(os.pathsep) if name]
    here = Path.cwd()
    others = [str(path) for path in given if path.is_absolute() and path.resolve() != here]
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys([own, *others]))}


def _is_secret(name: str, value: str) -> bool:
    is_proxy = name.lower().endswith("_proxy")
    return bool(_SECRET_NAME.search(name) or (_SECRET_URL.match(value) and not is_proxy))


if __name__ == "__main__":
    os.environ |= {"HF_TOKEN": "hf_1", "TOKENIZERS_PARALLELISM": "false"}
    program = "import os, sys; print(sys.flags.safe_path, sorted(os.environ))"
    with start_python(["-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        print(said := child.stdout.read())
    assert "True" in said and "HF_TOKEN" not in said and "TOKENIZERS_PARALLELISM" in said
    print("=== 自测通过 ===")

"""Uploads a written model to the Hugging Face Hub, under a name that was given for it."""

from __future__ import annotations

import re
from pathlib import Path

from lmm_tui.engine.checkpoints.hf_config import WeightsError

_NAME = re.compile(r"([\w-][\w.-]{0,95}/)?[\w-][\w.-]{0,95}", re.ASCII)


def check_name(name: str) -> None:
    """Raise WeightsError where no repository can be called `name`."""
    if not _NAME.fullmatch(name) or "--" in name or ".." in name or name.endswith((".", "-")):
        raise WeightsError(
            "{name!r}: is no name of a model on huggingface.co; give OWNER/NAME or NAME", name=name
        )


def upload(files: dict[str, Path | bytes], name: str, *, public: bool) -> str:
    """Make the repository `name`, unless it is there, and commit `files` by their names in it.

    A new one is private unless `public`. Returns its address. Raises WeightsError in one sentence.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
    )

    check_name(name)
    api = HfApi()
    try:
        made = api.create_repo(name, private=not public, exist_ok=True)
        added = [CommitOperationAdd(path, content) for path, content in sorted(files.items())]
        api.create_commit(made.repo_id, added, commit_message="Upload by lmm-tui")
    except LocalTokenNotFoundError:
        raise _refused(name) from None
    except OfflineModeIsEnabled:
        raise _unreachable(name, "HF_HUB_OFFLINE is set") from None
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code in (401, 403):
            raise _refused(name) from None
        raise _failed(name, error) from None
    except Exception as error:  # Of the network, of many kinds.
        if isinstance(error, OSError) or "connect" in type(error).__name__.lower():
            raise _unreachable(name, _first_line(error)) from None
        raise _failed(name, error) from None
    return str(made)


def _refused(name: str) -> WeightsError:
    return WeightsError(
        "{name}: huggingface.co does not let you write there; log in with `hf auth login`, with a "
        "token that may write, and give a name of yours",
        name=name,
    )


def _unreachable(name: str, reason: str) -> WeightsError:
    return WeightsError(
        "{name}: huggingface.co cannot be reached ({reason}); the model is written here, upload it "
        "later with `hf upload`",
        name=name,
        reason=reason,
    )


def _failed(name: str, error: Exception) -> WeightsError:
    return WeightsError(
        "{name}: was not uploaded ({reason}); the model is written here, upload it later with "
        "`hf upload`",
        name=name,
        reason=_first_line(error),
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


if __name__ == "__main__":
    check_name("me/my-model")
    try:
        check_name("a/b/c")
    except WeightsError as error:
        print(error)
    print("=== 自测通过 ===")

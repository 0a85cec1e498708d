"""A model of the Hugging Face Hub by its name, as the folder that the library keeps it in."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.message import Message

_NAME = re.compile(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}")
_CACHED = re.compile(r"models--[^-].*?--.+")
_BESIDE = ("*.json", "*.jinja", "*.model", "*.txt")
_ANSWER_S = 10.0
"""Seconds for which an answer is waited for."""
_OTHER_WEIGHTS = ("pytorch_model*.bin",)


def is_hub_name(path: Path) -> bool:
    """Whether it may name a model of the Hub, as `owner/name`, and nothing lies there."""
    return bool(_NAME.fullmatch(str(path))) and not path.exists() and not path.parent.is_dir()


def name_of_cached(folder: Path) -> str | None:
    """The name of the model that the library's cache keeps in `folder`; None of other folders."""
    if folder.parent.name != "snapshots" or not _CACHED.fullmatch(folder.parents[1].name):
        return None
    return folder.parents[1].name.removeprefix("models--").replace("--", "/", 1)


def hub_folder(name: str) -> Path:
    """The folder of the model `name`, downloaded into the library's cache, or as it is there.

    Raises WeightsError.
    """
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    hub = urlsplit(constants.ENDPOINT).netloc
    try:
        # A download asks the same without a limit of time.
        HfApi().model_info(name, timeout=_ANSWER_S)
        folder = Path(snapshot_download(name, allow_patterns=[*_BESIDE, "*.safetensors"]))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(name, allow_patterns=[*_BESIDE, *_OTHER_WEIGHTS]))
    except GatedRepoError:
        raise WeightsError(
            "{name}: its owner asks for consent on {hub}; give it "
            "there, and log in with `hf auth login`",
            name=name,
            hub=hub,
        ) from None
    except RepositoryNotFoundError:
        raise WeightsError(
            "{name}: neither a path here, nor a model of {hub} that you can see", name=name, hub=hub
        ) from None
    except Exception as error:  # Of the network, of many kinds.
        if cached := cached_folder(name):
            return cached
        raise WeightsError(
            "{name}: no such path here, nor in the cache, and {problem}; give a local folder",
            name=name,
            problem=_problem(hub, error),
        ) from None
    return folder


def cached_folder(name: str) -> Path | None:
    """The folder of the model `name` in the library's cache; nothing is asked for elsewhere."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except Exception:
        return None
    return folder if (folder / "config.json").is_file() else None


def _problem(hub: str, error: Exception) -> Message:
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OfflineModeIsEnabled):
            return Message("HF_HUB_OFFLINE is set")
        if isinstance(cause, HfHubHTTPError):
            return Message(
                "{hub} answers with error {code} ({reason})",
                hub=hub,
                code=cause.response.status_code,
                reason=cause.server_message or cause.response.reason_phrase,
            )
        if "Timeout" in type(cause).__name__:  # Of an HTTP library that is the library's choice.
            return Message("{hub} did not answer within {seconds} s", hub=hub, seconds=_ANSWER_S)
        cause = cause.__cause__
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return Message("{hub} cannot be used ({reason})", hub=hub, reason=reason)


if __name__ == "__main__":
    for name in ("HuggingFaceTB/SmolLM2-135M", "runs", "a/b/c", "/tmp/x"):
        print(name, is_hub_name(Path(name)))
    print("=== 自测通过 ===")

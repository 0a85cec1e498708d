"""A model of the Hugging Face Hub by its name, as the folder that the library keeps it in."""

from __future__ import annotations

import re
from pathlib import Path

from lmm_tui.engine.checkpoints.hf_config import WeightsError

_NAME = re.compile(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}")
_BESIDE = ("*.json", "*.jinja", "*.model", "*.txt")
_OTHER_WEIGHTS = ("pytorch_model*.bin",)


def is_hub_name(path: Path) -> bool:
    """Whether it may name a model of the Hub, as `owner/name`, and nothing lies there."""
    return bool(_NAME.fullmatch(str(path))) and not path.exists() and not path.parent.is_dir()


def hub_folder(name: str) -> Path:
    """The folder of the model `name`, from the library's cache or downloaded into it.

    Raises WeightsError.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        folder = Path(snapshot_download(name, allow_patterns=[*_BESIDE, "*.safetensors"]))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(name, allow_patterns=[*_BESIDE, *_OTHER_WEIGHTS]))
    except GatedRepoError:
        raise WeightsError(
            "{name}: its owner asks for consent on huggingface.co; give it "
            "there, and log in with `hf auth login`",
            name=name,
        ) from None
    except RepositoryNotFoundError:
        raise WeightsError(
            "{name}: neither a path here, nor a model of huggingface.co that you can see", name=name
        ) from None
    except LocalEntryNotFoundError:
        raise WeightsError(
            "{name}: no such path here, and huggingface.co cannot be reached; give a local folder",
            name=name,
        ) from None
    except Exception as error:  # Of the network, of many kinds.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            "{name}: cannot be had from huggingface.co ({reason})", name=name, reason=reason
        ) from None
    return folder


if __name__ == "__main__":
    for name in ("HuggingFaceTB/SmolLM2-135M", "runs", "a/b/c", "/tmp/x"):
        print(name, is_hub_name(Path(name)))
    print("=== 自测通过 ===")

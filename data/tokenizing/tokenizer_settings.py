"""What a tokenizer folder says beside the vocabulary: named tokens, options, the chat template.

Read from tokenizer_config.json, special_tokens_map.json, chat_template.jinja, the folder
additional_chat_templates and generation_config.json; written as one tokenizer_config.json that
transformers reads.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmm_tui.data.errors import DataError
from lmm_tui.guarded_files import PRIVATE, read_bytes, read_text, replace_text
from lmm_tui.json_text import RepeatedKeyError, parse_json

CONFIG = "tokenizer_config.json"

_OPTIONS = (
    "add_bos_token",
    "add_eos_token",
    "additional_special_tokens",
    "extra_special_tokens",
    "model_max_length",
    "padding_side",
    "truncation_side",
)
_STOP_TOKENS = "stop_tokens"
_DEFAULT = "default"


@dataclass(frozen=True)
class TokenizerSettings:
    tokens: Mapping[str, str] = field(default_factory=dict)
    """`bos_token`, `eos_token`, `pad_token`, `unk_token` and such, where the folder names them."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Other settings of transformers, unchanged."""
    chat_template: str | None = None
    """Jinja."""
    stop_tokens: tuple[str, ...] = ()
    """Further tokens that end a generation, as text."""
    stop_ids: tuple[int, ...] = ()
    """The same as ids: generation_config.json knows no text."""
    named_templates: Mapping[str, str] = field(default_factory=dict)
    """Further chat templates; `tool_use` is for conversations with tools."""

    @classmethod
    def read(cls, folder: Path) -> TokenizerSettings:
        """What there is in a folder; DataError where a file is damaged."""
        config = _json(folder / CONFIG)
        tokens = _json(folder / "special_tokens_map.json") | config
        stops = config.get(_STOP_TOKENS)
        named = _templates(folder, config)
        return cls(
            tokens={
                key: text
                for key, value in tokens.items()
                if key.endswith("_token") and (text := _text(value))
            },
            options={key: config[key] for key in _OPTIONS if config.get(key) is not None},
            chat_template=named.pop(_DEFAULT, None),
            named_templates=named,
            stop_tokens=tuple(map(str, stops)) if isinstance(stops, list) else (),
            stop_ids=_stop_ids(folder),
        )

    def write(self, file: Path, mode: int = PRIVATE) -> None:
        """Write tokenizer_config.json; the `stop_ids` must have become `stop_tokens` before."""
        config: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **self.tokens,
            "clean_up_tokenization_spaces": False,
            **self.options,
        }
        if self.stop_tokens:
            config[_STOP_TOKENS] = [*self.stop_tokens]
        if self.chat_template is not None:
            named = {_DEFAULT: self.chat_template} | dict(self.named_templates)
            listed = [{"name": name, "template": source} for name, source in named.items()]
            config["chat_template"] = listed if self.named_templates else self.chat_template
        replace_text(file, json.dumps(config, indent=1) + "\n", mode=mode)


def _text(value: Any) -> str:
    """Of a token as text, or as an object with its content."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _templates(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """By name; files go before tokenizer_config.json."""
    found = config.get("chat_template")
    if isinstance(found, list):
        named = {item.get("name"): item.get("template") for item in found if isinstance(item, dict)}
    else:
        named = {_DEFAULT: found}
    files = {_DEFAULT: folder / "chat_template.jinja"}
    files |= {path.stem: path for path in folder.glob("additional_chat_templates/*.jinja")}
    for name, path in files.items():
        with suppress(OSError, ValueError):
            named[name] = read_text(path)
    return {str(name): text for name, text in named.items() if isinstance(text, str) and text}


def _stop_ids(folder: Path) -> tuple[int, ...]:
    for name in ("generation_config.json", "config.json"):
        found = _json(folder / name).get("eos_token_id")
        if found is not None:
            ids = found if isinstance(found, list) else [found]
            return tuple(token for token in ids if type(token) is int)
    return ()


def _json(path: Path) -> dict[str, Any]:
    try:
        found = parse_json(read_bytes(path))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except RepeatedKeyError as error:
        raise DataError("{path}:{line}: {error}", path=path, line=error.line, error=error) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError("{path}: cannot be read ({error})", path=path, error=error) from None
    if not isinstance(found, dict):
        raise DataError("{path}: is no table of settings", path=path)
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        demo = TokenizerSettings(
            {"bos_token": "<s>"}, {"add_bos_token": True}, "{{ bos_token }}", ("<end>",)
        )
        demo.write(Path(scratch, CONFIG))
        print(Path(scratch, CONFIG).read_text(encoding="utf-8"))
        assert TokenizerSettings.read(Path(scratch)) == demo
    print("=== 自测通过 ===")

"""Which commands of a configuration this user has allowed.

A configuration can name code: a shell command, a webhook, rewards that are functions. It is obeyed
when the user typed it or wrote it in their own settings. From a run, a recipe or a file of somebody
else it is refused until the user trusts that source; this is kept in the user's state folder, one
small file a source.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.guarded_files import make_private, read_bytes, replace_text
from lmm_tui.message import os_reason
from lmm_tui.named_code import names_code
from lmm_tui.user_folders import user_state

if TYPE_CHECKING:
    from lmm_tui.engine.config.run_config import RunConfig

_CODE_LIMIT = 16 << 20


class UntrustedError(ConfigError):
    """Commands of a source that the user has not trusted."""


@dataclass(frozen=True)
class Command:
    """Something in a configuration that would be obeyed."""

    key: str
    value: str

    def digest(self, with_code: bool) -> str:
        """What is remembered of it; `with_code`: the content of a Python file it names, too."""
        file = self._file()
        parts = [self.key, self.value, str(file.resolve()) if file else ""]
        if with_code and file:
            with suppress(OSError):
                parts.append(hashlib.sha256(read_bytes(file, limit=_CODE_LIMIT)).hexdigest())
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _file(self) -> Path | None:
        """The file of a reward or stage in the working directory or at a path."""
        if self.key not in (_REWARDS, _STAGE):
            return None
        place = self.value.rpartition(":")[0]
        if place.endswith(".py"):
            return Path(place)
        module = Path(*place.split("."))
        places = (module.with_suffix(".py"), module / "__init__.py")
        return next((path for path in places if path.is_file()), None)


_REWARDS = "grpo.rewards"
_STAGE = "stage"
_TRACKERS = "log.trackers"


def commands_in(config: RunConfig) -> list[Command]:
    """What a run of this configuration would obey."""
    found: list[Command] = []
    if config.health.enable:
        given = {"health.command": config.health.command, "health.webhook": config.health.webhook}
        found += [Command(key, value) for key, value in given.items() if value]
    found += [Command(_TRACKERS, name) for name in config.log.trackers]
    if names_code(config.stage):
        found.append(Command(_STAGE, config.stage))
    if config.stage == "grpo":
        found += [Command(_REWARDS, name) for name in config.grpo.rewards if _is_function(name)]
    return found


def refuse_untrusted(
    config: RunConfig, sources: Collection[Path], typed: Iterable[str] = ()
) -> None:
    """Raise UntrustedError if the configuration has commands that are neither typed, by their
    dotted keys, nor trusted in one of the sources it came from."""
    known = frozenset[str]().union(*map(_trusted, sources))
    wrong = [
        command
        for command in commands_in(config)
        if not any(key == command.key or command.key.startswith(f"{key}.") for key in typed)
        and not {command.digest(True), command.digest(False)} & known
    ]
    if wrong:
        shown = ", ".join(f"{command.key} {command.value!r}" for command in wrong)
        off = " ".join(dict.fromkeys(_OFF[command.key] for command in wrong))
        raise UntrustedError(
            "{sources}: would have this machine run or call {shown}; read it, "
            "then give --trust to allow it, or {off} to switch it off",
            sources=[*sources],
            shown=shown,
            off=off,
        )


def trust(config: RunConfig, source: Path) -> None:
    """Allow the commands of a source that somebody else wrote, with the code they name as it is
    now."""
    _remember(source, {command.digest(True) for command in commands_in(config)})


def allow_own(config: RunConfig, source: Path) -> None:
    """Allow the commands of a run or file that this user made; code they name may change."""
    _remember(source, {command.digest(False) for command in commands_in(config)})


def moved(source: Path, target: Path) -> None:
    """What was allowed at a path is allowed where it is now."""
    _remember(target, _trusted(source))


_OFF = {
    "health.command": "--set health.command=",
    "health.webhook": "--set health.webhook=",
    _STAGE: "another --stage",
    _TRACKERS: "--set 'log.trackers=[]'",
    _REWARDS: "--set 'grpo.rewards=[\"exact\"]'",
}


def _is_function(reward: str) -> bool:
    place, colon, _ = reward.rpartition(":")
    return bool(colon) and place != "length"


def _trusted(source: Path) -> frozenset[str]:
    try:
        found = json.loads(read_bytes(_record(source)))
        return frozenset(digest for digest in found["allowed"] if isinstance(digest, str))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return frozenset()


def _remember(source: Path, digests: Collection[str]) -> None:
    known = _trusted(source)
    if known.issuperset(digests):
        return
    file = _record(source)
    text = json.dumps({"source": str(_place(source)), "allowed": sorted(known.union(digests))})
    try:
        make_private(file.parent)
        replace_text(file, text + "\n")
    except OSError as error:
        raise UntrustedError(
            "{file}: cannot be written ({error}); what is allowed is kept there, "
            "set XDG_STATE_HOME to a folder of your own",
            file=file,
            error=os_reason(error),
        ) from None


def _place(source: Path) -> Path:
    """The run that a config.toml belongs to, or the file itself."""
    if source.name == "config.toml" and (source.parent / "run.json").exists():
        source = source.parent
    return source.resolve()


def _record(source: Path) -> Path:
    name = hashlib.sha256(os.fsencode(_place(source))).hexdigest()[:32]
    return user_state() / "trusted" / f"{name}.json"


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.config.resolve import resolve

    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state
        config = resolve(assignments={"health.command": "notify-send alert"})
        recipe = Path("evil.toml")
        try:
            refuse_untrusted(config, [recipe])
        except UntrustedError as refusal:
            print(refusal)
        refuse_untrusted(config, [recipe], typed=["health.command"])
        trust(config, recipe)
        refuse_untrusted(config, [recipe])
    print("=== 自测通过 ===")

"""The checks of `lmm-tui doctor`: packages, devices, terminal, folders.

Each check yields results with advice. An exception in one becomes a result, so that the others
still run.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from rich.cells import cell_len

from lmm_tui import __version__
from lmm_tui.i18n.language import listed, mark, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.installation import WHOLE, distribution, missing
from lmm_tui.terminal import capabilities
from lmm_tui.terminal.safe_text import fit, wrap

Verdict = Literal["ok", "note", "problem"]

_MARKS: dict[Verdict, str] = {"ok": "ok", "note": "--", "problem": "!!"}
_SMALLEST, _COMFORTABLE = (60, 15), (80, 24)
"""Columns and lines."""
_LITTLE_SPACE = 2 * 2**30


@dataclass(frozen=True)
class CheckResult:
    """The result of one check; `advice` says how to fix it, empty if there is nothing to fix."""

    topic: str
    verdict: Verdict
    text: str
    advice: str = ""


def examine(runs_dir: Path) -> list[CheckResult]:
    """Run all checks; results in the order in which they are printed."""
    checks: dict[str, Callable[[], Iterator[CheckResult]]] = {
        "python": _python,
        mark("packages"): _packages,
        "textual": _textual,
        "torch": _torch,
        mark("terminal"): _terminal,
        mark("runs folder"): lambda: _folder("runs folder", runs_dir, tr("give --runs-dir")),
        mark("cache folder"): lambda: _folder(
            "cache folder", _cache_folder(), tr("set data.cache_dir")
        ),
    }
    results: list[CheckResult] = []
    for topic, check in checks.items():
        try:
            results += check()
        except ModuleNotFoundError as error:
            # Only the whole distribution promises all packages.
            severity: Verdict = "problem" if distribution() == WHOLE else "note"
            results.append(CheckResult(topic, severity, str(missing(error.name or str(error)))))
        except Exception as error:
            results.append(CheckResult(topic, "problem", f"{type(error).__name__}: {error}"))
    return results


def report(results: list[CheckResult], columns: int) -> str:
    """Format the results in lines of at most `columns`, advice below each."""
    width = max(cell_len(tr(result.topic)) for result in results)
    indent = " " * (width + 6)
    room = max(columns - len(indent), 20)
    lines = []
    for result in results:
        text = wrap(result.text, room)
        lines.append(f"{_MARKS[result.verdict]}  {fit(tr(result.topic), width)}  {text[0]}")
        lines += [indent + more for more in text[1:]]
        if result.advice:
            first, *further = wrap(result.advice, room - 2)
            lines += [f"{indent}→ {first}", *(f"{indent}  {more}" for more in further)]
    return "\n".join(lines)


def _python() -> Iterator[CheckResult]:
    new_enough = sys.version_info >= (3, 11)
    yield CheckResult(
        "python",
        "ok" if new_enough else "problem",
        tr(
            "{version} on {platform}",
            version=platform.python_version(),
            platform=platform.platform(terse=True),
        ),
        "" if new_enough else tr("install Python 3.11 or newer"),
    )


def _packages() -> Iterator[CheckResult]:
    """Compare the requirements of the distribution with the installed versions."""
    installed = []
    for line in metadata.requires(distribution()) or []:
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            version = ""
        if version and wanted.specifier.contains(version, prereleases=True):
            installed.append(f"{wanted.name} {version}")
            continue
        yield CheckResult(
            wanted.name,
            "problem",
            tr(
                "{version}, needs {wanted}",
                version=version or tr("missing"),
                wanted=wanted.specifier,
            ),
            f"pip install '{wanted.name}{wanted.specifier}'",
        )
    yield CheckResult(distribution(), "ok", __version__)
    yield CheckResult("packages", "ok", listed(installed))


def _textual() -> Iterator[CheckResult]:
    """Whether what we replace inside of it still is what our replacements were written for."""
    from lmm_tui.textual_patches.install import PLAIN, WRITTEN_FOR, differences, explain

    if os.environ.get(PLAIN):
        text = tr("unpatched, since {name} is set: screens are painted more slowly", name=PLAIN)
        yield CheckResult("textual", "note", text)
    elif explained := explain(differences()):
        advice = tr("everything works; textual {version} is faster", version=WRITTEN_FOR)
        yield CheckResult("textual", "note", explained, advice)
    else:
        yield CheckResult("textual", "ok", tr("its internals are as expected"))


def _torch() -> Iterator[CheckResult]:
    import torch

    from lmm_tui.engine.device import DeviceError, describe_devices, require_compiler

    build = torch.version.cuda or torch.version.hip or tr("none")
    text = tr("{version}, built for CUDA/ROCm: {build}", version=torch.__version__, build=build)
    yield CheckResult("torch", "ok", text)
    devices = describe_devices()
    for device in devices:
        memory = f"{device.memory / 2**30:.0f} GiB"
        text = tr(
            "{device}, {memory}, trains in {precision}",
            device=translate_message(device.description),
            memory=memory,
            precision=device.precision,
        )
        yield CheckResult(device.name, "ok", text)
    if devices[0].name == "cpu" and shutil.which("nvidia-smi"):
        yield CheckResult(
            "cuda",
            "problem",
            tr("nvidia-smi is here, but torch sees no GPU"),
            tr("install the CUDA build of torch (pytorch.org) or update the driver"),
        )
    try:
        require_compiler()
    except DeviceError as error:
        yield CheckResult("compiler", "note", translate_message(str(error)))
    else:
        yield CheckResult(mark("compiler"), "ok", tr("train.compile can be used"))


def _terminal() -> Iterator[CheckResult]:
    term = os.environ.get("TERM", "unset")
    if not capabilities.can_host_app():
        yield CheckResult(
            "terminal",
            "note",
            tr("TERM {term}, no cockpit here: not a terminal, or redirected", term=term),
            tr("`lmm-tui train` and `lmm-tui plot --text` do without"),
        )
    else:
        text = tr("TERM {term}, {count} colours", term=term, count=_colours(term))
        yield CheckResult("terminal", "ok", text + _surroundings())
    size = capabilities.size()
    small = size.columns < _SMALLEST[0] or size.lines < _SMALLEST[1]
    yield CheckResult(
        "size",
        "problem" if small and capabilities.can_host_app() else "ok",
        f"{size.columns}x{size.lines}",
        tr(
            "the cockpit needs at least {smallest}, {comfortable} reads well",
            smallest="{}x{}".format(*_SMALLEST),
            comfortable="{}x{}".format(*_COMFORTABLE),
        )
        if small
        else "",
    )
    if not capabilities.has_unicode(sys.stdout):
        yield CheckResult(
            "encoding",
            "problem",
            tr("{encoding}: no braille, no Chinese", encoding=sys.stdout.encoding),
            tr("use a UTF-8 locale, such as `export LC_ALL=C.UTF-8`"),
        )
    elif not capabilities.has_braille(sys.stdout):
        text = tr("UTF-8, but this console has no braille glyphs")
        yield CheckResult("encoding", "note", text)
    else:
        yield CheckResult(mark("encoding"), "ok", "UTF-8")


def _folder(topic: str, folder: Path, alternative: str) -> Iterator[CheckResult]:
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        why = translate_message(error.strerror or str(error))
        text = tr("{folder}: not writable ({why})", folder=folder, why=why)
        yield CheckResult(topic, "problem", text, alternative)
        return
    free = shutil.disk_usage(nearest).free
    scarce = free < _LITTLE_SPACE
    yield CheckResult(
        topic,
        "note" if scarce else "ok",
        tr("{folder}, {size:.1f} GiB free", folder=folder, size=free / 2**30),
        tr("checkpoints need space: {advice}, or lower log.keep", advice=alternative)
        if scarce
        else "",
    )


def _cache_folder() -> Path:
    from lmm_tui.user_folders import user_cache

    return user_cache()


def _colours(term: str) -> str:
    if os.environ.get("NO_COLOR"):
        return tr("no")
    if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return tr("16 million")
    return "256" if "256color" in term else "16"


def _surroundings() -> str:
    names = [
        name
        for name, present in (("tmux", capabilities.in_tmux()), ("ssh", capabilities.over_ssh()))
        if present
    ]
    return tr(", in {where}", where=tr(" over ").join(names)) if names else ""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        demo = [*_python(), *_packages(), *_terminal(), *_folder("runs", Path(folder), "…")]
    print(report(demo, 79))
    assert {result.topic for result in demo} >= {"python", "packages", "size", "runs"}
    print("=== 自测通过 ===")

"""What the floors below word, gathered from their code: each sentence with numbered places.

A string is followed through f-strings, sums, conditional expressions and local names; whatever
else stands in it is a place. It runs no code of theirs.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeGuard

from repository import ROOT

from lmm_tui.cockpit.widgets.run_header import BADGES
from lmm_tui.metrics.health.rules import SEVERITIES
from lmm_tui.runs.session import LOG_FILE

FLOORS = ("engine", "metrics", "data", "lmm_tui")
OWN = (
    "keys.py",
    "wandb_history.py",
    "wandb_messages.py",
    "series.py",
    "page_layout.py",
    "doctor.py",
    "doctor_checks.py",
    "progress_printer.py",
    # An agent is answered in English.
    "answers.py",
    "documentation.py",
    "run_access.py",
)
"""Files whose errors and texts are for programs, or worded in the language that is chosen."""
PLACE = "\0"

SPEAKERS = {
    "data/chat/whole_check.py": ("_note", "_endless_note", "_inside_note"),
    "data/preparation/build.py": ("_changed_note", "_replaced_note", "_large_note"),
    "data/text/dataset.py": ("shape_of",),
    "data/text/json_rows.py": ("refusal", "_loads"),
    "engine/stages/base.py": ("unused_note",),
    "engine/checkpoints/weights.py": (
        "_unknown_note",
        "_assumed_note",
        "_untied_note",
        "_renamed_note",
        "_computed_note",
        "_dtype_note",
    ),
    "engine/checkpoints/gguf_tokenizer.py": ("_contractions_note",),
    "engine/convert.py": ("_other_note",),
    "engine/training/commands.py": ("_pause", "_resume", "_checkpoint", "_probe", "_sample"),
    "engine/config/validation_message.py": ("validation_message", "_suggestion"),
    "engine/device.py": ("_described",),
    "engine/evaluation/local_tasks.py": ("_problem",),
    "engine/evaluation/process.py": ("_failure",),
    "engine/evaluation/report.py": ("_cut_note",),
    "engine/evaluation/evaluation_request.py": ("_evaluate", "_write_tasks"),
    "engine/instrument/hf_callback.py": ("_request_save",),
    "engine/instrument/rank_group.py": ("_failure_of",),
    "engine/instrument/script_run.py": ("_listen",),
    "engine/training/evaluations.py": ("start",),
    "engine/training/health_actions.py": ("apply",),
    "engine/training/live_model.py": ("validate",),
    "engine/training/preparation_pace.py": ("sentence",),
    "engine/training/rollback.py": ("roll_back_and_save", "roll_back_and_lower_lr"),
    "engine/run/run_dir.py": ("lock",),
    "engine/instrument/script_commands.py": ("hold", "checkpoint", "_resume", "_sample"),
    "engine/run/spike_files.py": ("_steps_in",),
    "engine/chat/chat_model.py": ("read",),
    "data/chat/template_child.py": ("_why",),
    "data/tokenizing/pattern_check.py": ("_trial",),
    "lmm_tui/runs/remote/mirror.py": ("_connect",),
    "metrics/health/verdict.py": ("_calm_words", "_trouble_words", "_before_that", "_end_words"),
    "engine/training/setting_changer.py": (
        "_sentence",
        "_with_rates",
        "_with_new",
        "_with_later",
        "_not_again",
        "_nothing",
    ),
    "engine/training/loop.py": ("_origin",),
    "lmm_tui/runs/remote/mirror_folder.py": ("tell_lost",),
    "lmm_tui/runs/remote/server.py": ("_odd",),
    "metrics/probes.py": ("_near",),
    "metrics/readers/event_files.py": ("notes",),
    "metrics/readers/foreign.py": ("notes",),
    "metrics/readers/trackio_log.py": ("notes",),
    "metrics/readers/unread.py": ("not_a_log", "_no_history", "nothing_read"),
    "metrics/readers/wandb_log.py": ("notes",),
}
"""Functions whose texts reach people otherwise than by the calls that are known here."""

OTHER_SPEECH = {"ValueError", "TemplateRefusal", "JsonError", "UsageError", "_refusal", "activity"}
"""What is told a sentence besides errors of ours and those who make them."""

CONSTANTS = ("EXPECTED", "DIVERGED", "_NO_ANSWER", "unit")
"""Names outside of functions that hold such texts."""

LOOSE = (
    *SEVERITIES,
    "above",
    "below",
    '"{0}", turn {1}',
    "exit code {0}",
    "loss is {0}, gradient norm {1}",
    "pause: paused",
    "pid {0} on {1} since {2}",
    "resume: running",
    "step {0}: {1}",
    "the engine crashed; resuming, attempt {0} of {1}",
    "the engine process ended before it began",
    "the engine was ended by {0}; resuming, attempt {1} of {2}",
    *(f"the run is {state}: nothing left to {{0}}" for state in BADGES if state != LOG_FILE),
    "{0} is -inf",
    "{0} is inf",
    "{0} is nan",
)
"""What is followed no further: it stands in tables, is joined to a list or comes from a file."""

Scope = dict[str, list[ast.expr]]


def told(text: str) -> str:
    """A text with its places numbered, as the catalogue has it; other braces are doubled."""
    if PLACE not in text:
        return text
    first, *rest = text.replace("{", "{{").replace("}", "}}").split(PLACE)
    return first + "".join(f"{{{at}}}{part}" for at, part in enumerate(rest))


def has_words(text: str) -> bool:
    """Whether there is anything to translate besides its places."""
    return bool(re.search("[^\\W\\d_]{2}", text))


def texts(node: ast.expr, scope: Scope) -> list[str]:
    """All that a string expression can be; places are PLACE."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            return _joined([texts(part, scope) for part in parts])
        case ast.FormattedValue(value=value, conversion=-1):
            return _known(value, scope)
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return _joined([texts(left, scope), texts(right, scope)])
        case ast.IfExp(body=body, orelse=orelse):
            return [*texts(body, scope), *texts(orelse, scope)]
        case ast.Name(id=name) if scope.get(name):
            return [text for value in scope[name] for text in texts(value, {**scope, name: []})]
        case ast.BoolOp(op=ast.Or(), values=values):
            return [text for value in values for text in texts(value, scope)]
    return [PLACE]


def _known(value: ast.expr, scope: Scope) -> list[str]:
    """What stands in a place, where it can only be one of a few texts; `where` is a place."""
    if not isinstance(value, ast.IfExp | ast.Name) or ast.unparse(value) == "where":
        return [PLACE]
    found = texts(value, scope)
    return found if all(text.strip(PLACE) or not text for text in found) else [PLACE]


def _joined(parts: list[list[str]]) -> list[str]:
    return ["".join(choice) for choice in itertools.product(*parts)]


@cache
def trees() -> dict[Path, ast.Module]:
    """Every module of the floors, without its self-test."""
    found = {}
    for floor in FLOORS:
        for file in sorted((ROOT / floor).rglob("*.py")):
            if file.name in OWN:
                continue
            tree = ast.parse(file.read_text("utf-8"))
            tree.body = [part for part in tree.body if not _is_self_test(part)]
            found[file.relative_to(ROOT)] = tree
    return found


def _is_self_test(part: ast.stmt) -> bool:
    return isinstance(part, ast.If) and ast.unparse(part.test).startswith("__name__")


@cache
def errors() -> frozenset[str]:
    """The names of all subclasses of LmmError."""
    classes = [
        node
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]
    known = {"LmmError"}
    while more := {
        one.name
        for one in classes
        if one.name not in known and any(_name(base) in known for base in one.bases)
    }:
        known |= more
    return frozenset(known)


def _name(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Each function of a module, those of classes and inner ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def scope_of(function: ast.FunctionDef) -> Scope:
    """The local names of a function that only ever stand for texts, with these."""
    given: Scope = {}
    grown = set()
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                given.setdefault(name, []).append(value)
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                for target, value in zip(names, values, strict=True):
                    given.setdefault(ast.unparse(target), []).append(value)
            case ast.AugAssign(target=ast.Name(id=name)):
                grown.add(name)
            case ast.For(target=target):
                given |= {name.id: [target] for name in ast.walk(target) if _is_name(name)}
    scope = {name: values for name, values in given.items() if all(map(_is_text, values))}
    for name in grown & scope.keys():
        scope[name] = [ast.BinOp(value, ast.Add(), ast.Constant(None)) for value in scope[name]]
    return scope


def _is_text(node: ast.expr) -> bool:
    match node:
        case ast.JoinedStr() | ast.Constant(value=str()):
            return True
        case ast.IfExp(body=body, orelse=orelse):
            return _is_text(body) or _is_text(orelse)
    return False


def _is_name(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name)


@cache
def said_by_floors() -> dict[str, str]:
    """Every sentence that the floors below word for people, with where it stands."""
    found = dict.fromkeys(LOOSE, "here and there")
    for file, tree in trees().items():
        speakers = SPEAKERS.get(str(file), ())
        spoken = [(node, {}) for node in _constants(tree)]
        for function in functions(tree):
            scope = scope_of(function)
            said = [*_said_in(function)]
            said += _worded_in(function, scope) if function.name in speakers else []
            spoken += [(node, scope) for node in said]
        for node, known in spoken:
            for text in itertools.chain(*(lines.split("\n") for lines in texts(node, known))):
                if has_words(text):
                    found[told(text)] = str(file)
    return found


def _constants(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ) if name in CONSTANTS:
                yield value


def _said_in(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """What a function gives to those who say it to people."""
    for node in ast.walk(function):
        match node:
            case ast.Call(func=called, args=args, keywords=keywords):
                given = {word.arg: word.value for word in keywords}
                yield from _said_to(ast.unparse(called), args, given)
            case ast.AugAssign(op=ast.Add(), value=value) if _is_text(value):
                yield value


def _worded_in(function: ast.FunctionDef, followed: Scope) -> Iterator[ast.expr]:
    """All that a function returns, or gives to a name that can't be followed to where it goes."""
    for node in ast.walk(function):
        match node:
            case ast.Return(value=ast.Tuple(elts=values)):
                yield from values
            case ast.Return(value=ast.expr() as value) | ast.Lambda(body=value):
                yield value
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                if PLACE in _known(ast.Name(name), followed):
                    yield value


def _said_to(
    called: str, args: list[ast.expr], given: dict[str | None, ast.expr]
) -> list[ast.expr]:
    """Those arguments of a call that are sentences."""
    name = called.rpartition(".")[2]
    if name in errors() or name in refusals() or name in OTHER_SPEECH:
        return args
    if name == "Reply" or (name == "write" and "step" in given):
        return args[1:2]
    if name in ("HealthFinding", "_tell_failure", "_try") or called.endswith("warnings.append"):
        return args[:1]
    if name.endswith("progress"):
        return args[:1]
    return [given["activity"]] if "activity" in given else []


@cache
def refusals() -> frozenset[str]:
    """The names of functions that make an error of what they are told."""
    return frozenset(
        function.name
        for tree in trees().values()
        for function in functions(tree)
        if function.returns and ast.unparse(function.returns) in errors()
    )

"""Health rules from a TOML file: switches rules off, tunes them, adds thresholds on any metric.

    [rules.slow]
    enabled = false
    [rules.loss_spike]
    sigmas = 8.0
    [thresholds.full]
    metric = "system/memory_gb"
    above = 7.0
    rows = 5
    advice = "halve train.batch_size, double train.grad_accum"

The keys of a rule are the fields of its condition.
"""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import read_text
from lmm_tui.message import os_reason
from lmm_tui.metrics.health.alert import SEVERITIES
from lmm_tui.metrics.health.metric_conditions import Threshold
from lmm_tui.metrics.health.rules import RULES, Rule

_RULE_KEYS = ("severity", "suspect", "advice", "calm")
_BOUND = re.compile(r"\s*(?P<metric>\S+)\s*(?P<side>[<>])\s*(?P<number>\S+)\s*")
_ROWS_OF_BOUND = 8


class HealthConfigError(LmmError):
    """A rules file, or a threshold on the command line, that cannot be used."""


def load_rules(path: Path, rules: Iterable[Rule] = RULES) -> tuple[Rule, ...]:
    """`rules` with the changes of the file. Raises HealthConfigError naming file and key."""
    try:
        given = tomllib.loads(read_text(path))
    except OSError as error:
        raise HealthConfigError(
            "{path}: {error}; name a readable TOML file", path=path, error=os_reason(error)
        ) from None
    except (ValueError, RecursionError) as error:
        raise HealthConfigError(
            "{path}: is not TOML ({error}); correct it", path=path, error=error
        ) from None
    known = {rule.name: rule for rule in rules}
    for table in given:
        if table not in ("rules", "thresholds"):
            raise HealthConfigError(
                "{path}: {table}: no such table; use rules or thresholds", path=path, table=table
            )
    for name, changes in _tables(path, given, "rules"):
        where = f"{path}: rules.{name}"
        if name not in known:
            raise HealthConfigError(
                "{where}: no such rule; the rules are {known}", where=where, known=[*known]
            )
        enabled = changes.pop("enabled", True)
        if not isinstance(enabled, bool):
            raise HealthConfigError(
                "{where}.enabled: is {enabled!r}; give true or false", where=where, enabled=enabled
            )
        rule = _tuned(where, known[name], changes)
        known[name] = rule
        if not enabled:
            del known[name]
    for name, changes in _tables(path, given, "thresholds"):
        where = f"{path}: thresholds.{name}"
        if name in known:
            raise HealthConfigError(
                "{where}: a rule has this name; choose another one", where=where
            )
        metric = changes.get("metric")
        if not isinstance(metric, str) or not {"above", "below"} & set(changes):
            raise HealthConfigError("{where}: give a metric, and above or below", where=where)
        plain = Rule(name, Threshold(metric), "warning", f"{metric} is out of bounds", "look at it")
        known[name] = _tuned(where, plain, changes)
    return tuple(known.values())


def rules_of(
    file: Path | None, bounds: Iterable[str] = (), rules: Iterable[Rule] = RULES
) -> tuple[Rule, ...]:
    """`rules` with the changes of a file, and one more for each of `bounds`: `METRIC > NUMBER`.

    Raises HealthConfigError.
    """
    return (load_rules(file, rules) if file else tuple(rules)) + tuple(map(_bound, bounds))


def _bound(text: str) -> Rule:
    """A rule on the mean of the last 8 values of a metric."""
    found = _BOUND.fullmatch(text)
    try:
        limit = float(found["number"]) if found else math.nan
    except ValueError:
        limit = math.nan
    if found is None or math.isnan(limit):
        raise HealthConfigError(
            "{text}: is no threshold; write one like 'system/memory_gb > 7'", text=text
        )
    side = "above" if found["side"] == ">" else "below"
    condition = Threshold(found["metric"], rows=_ROWS_OF_BOUND, **{side: limit})
    return Rule(text, condition, "warning", f"{found['metric']} is out of bounds", "look at it")


def _tables(path: Path, given: dict[str, Any], kind: str) -> list[tuple[str, dict[str, Any]]]:
    tables = given.get(kind, {})
    for name, changes in tables.items() if isinstance(tables, dict) else [("", None)]:
        if not isinstance(changes, dict):
            raise HealthConfigError(
                "{path}: {kind}.{name}: is no table; write [{kind}.NAME]",
                path=path,
                kind=kind,
                name=name,
            )
    return [(name, dict(changes)) for name, changes in tables.items()]


def _tuned(where: str, rule: Rule, changes: dict[str, Any]) -> Rule:
    condition: Any = rule.condition
    fields = [field.name for field in dataclasses.fields(condition) if field.init]
    for key, value in changes.items():
        if key not in fields and key not in _RULE_KEYS:
            raise HealthConfigError(
                "{where}.{key}: no such key; use {keys}",
                where=where,
                key=key,
                keys=[*fields, *_RULE_KEYS],
            )
        _check(f"{where}.{key}", key, value, getattr(rule if key in _RULE_KEYS else condition, key))
    of_rule = {key: value for key, value in changes.items() if key in _RULE_KEYS}
    of_condition = {key: value for key, value in changes.items() if key not in _RULE_KEYS}
    return dataclasses.replace(
        rule, condition=dataclasses.replace(condition, **of_condition), **of_rule
    )


def _check(where: str, key: str, value: object, now: object) -> None:
    if key == "severity":
        if value not in SEVERITIES:
            raise HealthConfigError(
                "{where}: is {value!r}; use {severities}",
                where=where,
                value=value,
                severities=[*SEVERITIES],
            )
    elif isinstance(now, str):
        if not isinstance(value, str):
            raise HealthConfigError("{where}: is {value!r}; give a text", where=where, value=value)
    elif isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise HealthConfigError("{where}: is {value!r}; give a number", where=where, value=value)
    elif isinstance(now, int) and (not isinstance(value, int) or value < 1):
        raise HealthConfigError(
            "{where}: is {value!r}; give a whole number from 1", where=where, value=value
        )


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "health.toml"
        file.write_text('[rules.slow]\nenabled=false\n[thresholds.hot]\nmetric="t"\nabove=85\n')
        print(*(rule.name for rule in load_rules(file)))
    print("=== 自测通过 ===")

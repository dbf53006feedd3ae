"""Regular expressions of a foreign config: compiled and matched once within a time limit.

Python's `re` takes exponential time for some expressions, and nothing interrupts it within its own
process.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from align.adapters.foreign.targets import layer_rule
from align.adapters.tensors import name_rule
from align.errors import AdapterError

SECONDS = 10
#: Of a pattern, and of patterns by module, in a config.
MOST_CHARACTERS, MOST_PATTERNS = 2**14, 2**12

#: Without repetitions, choices or groups: matched in linear time.
_PLAIN = re.compile(r"[\w.^$\\-]*")

#: Says each rule's number before it is matched; what it says last is what it could not do.
_MATCH = """
import json, re, sys
rules, modules = json.load(sys.stdin)
for number, (method, rule) in enumerate(rules):
    print(number, flush=True)
    matches = getattr(re.compile(rule), method)
    for module in modules:
        matches(module)
"""


def check_regular(folder: Path, option: str, pattern: str) -> None:
    """AdapterError if a pattern is too long, or no regular expression."""
    if len(pattern) > MOST_CHARACTERS:
        raise AdapterError(
            f"{folder}: {option}: a pattern of {len(pattern)} characters; allowed: "
            f"{MOST_CHARACTERS}"
        )
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise AdapterError(
            f"{folder}: {option}: '{pattern[:60]}' is no regular expression: {error}"
        ) from None


def check_matching(folder: Path, config: Mapping[str, Any], modules: Iterable[str]) -> None:
    """AdapterError if a pattern cannot be matched with the names of `modules` within `SECONDS`.

    The config's patterns are matched as `targets.is_targeted` and `tensors.by_pattern` do it, in a
    process of their own, which is started only if one is more than a name.
    """
    rules = list(_rules(config))
    if all(_PLAIN.fullmatch(pattern) for _, pattern, _, _ in rules):
        return
    given = json.dumps([[(method, rule) for _, _, method, rule in rules], list(modules)])
    command = [sys.executable, "-I", "-S", "-c", _MATCH]
    try:
        subprocess.run(
            command, input=given.encode(), capture_output=True, timeout=SECONDS, check=True
        )
    except subprocess.TimeoutExpired as error:
        raise _refusal(
            folder, rules, error.stdout, f"takes over {SECONDS} s to match; write it without "
            "repetitions of repetitions, or name the modules"
        ) from None  # fmt: skip
    except subprocess.CalledProcessError as error:
        cause = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise _refusal(folder, rules, error.stdout, f"cannot be matched: {cause[:120]}") from None


def _refusal(
    folder: Path, rules: list[tuple[str, str, str, str]], said: bytes | None, why: str
) -> AdapterError:
    started = (said or b"").split()
    option, pattern, _, _ = rules[int(started[-1]) if started else 0]
    return AdapterError(f"{folder}: {option}: '{pattern[:60]}' {why}")


def _rules(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Of each pattern: its option, itself, the method of `re.Pattern`, the whole expression."""
    for option in ("target_modules", "exclude_modules"):
        if isinstance(pattern := config.get(option), str):
            yield option, pattern, "fullmatch", pattern
    layers = config.get("layers_pattern") or []
    for pattern in [layers] if isinstance(layers, str) else layers:
        yield "layers_pattern", pattern, "match", layer_rule(pattern)
    for option in ("rank_pattern", "alpha_pattern"):
        for pattern in config.get(option) or {}:
            yield option, pattern, "match", name_rule(pattern)

"""Names of adapters: `line`, `line:number`, `line@alias`, with line = `<recipe>/<stage>`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cluster.errors import RegistryError

CHAMPION = "champion"

_LINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")

FORMS = "expected <recipe>/<stage>:<number>, <recipe>/<stage>@<alias> or <recipe>/<stage>"


def adapter_key(identity: str) -> str:
    """Storage key of a registered adapter, by its id."""
    return f"adapters/{identity}"


@dataclass(frozen=True)
class Name:
    """A parsed name: either a number or an alias is set."""

    line: str
    number: int | None = None
    alias: str | None = None


def parse_name(text: str) -> Name:
    """`line:3`, `line@alias`, or `line`, which means `line@champion`. RegistryError otherwise."""
    line, colon, number = text.partition(":")
    if colon and _LINE.fullmatch(line) and _NUMBER.fullmatch(number):
        return Name(line, number=int(number))
    line, at, alias = text.partition("@")
    if not at:
        alias = CHAMPION
    if _LINE.fullmatch(line) and _ALIAS.fullmatch(alias):
        return Name(line, alias=alias)
    raise RegistryError(f"'{text}' is no adapter name; {FORMS}")


def check_line(line: str) -> str:
    """RegistryError unless `line` may name a line of adapters."""
    if not _LINE.fullmatch(line) or len(line) > 128:
        raise RegistryError(
            f"'{line}' cannot name a line; expected <recipe>/<stage>, e.g. arithmetic/sft: "
            "letters, digits, - _ . and one slash, at most 128 characters"
        )
    return line


def check_alias(alias: str) -> str:
    """RegistryError unless `alias` may name an alias."""
    if not _ALIAS.fullmatch(alias) or len(alias) > 64:
        raise RegistryError(
            f"'{alias}' cannot name an alias; expected e.g. champion: a letter, then letters, "
            "digits, - _ ., at most 64 characters"
        )
    return alias

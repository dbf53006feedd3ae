"""Patterns of a foreign config take bounded time, whatever stands in them."""

from pathlib import Path
from typing import Any

import pytest

from align.adapters.foreign import locate, patterns, read_foreign
from align.errors import AdapterError
from tests.align.adapters.foreign.hand_made import BASE, write

ENDLESS = r"(([a-z0-9_.])+)+!"


@pytest.mark.parametrize(
    "entries",
    [
        {"target_modules": ENDLESS},
        {"exclude_modules": ENDLESS},
        {"rank_pattern": {"q_proj": 2, ENDLESS: 2}, "alpha_pattern": {ENDLESS: 3}},
        {"layers_to_transform": [0], "layers_pattern": ENDLESS},
    ],
    ids=str,
)
def test_a_pattern_that_never_ends_is_refused_by_its_option(
    tmp_path: Path, entries: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 1)
    option = next(name for name in entries if name != "layers_to_transform")
    with pytest.raises(AdapterError) as refused:
        read_foreign(locate(write(tmp_path / "theirs", **entries)), BASE, 128)
    assert f"{option}: '{ENDLESS}' takes over 1 s" in str(refused.value)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"target_modules": "(" * 5000 + "q" + ")" * 5000}, "is no regular expression"),
        ({"target_modules": "a{99999999999999999999}"}, "is no regular expression"),
        ({"target_modules": "a" * 20000}, "a pattern of 20000 characters; allowed: 16384"),
        ({"rank_pattern": {f"m{n}": 2 for n in range(5000)}}, "5000 patterns; allowed: 4096"),
        ({"rank_pattern": {"(?i)q_proj": 2}}, "'(?i)q_proj' cannot be matched: re."),
        (
            {"layers_to_transform": [0], "layers_pattern": "(?P<index>layers)"},
            "layers_pattern: '(?P<index>layers)' cannot be matched",
        ),
    ],
)
def test_patterns_that_only_fail_later_are_refused_by_name(
    tmp_path: Path, entries: dict[str, Any], said: str
) -> None:
    with pytest.raises(AdapterError) as refused:
        read_foreign(locate(write(tmp_path / "theirs", **entries)), BASE, 128)
    assert said in str(refused.value)


def test_ordinary_patterns_are_matched_as_before(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "theirs",
        target_modules=r".*\.(q|v)_proj",
        exclude_modules=r".*\.mlp\..*",
        rank_pattern={r"layers\.\d+\.self_attn\.(q|k)_proj": 2},
        r=5,
    )
    assert read_foreign(locate(folder), BASE, 128).factors.rank == 2

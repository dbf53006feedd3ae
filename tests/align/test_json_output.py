"""JSON as the commands print it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from align.json_output import print_json


def test_a_value_is_printed_indented_and_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"name": "Zoë", "metrics": [0.5, None, True]}
    print_json(value)
    out, err = capsys.readouterr()
    assert json.loads(out) == value and not err
    assert out.startswith('{\n  "name": "Zoë"') and out.endswith("}\n")


def test_times_are_iso_8601(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)})
    assert json.loads(capsys.readouterr().out) == {"at": "2026-01-02T03:04:05+00:00"}


def test_what_json_does_not_have_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TypeError, match="PosixPath is no JSON value"):
        print_json({"folder": Path("/tmp")})
    assert not capsys.readouterr().out

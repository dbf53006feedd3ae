"""`alignery sweep report`, as typed: where the page stands and what is said of it."""

import json

import pytest
from typer.testing import CliRunner

import alignery


def call(*arguments):
    return CliRunner().invoke(alignery.app, ["sweep", "report", *arguments])


@pytest.fixture
def run(launch):
    return launch("sft")


def test_the_page_stands_beside_the_caller_or_where_it_is_told_to(run, tmp_path):
    assert call().exit_code == 0
    assert (tmp_path / "report-toy" / "index.html").is_file()
    told = json.loads(call("toy", "--out", "deep/mine", "--json").stdout)
    assert told["page"] == "deep/mine/index.html" and told["stages"] == []
    assert sorted(told["files"]) == sorted(
        one.name for one in (tmp_path / "deep" / "mine").iterdir()
    )


def test_before_the_first_sweep_it_says_so(settings, tmp_path):
    result = call()
    assert result.exit_code == 2 and "no sweep was run yet" in result.stderr
    assert not (tmp_path / "report-toy").exists()

"""`alignery bench engine --predict` as a person types it."""

import json

import pytest
from typer.testing import CliRunner

import alignery
from tests.align.shapes import QWEN


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(QWEN))
    return str(path)


def predict(*arguments):
    return CliRunner().invoke(alignery.app, ["bench", "engine", "--predict", *arguments])


def test_a_built_in_base_is_predicted_without_a_measurement():
    result = predict("t4")
    assert result.exit_code == 0, result.stderr
    assert "smollm2-135m-instruct: 134.5 million weights in float16" in result.stdout
    assert "Tokens a second of the engine on a T4" in result.stdout
    assert "rank 16" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_json_has_every_case(config):
    result = predict("L4", "--config", config, "--rank", "64", "--json")
    assert result.exit_code == 0, result.stderr
    shown = json.loads(result.stdout)
    assert (shown["base"], shown["gpu"], shown["dtype"]) == (config, "L4", "bfloat16")
    assert shown["rank"] == 64 and "rank 64" in shown["assumptions"][0]
    cases = {(one["kind"], one["rows"], one["adapters"]) for one in shown["predictions"]}
    assert cases == {
        (kind, rows, adapters)
        for kind in ("graphs", "eager", "prompts")
        for rows in (1, 8, 32)
        for adapters in (0, 1, 16)
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["T5"], "unknown GPU 'T5'; allowed: T4, L4"),
        (["T4", "--quick", "--tokens", "4"], "measures nothing: leave --tokens, --quick out"),
        (["T4", "--config", "missing.json"], "missing.json"),
        (["T4", "--base", "./nowhere"], "no such folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line(arguments, message):
    result = predict(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_its_options_need_it(config):
    result = CliRunner().invoke(alignery.app, ["bench", "engine", "--config", config])
    assert result.exit_code == 2
    assert "used with --predict alone" in result.stderr

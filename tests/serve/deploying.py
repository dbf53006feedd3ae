"""`alignery serve deploy`, as typed, and the config that it would send."""

from __future__ import annotations

from typing import Any

import yaml
from typer.testing import CliRunner

from serve.commands import serve_app
from tests.serve.real_adapters import BASE

NOWHERE = "http://127.0.0.1:1"


def invoke(*arguments: str) -> Any:
    """A command's result, its failure as it is raised."""
    return CliRunner().invoke(serve_app, list(arguments), catch_exceptions=False)


def drafted(*options: str) -> dict[str, Any]:
    """The config that `deploy` would send."""
    result = invoke("deploy", "--base", BASE, *options, "--write", "-")
    assert result.exit_code == 0, result.output
    return dict(yaml.safe_load(result.stdout))

"""Where an endpoint starts, and where not."""

from __future__ import annotations

import pytest

from serve.errors import ServeError
from tests.serve.real_adapters import BASE


@pytest.mark.parametrize(
    ("mode", "host", "trusted", "starts"),
    [
        ("token", "10.0.0.7", False, True),
        ("", "10.0.0.7", False, False),
        ("disabled", "10.0.0.7", False, False),
        ("", "127.0.0.1", False, True),
        ("", "10.0.0.7", True, True),
    ],
)
def test_an_endpoint_starts_on_a_closed_ray_alone(
    mode: str, host: str, trusted: bool, starts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serve.app import build

    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: host)
    args = {"base": BASE, "trust_network": trusted}
    if starts:
        build(args)
    else:
        with pytest.raises(ServeError, match=r"can run code .*trust_network to true"):
            build(args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"base": ""}, "at least 1 character"),
        ({"gpus": 1.5}, "whole GPUs"),
        ({"gpus": -1}, "greater than or equal to 0"),
        ({"replicas": 3, "most_replicas": 2}, "most_replicas is 2, and replicas 3"),
        ({"accelerator": "T44"}, "did you mean 'T4'"),
        ({"slot": 3}, "Extra inputs"),
        ({"drain_seconds": float("inf")}, "finite"),
    ],
)
def test_arguments_that_make_no_endpoint(args, message):
    from serve.app import AppArgs

    with pytest.raises(ValueError, match=message):
        AppArgs(**{"base": BASE, **args})


def test_an_endpoint_serves_the_installation_it_is_told_and_else_its_machines(
    monkeypatch, tmp_path
):
    from serve.app import AppArgs

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGNERY_HOME", str(tmp_path / "mine"))
    monkeypatch.setenv("ALIGNERY_STORAGE", str(tmp_path / "bucket"))
    settings = AppArgs(base=BASE, home=str(tmp_path / "theirs")).settings()
    assert settings.home == tmp_path / "theirs"
    assert settings.storage == str(tmp_path / "bucket")

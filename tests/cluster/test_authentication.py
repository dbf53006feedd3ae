"""A dashboard that asks everybody, or nobody, for a token; and who reaches it."""

from __future__ import annotations

import socket

import pytest

from cluster.authentication import (
    check_dashboard_token,
    check_token,
    reached_from_outside,
)
from cluster.errors import ClusterError
from tests.fake_dashboard import Dashboard
from tests.fake_proxy import Proxy


def test_the_right_token_is_let_in(dashboard: Dashboard, capsys) -> None:
    dashboard.token = "right"
    mine = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "right"}
    assert check_dashboard_token(dashboard.address, mine)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "wants a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"),
        ({"RAY_AUTH_TOKEN": "right"}, "wants a token: set RAY_AUTH_MODE=token"),
        ({"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "right"}, "RAY_AUTH_MODE=disabled here"),
        (
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "wrong"},
            "does not accept the token of RAY_AUTH_TOKEN, it has another one",
        ),
    ],
)
def test_no_token_or_another_is_one_line_that_says_what_to_set(
    dashboard: Dashboard, environment: dict[str, str], said: str
) -> None:
    dashboard.token = "right"
    with pytest.raises(ClusterError, match=f"{dashboard.address} .*{said}") as error:
        check_dashboard_token(dashboard.address, environment)
    assert "right" not in str(error.value) and "wrong" not in str(error.value)


def test_a_token_is_not_sent_to_who_asks_for_none(dashboard: Dashboard) -> None:
    mine = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "right"}
    assert not check_dashboard_token(dashboard.address, mine)
    assert set(dashboard.seen) == {""}


def test_a_tunnel_does_not_hide_who_reaches_a_cluster(dashboard: Dashboard) -> None:
    assert not reached_from_outside(dashboard.address)
    dashboard.ips = ["127.0.0.1", "10.0.0.7"]
    assert reached_from_outside(dashboard.address)
    assert reached_from_outside("http://ray.example.com:8265")


def test_a_ray_that_does_not_answer_is_not_taken_for_an_open_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ClusterError, match=f"the Ray at {address} does not answer"):
            check_token(address, {"RAY_AUTH_MODE": "disabled"})


def test_tokens_reach_a_local_dashboard_past_the_environments_proxy(
    dashboard: Dashboard, proxy: Proxy
) -> None:
    dashboard.token = "right"
    mine = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "right"}
    assert check_dashboard_token(dashboard.address, mine)
    dashboard.token = None
    assert not reached_from_outside(dashboard.address) and proxy.seen == []


def test_tokens_reach_a_local_ray_past_the_environments_proxy(proxy: Proxy) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))  # bound, but nobody listens
        with pytest.raises(ClusterError, match="does not answer"):
            check_token(f"127.0.0.1:{listening.getsockname()[1]}", {"RAY_AUTH_TOKEN": "sesame"})
    assert proxy.seen == []


def test_a_ray_elsewhere_is_asked_by_the_environments_proxy(proxy: Proxy) -> None:
    with pytest.raises(ClusterError, match="does not answer"):
        check_token("head.example.com:6379", {"RAY_AUTH_TOKEN": "sesame"})
    assert proxy.seen and proxy.seen[0].startswith("CONNECT head.example.com:6379 ")

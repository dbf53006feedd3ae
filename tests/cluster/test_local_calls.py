"""Calls to this machine go past the proxies of the environment, all others by them."""

from __future__ import annotations

import os
import socket
from urllib.error import HTTPError
from urllib.request import Request

import psutil
import pytest
import requests

from cluster.local_calls import is_local, is_loopback, needs_proxy_off, open_url, past_proxies
from tests.fake_dashboard import Dashboard
from tests.fake_proxy import Proxy

GRPC = "no_grpc_proxy"
ELSEWHERE = "http://head.example.com:8265/api/version"
OWN = [
    address.address
    for addresses in psutil.net_if_addrs().values()
    for address in addresses
    if address.family == socket.AF_INET
]


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LocalHost.", "api.localhost", "127.0.0.1", "127.8.9.10", "0.0.0.0"),
        *("::1", "[::1]", "::ffff:127.0.0.1", socket.gethostname(), *OWN),
    ],
)
def test_this_machine_is_known_by_all_its_names(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", ["10.255.0.1", "head", "localhost.example.com", "fe80::9", ""])
def test_another_machine_is_not_local(host: str) -> None:
    assert not is_local(host)


def test_only_loopback_is_closed_to_other_machines() -> None:
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("head")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_nothing_that_is_asked_of_this_machine_reaches_a_proxy(
    host: str, proxy: Proxy, dashboard: Dashboard
) -> None:
    url = f"http://{host}:{dashboard.server_port}/api/version"
    with open_url(Request(url, headers={"Authorization": "Bearer sesame"}), timeout=10) as answer:
        assert answer.status == 200
    assert dashboard.seen == ["Bearer sesame"] and proxy.seen == []


def test_what_is_asked_of_another_machine_goes_by_the_proxy(proxy: Proxy) -> None:
    with pytest.raises(HTTPError, match="502"):
        open_url(ELSEWHERE, timeout=10)
    (seen,) = proxy.seen
    assert seen.startswith(f"GET {ELSEWHERE} ")


def test_libraries_that_read_the_environment_go_past_the_proxy_within_the_block(
    proxy: Proxy, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "intern.example.com")
    url = f"{dashboard.address}/api/version"
    assert requests.get(url, timeout=10).status_code == 502
    proxy.seen.clear()
    with past_proxies("127.0.0.1"):
        assert requests.get(url, timeout=10).status_code == 200
        assert requests.get(ELSEWHERE, timeout=10).status_code == 502
        assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "intern.example.com,127.0.0.1"
    assert [seen.split()[1] for seen in proxy.seen] == [ELSEWHERE]
    assert os.environ["NO_PROXY"] == "intern.example.com" and "no_proxy" not in os.environ


def test_a_proxy_stays_for_other_hosts_and_a_star_stays_a_star(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with past_proxies("head.example.com"):
        assert "no_proxy" not in os.environ
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv(GRPC, "a.example.com")
    with past_proxies("[::1]"):
        assert os.environ["no_proxy"] == "*"
        assert os.environ[GRPC] == "a.example.com,::1"


def test_a_program_needs_its_proxy_switched_off_where_the_environment_does_not(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert needs_proxy_off("http://127.0.0.1:8000")
    assert not needs_proxy_off("http://head.example.com:8000")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    assert not needs_proxy_off("http://127.0.0.1:8000")
    for name in proxy.environment:
        monkeypatch.delenv(name)
    monkeypatch.delenv("no_proxy")
    assert not needs_proxy_off("http://127.0.0.1:8000")

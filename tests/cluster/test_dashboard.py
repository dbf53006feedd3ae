"""Which clusters get code, by what their dashboards answer."""

from __future__ import annotations

import pytest
import requests

from cluster.dashboard import check_cluster, connected
from cluster.errors import ClusterError
from tests.fake_dashboard import Dashboard
from tests.fake_proxy import Proxy


def test_what_is_no_dashboard_is_not_taken_for_an_open_one(dashboard: Dashboard) -> None:
    dashboard.status = 502
    with pytest.raises(ClusterError, match="says 502 where Ray lists its jobs"):
        check_cluster(dashboard.address, trust_network=True)


def test_an_open_cluster_is_warned_of_once_and_gets_no_code(dashboard: Dashboard, capsys) -> None:
    dashboard.ips = ["10.0.0.7"]
    with pytest.raises(ClusterError, match=r"asks nobody for a token: whoever .* can run code.*"):
        check_cluster(dashboard.address, trust_network=False)
    for _ in range(2):
        check_cluster(dashboard.address, trust_network=True)
    warned = capsys.readouterr().err
    assert warned.startswith(f"warning: the Ray at {dashboard.address} asks nobody for a token")
    assert warned.count("\n") == 1 and "RAY_AUTH_MODE=token" in warned


def test_an_open_cluster_that_only_this_machine_reaches_may_have_it(
    dashboard: Dashboard, capsys
) -> None:
    check_cluster(dashboard.address, trust_network=False)
    assert "asks nobody for a token" in capsys.readouterr().err


def test_rays_client_of_jobs_goes_past_the_environments_proxy(
    dashboard: Dashboard, proxy: Proxy
) -> None:
    def listed(address: str) -> int:
        return requests.get(f"{address}/api/jobs/", timeout=10).status_code

    with connected(dashboard.address, listed) as at_once:
        assert (at_once, listed(dashboard.address)) == (200, 200)
    assert proxy.seen == []


def test_a_cluster_elsewhere_is_reached_by_the_environments_proxy(proxy: Proxy) -> None:
    address = "http://head.example.com:8265"
    with pytest.raises(ClusterError, match="says 502"):
        check_cluster(address)
    assert proxy.seen and all(address in seen for seen in proxy.seen)

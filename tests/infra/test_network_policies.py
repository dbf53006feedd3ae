"""Who reaches which port: Ray's are for the pods of one cluster alone."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.infra.manifests import (
    CLUSTER,
    JOB,
    KUBERAY,
    Manifest,
    broken,
    cluster_specs,
    identity,
    rendered,
)
from tests.infra.policies import (
    NAMESPACE,
    Pod,
    guards,
    pods_of,
    policies_of,
    policy_complaints,
    reaches,
    rules_of,
    selects,
)

FOLDERS = ["cluster", "generic", "redis", "job", "service"]
#: What each folder makes, and all that may be in one namespace together.
MADE = {folder: list(rendered(folder).values()) for folder in FOLDERS}
TOGETHER = list({**rendered("redis"), **rendered("job"), **rendered("service")}.values())
POLICIES = policies_of(TOGETHER)
PODS = pods_of(TOGETHER)
REDIS = PODS["alignery-redis"]
RAY = {name: pod for name, pod in PODS.items() if pod is not REDIS}
#: GCS, dashboard, Ray's client, metrics, agent, endpoint, and one that a replica may get.
PORTS = [6379, 8265, 10001, 8080, 52365, 8000, 40123]
LABEL = "alignery.dev/cluster"

OPERATOR = Pod({"app.kubernetes.io/component": "kuberay-operator"}, "kuberay")
SUBMITTER = Pod(
    {
        "ray.io/originated-from-crd": "RayJob",
        "ray.io/originated-from-cr-name": JOB["metadata"]["name"],
    }
)
#: Pods that have no business with Ray, some of which claim labels of those that have.
STRANGERS = {
    "a pod beside": Pod({"app.kubernetes.io/name": "website"}),
    "a Ray cluster of somebody else": Pod(
        {"ray.io/is-ray-node": "yes", "ray.io/node-type": "head", "ray.io/cluster": "other"}
    ),
    "another RayJob's submitter": Pod({**SUBMITTER.labels, "ray.io/originated-from-cr-name": "x"}),
    "an operator beside": Pod(OPERATOR.labels),
    "a pod beside the operator": Pod({}, OPERATOR.namespace),
    **{f"{pod.labels[LABEL]} elsewhere": Pod(pod.labels, "elsewhere") for pod in RAY.values()},
}


def cluster_of(name: str) -> str:
    return name.partition("/")[0]


def open_ports(source: Pod, target: Pod) -> list[int]:
    return [port for port in PORTS if reaches(POLICIES, source, target, port)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_cluster_asks_for_a_token(folder: str) -> None:
    (spec,) = [spec for one in MADE[folder] for spec in cluster_specs(one)]
    assert spec["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize("policy", POLICIES, ids=lambda one: str(one["metadata"]["name"]))
def test_every_policy_is_what_its_kind_allows(policy: Manifest) -> None:
    assert policy_complaints(policy) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("spec/podSelectors", {}, "podSelectors"),
        ("spec/podSelector/matchLabel", {}, "matchLabel"),
        ("spec/policyTypes", [], "policyTypes"),
        ("spec/ingress/0/form", [], "form"),
        ("spec/ingress/0/from/0/podSelectors", {}, "podSelectors"),
        ("spec/ingress/0/ports/0/port", [], "port"),
    ],
)
def test_the_form_of_a_policy_is_checked(path: str, value: Any, said: str) -> None:
    (redis,) = [one for one in POLICIES if one["metadata"]["name"] == "alignery-redis"]
    said_of_it = policy_complaints(broken(redis, path, value))
    assert any(said in one for one in said_of_it), said_of_it


def unguarded(made: list[Manifest]) -> list[str]:
    """The pods that no policy selects, which therefore accept everything."""
    policies = policies_of(made)
    return [name for name, pod in pods_of(made).items() if not guards(policies, pod)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_pod_is_selected_by_a_policy(folder: str) -> None:
    assert pods_of(MADE[folder])
    assert unguarded(MADE[folder]) == []


def mutated(folder: str, kind: str, path: str, value: Any) -> list[Manifest]:
    """What a folder makes, where `path` of the manifest of this kind is `value`."""
    return [broken(one, path, value) if one["kind"] == kind else one for one in MADE[folder]]


@pytest.mark.parametrize(
    ("folder", "kind", "path"),
    [
        ("cluster", "RayCluster", "spec"),
        ("job", "RayJob", "spec/rayClusterSpec"),
        ("service", "RayService", "spec/rayClusterConfig"),
    ],
)
@pytest.mark.parametrize("value", [{}, {"labels": {LABEL: "others"}}])
def test_a_group_without_the_label_is_found(
    folder: str, kind: str, path: str, value: dict[str, Any]
) -> None:
    for place in ("headGroupSpec", "workerGroupSpecs/0", "workerGroupSpecs/1"):
        made = mutated(folder, kind, f"{path}/{place}/template/metadata", value)
        found = {name for name in unguarded(made) if not name.endswith("/redis-cleanup")}
        assert len(found) == 1


def test_a_group_that_is_added_without_the_label_is_found() -> None:
    group = {"groupName": "new", "template": {"spec": {"containers": []}}}
    groups = [*CLUSTER["spec"]["workerGroupSpecs"], group]
    made = mutated("cluster", "RayCluster", "spec/workerGroupSpecs", groups)
    assert unguarded(made) == ["RayCluster/new"]


def test_a_folder_without_its_policies_is_found() -> None:
    made = [one for one in MADE["cluster"] if one["kind"] != "NetworkPolicy"]
    assert set(unguarded(made)) == set(pods_of(made))


@pytest.mark.parametrize("target", RAY)
def test_the_pods_of_a_cluster_reach_one_another_on_any_port(target: str) -> None:
    own = [name for name in RAY if cluster_of(name) == cluster_of(target)]
    assert len(own) >= 3
    for source in own:
        assert open_ports(RAY[source], RAY[target]) == PORTS, source


def is_of_the_endpoint(name: str) -> bool:
    """Whether requests come to this pod: RayService's workers, not its head."""
    return cluster_of(name) == "RayService" and RAY[name].labels["ray.io/node-type"] == "worker"


@pytest.mark.parametrize("target", RAY)
def test_no_other_pod_reaches_more_than_the_endpoint(target: str) -> None:
    others = {name: pod for name, pod in PODS.items() if cluster_of(name) != cluster_of(target)}
    for name, source in {**others, **STRANGERS}.items():
        expected = [8000] if is_of_the_endpoint(target) else []
        assert open_ports(source, RAY[target]) == expected, name


@pytest.mark.parametrize("target", RAY)
def test_the_operator_and_the_submitter_reach_dashboards_that_they_use(target: str) -> None:
    kind, _, name = target.partition("/")
    endpoint = [8000] if is_of_the_endpoint(target) else []
    # A plain RayCluster's dashboard has no work for the operator.
    expected = [8265] if name == "head" and kind in ("RayJob", "RayService") else endpoint
    assert open_ports(OPERATOR, RAY[target]) == expected
    expected = [8265] if target == "RayJob/head" else endpoint
    assert open_ports(SUBMITTER, RAY[target]) == expected


@pytest.mark.parametrize("name", RAY)
def test_redis_is_for_heads_with_their_state_there(name: str) -> None:
    users = {"RayCluster/head", "RayService/head"}
    users |= {"RayCluster/redis-cleanup", "RayService/redis-cleanup"}
    assert users < set(RAY)
    assert open_ports(RAY[name], REDIS) == ([6379] if name in users else [])


def test_redis_is_for_nobody_else() -> None:
    for name, source in {**STRANGERS, "operator": OPERATOR, "submitter": SUBMITTER}.items():
        assert open_ports(source, REDIS) == [], name


def test_only_the_endpoint_is_open_to_everybody() -> None:
    anybody = [(policy, rule) for policy, rule in rules_of(POLICIES) if not rule.get("from")]
    ((policy, rule),) = anybody
    assert identity(policy) in rendered("service")
    assert rule == {"ports": [{"protocol": "TCP", "port": 8000}]}


def test_a_rule_for_every_port_is_for_pods_of_the_same_cluster() -> None:
    whole = [(policy, rule) for policy, rule in rules_of(POLICIES) if not rule.get("ports")]
    assert len(whole) == 3  # RayCluster, RayJob, RayService
    for policy, rule in whole:
        selector = policy["spec"]["podSelector"]
        assert selector.keys() == {"matchLabels"} and selector["matchLabels"].keys() == {LABEL}
        assert rule == {"from": [{"podSelector": selector}]}


def test_two_kinds_never_have_one_label() -> None:
    labels = {cluster_of(name): set[str]() for name in RAY}
    for name, pod in RAY.items():
        labels[cluster_of(name)].add(pod.labels[LABEL])
    assert labels == {"RayCluster": {"sweeps"}, "RayJob": {"job"}, "RayService": {"endpoint"}}


def test_ports_in_rules_are_those_that_containers_declare() -> None:
    for policy, rule in rules_of(POLICIES):
        selector = policy["spec"]["podSelector"]
        selected = [pod for pod in PODS.values() if selects(selector, pod.labels)]
        assert selected, policy["metadata"]["name"]
        for port in rule.get("ports", ()):
            assert port["protocol"] == "TCP"
            assert all(port["port"] in pod.ports for pod in selected), policy["metadata"]["name"]


def test_the_operator_is_installed_where_the_policies_look_for_it() -> None:
    text = (KUBERAY / "README.md").read_text(encoding="utf-8")
    assert OPERATOR.namespace != NAMESPACE
    assert re.search(rf"helm install kuberay-operator [^`]*--namespace {OPERATOR.namespace} ", text)

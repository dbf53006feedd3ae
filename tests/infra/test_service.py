"""The endpoint on Kubernetes: what it serves fits its cluster, and it goes on without the head."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from cluster.ray import _LOCAL
from serve.app import AppArgs, _scale
from serve.deployment.config import check_config
from serve.errors import ServeError
from tests.infra.manifests import (
    CLUSTER,
    JOB,
    PODS,
    SERVICE,
    SPECS,
    Manifest,
    broken,
    complaints,
    groups,
    pods,
    rendered,
)

SPEC = SERVICE["spec"]
RAY = SPECS["service"]
TEXT = SPEC["serveConfigV2"]
CONFIG = yaml.safe_load(TEXT)
(APPLICATION,) = CONFIG["applications"]
#: Not checked here: a test below does, and says what is wrong.
ARGS = AppArgs.model_construct(**APPLICATION["args"])
OPTIONS = {one["name"]: one for one in APPLICATION["deployments"]}
WORKERS = {name: pod for name, pod in pods(RAY).items() if name != "head"}
#: After so long without a head a worker ends, as the operator sets it (KubeRay: the default of
#: RAY_gcs_rpc_server_reconnect_timeout_s for workers).
WORKERS_WAIT = 600


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("spec/serveConfig", "", "serveConfig"),
        ("spec/serveConfigV2", {"applications": []}, "is not of type 'string'"),
        ("spec/upgradeStrategy/kind", "None", "kind"),
        ("spec/rayClusterDeletionDelaySeconds", -1, "-1 is less than the minimum of 0"),
        ("spec/excludeHeadFromServeSvc", True, "excludeHeadFromServeSvc"),
        ("spec/rayClusterConfig/gcsFaultToleranceOptions/backend", "reddis", "reddis"),
        ("spec/rayClusterConfig/gcsFaultToleranceOptions/password", "x", "password"),
        ("spec/rayClusterConfig/workerGroupSpecs/0/minReplica", 1, "minReplica"),
        (
            "spec/rayClusterConfig/workerGroupSpecs/0/template/spec/containers/0/lifecycle/preStart",
            {},
            "preStart",
        ),
    ],
)
def test_the_strict_schema_finds_what_is_wrong(path: str, value: Any, said: str) -> None:
    said_of_it = complaints(broken(SERVICE, path, value))
    assert any(said in one for one in said_of_it), said_of_it


def test_what_is_served_is_a_config_that_the_project_takes() -> None:
    check_config(CONFIG, "rayservice.yaml")


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        ("most_replicas", "most_replica", "most_replicas"),
        ("max_replicas_per_node", "max_replica_per_node", "did you mean max_replicas_per_node"),
        ("proxy_location", "proxy_locations", "did you mean proxy_location"),
        ("name: Ingress", "name: Ingres", "no deployment 'Ingres'"),
        ("keys_asked: true", "slots: 64", "keys_asked"),
        ("serve.app:build", "serve.app:builds", "import_path"),
    ],
)
def test_a_typo_in_it_is_found(written: str, instead: str, said: str) -> None:
    assert TEXT.count(written) == 1
    with pytest.raises(ServeError, match=said):
        check_config(yaml.safe_load(TEXT.replace(written, instead)), "rayservice.yaml")


def test_keys_are_asked_for_and_none_stands_there() -> None:
    assert ARGS.keys_asked is True
    # They are the pods' own, from Secrets.
    assert ARGS.database_url is ARGS.storage is ARGS.home is None


@pytest.mark.parametrize("pod", pods(RAY).values(), ids=pods(RAY))
def test_serve_is_as_on_a_local_ray(pod: Manifest) -> None:
    (container,) = pod["containers"]
    env = {one["name"]: one.get("value") for one in container["env"]}
    local = {key: value for key, value in _LOCAL.items() if key.startswith("RAY_SERVE_")}
    assert local and {key: env.get(key) for key in local} == local


def claimed(deployment: str) -> dict[str, float]:
    """What a replica takes of a node, as the autoscaler counts it."""
    options = OPTIONS.get(deployment, {}).get("ray_actor_options")
    options = options or _scale(ARGS)["ray_actor_options"]
    made = {"CPU": options["num_cpus"], "GPU": options.get("num_gpus", 0)}
    if accelerator := options.get("accelerator_type"):
        made[f"accelerator_type:{accelerator}"] = 0.001
    return {name: float(amount) for name, amount in made.items()}


def fits(deployments: list[str], group: Manifest) -> bool:
    wanted = [claimed(one) for one in deployments]
    return all(
        sum(one.get(name, 0) for one in wanted) <= float(group["resources"].get(name, 0))
        for name in {name for one in wanted for name in one}
    )


def test_what_is_served_fits_the_groups_before_there_is_a_node() -> None:
    """The autoscaler sees a group's `resources` only."""
    assert claimed("EngineReplica").keys() == {"CPU", "GPU", "accelerator_type:T4"}
    t4, ingress = groups(RAY)["t4-on-demand"], groups(RAY)["ingress"]
    # One T4 holds all of it, should the other machine be away.
    assert fits(["EngineReplica", "Ingress", "Tally"], t4)
    assert fits(["Ingress", "Tally"], ingress) and not fits(["EngineReplica"], ingress)


@pytest.mark.parametrize("deployment", ["EngineReplica", "Ingress", "Tally"])
def test_nothing_that_answers_is_on_the_head(deployment: str) -> None:
    assert not fits([deployment], RAY["headGroupSpec"])
    assert SPEC["excludeHeadPodFromServeSvc"] is True


@pytest.mark.parametrize("name", groups(RAY))
def test_a_pod_has_what_its_group_says(name: str) -> None:
    limits = WORKERS[name]["containers"][0]["resources"]["limits"]
    resources = groups(RAY)[name]["resources"]
    assert limits["cpu"] == resources["CPU"]
    assert limits.get("nvidia.com/gpu", "0") == resources["GPU"]


def test_there_are_nodes_for_what_is_always_there_and_for_what_may_come() -> None:
    t4 = groups(RAY)["t4-on-demand"]
    assert t4["minReplicas"] >= ARGS.replicas
    assert ARGS.most_replicas is not None and t4["maxReplicas"] >= ARGS.most_replicas
    assert RAY["enableInTreeAutoscaling"] is True
    # Ingresses are on different machines, and there are as many from the start.
    assert ARGS.ingresses == 2 and OPTIONS["Ingress"]["max_replicas_per_node"] == 1
    assert sum(one["minReplicas"] for one in groups(RAY).values()) >= ARGS.ingresses


@pytest.mark.parametrize("folder", ["redis", "service"])
def test_the_heads_state_is_in_the_redis_that_is_applied_with_it(folder: str) -> None:
    made = rendered(folder)
    cluster = made.get(("RayCluster", "alignery")) or made["RayService", "alignery-endpoint"]
    spec = cluster["spec"].get("rayClusterConfig", cluster["spec"])
    options = spec["gcsFaultToleranceOptions"]
    assert options["backend"] == "redis"
    host, _, port = options["redisAddress"].partition(":")
    assert [one["port"] for one in made["Service", host]["spec"]["ports"]] == [int(port)]
    template = made["StatefulSet", host]["spec"]["template"]
    labels = made["Service", host]["spec"]["selector"]
    assert labels.items() <= template["metadata"]["labels"].items()
    (container,) = template["spec"]["containers"]
    assert [one["containerPort"] for one in container["ports"]] == [int(port)]
    (password,) = container["env"]
    assert options["redisPassword"]["valueFrom"] == password["valueFrom"]
    # Two clusters would have one state.
    assert "externalStorageNamespace" not in options


def test_a_head_that_hangs_is_replaced_while_workers_wait_for_it() -> None:
    probe = pods(RAY)["head"]["containers"][0]["livenessProbe"]
    seconds = probe["initialDelaySeconds"] + probe["periodSeconds"] * probe["failureThreshold"]
    assert seconds < WORKERS_WAIT / 2  # the other half is for the new one to start


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_that_ends_answers_what_it_has(name: str) -> None:
    pod = WORKERS[name]
    program, seconds = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep" and int(seconds) > ARGS.drain_seconds
    assert pod["terminationGracePeriodSeconds"] > int(seconds) + 10  # Ray's own end
    assert SPEC["rayClusterDeletionDelaySeconds"] > ARGS.drain_seconds


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_gets_requests_if_its_proxy_answers(name: str) -> None:
    """The operator adds this check only where a worker has no readiness probe of its own."""
    (container,) = WORKERS[name]["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/-/healthz", "port": "serve"}
    assert container["ports"] == [
        {"name": "serve", "containerPort": CONFIG["http_options"]["port"]}
    ]


def test_the_port_of_the_endpoint_is_all_that_is_offered() -> None:
    ports = pods(RAY)["head"]["containers"][0]["ports"]
    # The operator makes the Service of ports of this name on the head.
    served = [one["containerPort"] for one in ports if one["name"].startswith("serve")]
    assert served == [CONFIG["http_options"]["port"]]
    assert CONFIG["http_options"]["host"] == "0.0.0.0"
    of_the_cluster = pods(CLUSTER["spec"])["head"]["containers"][0]["ports"]
    assert [one for one in ports if one["name"] != "serve"] == of_the_cluster
    # Beyond the cluster goes what an Ingress of the cluster's owner lets out, under TLS.
    for kind in ("serviceType", "headService"):
        assert kind not in RAY["headGroupSpec"]
    assert "serveService" not in SPEC


def test_what_the_operator_refuses_of_a_service_is_not_there() -> None:
    """From KubeRay's own validation, which no schema holds."""
    name = SERVICE["metadata"]["name"]
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) and len(name) <= 53 - len("-abcde")
    # Services are named for their owner: two owners of one name would share them.
    assert name not in {one["metadata"]["name"] for one in (CLUSTER, JOB)}
    assert "annotations" not in SERVICE["metadata"]  # of the older way to fault tolerance
    assert SPEC["upgradeStrategy"] == {"type": "None"}
    assert "upgradeStrategy" not in RAY  # that of a cluster which nobody owns
    assert RAY["authOptions"] == {"mode": "token"}  # Kubernetes' own tokens cannot be used here
    head = RAY["headGroupSpec"]
    assert not {"redis-password", "redis-username"} & set(head["rayStartParams"])
    container = PODS["service/head"]["containers"][0]
    theirs = {"REDIS_PASSWORD", "REDIS_USERNAME", "RAY_REDIS_ADDRESS", "RAY_enable_autoscaler_v2"}
    assert not theirs & {one["name"] for one in container["env"]}

"""Manifests against KubeRay's own schemas made strict, and against what no schema knows."""

from __future__ import annotations

import copy
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.infra.manifests import (
    CLUSTER,
    JOB,
    KINDS,
    KUBERAY,
    PODS,
    ROOT,
    SERVICE,
    SPECS,
    broken,
    complaints,
    documents,
    files,
    groups,
    identity,
    rendered,
)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PLAIN = {"Secret", "Service", "StatefulSet", "NetworkPolicy", "Kustomization"}
GROUPS = groups(CLUSTER["spec"])


@pytest.mark.parametrize("file", files(), ids=lambda one: str(one.relative_to(KUBERAY)))
def test_every_manifest_is_what_its_kind_allows(file: Path) -> None:
    for manifest in documents(file):
        assert manifest["kind"] in PLAIN | set(KINDS)
        if manifest["kind"] in KINDS:
            assert manifest["apiVersion"] == "ray.io/v1"
            assert complaints(manifest) == []


@pytest.mark.parametrize("name", ["generic", "redis"])
def test_so_is_what_the_overlays_make_of_it(name: str) -> None:
    made = rendered(name)["RayCluster", "alignery"]
    assert made != CLUSTER
    assert complaints(made) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("spec/enableInTreeAutoscalling", True, "enableInTreeAutoscalling"),
        ("spec/autoscalerOptions/version", "v3", "v3"),
        ("spec/workerGroupSpecs/0/maxReplica", 8, "maxReplica"),
        ("spec/workerGroupSpecs/0/maxReplicas", "8", "'8' is not of type 'integer'"),
        ("spec/workerGroupSpecs/0/template/spec/tolerations/0/effekt", "x", "effekt"),
        ("spec/headGroupSpec/template/spec/containers/0/envs", [], "envs"),
        (
            "spec/headGroupSpec/template/spec/containers/0/env/1/valueFrom/secretRef",
            {},
            "secretRef",
        ),
        ("spec/headGroupSpec/template/spec/containers/0/resources/limits/cpu", [], "cpu"),
        ("spec/headGroupSpec/rayStartParams/num-cpus", 0, "0 is not of type 'string'"),
    ],
)
def test_the_strict_schema_finds_what_is_wrong(path: str, value: Any, said: str) -> None:
    said_of_it = complaints(broken(CLUSTER, path, value))
    assert any(said in one for one in said_of_it), said_of_it


def test_the_job_has_the_same_cluster() -> None:
    """But for the label by which network policies keep the two apart."""
    label = {"alignery.dev/cluster": "sweeps"}
    made = copy.deepcopy(JOB["spec"]["rayClusterSpec"])
    for group in (made["headGroupSpec"], *groups(made).values()):
        assert group["template"]["metadata"]["labels"] == {"alignery.dev/cluster": "job"}
        group["template"]["metadata"]["labels"] = label
    assert made == CLUSTER["spec"]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_ray_is_the_version_that_the_project_pins(spec: dict[str, Any]) -> None:
    (pinned,) = re.findall(r"ray\[.*\]==(\d+\.\d+)\.\*", " ".join(PROJECT["dependencies"]))
    exact = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert exact is not None and spec["rayVersion"] == exact.group(1)
    assert spec["rayVersion"].startswith(f"{pinned}.")


def test_head_and_workers_run_one_version_of_alignery() -> None:
    images = {name: pod["containers"][0]["image"] for name, pod in PODS.items()}
    made = {image.rpartition("-")[0] for image in images.values()}
    assert made == {f"registry.example.com/alignery:{PROJECT['version']}"}
    for name, image in images.items():
        assert image.rpartition("-")[2] == ("gpu" if "/t4-" in name else "cpu"), name


@pytest.mark.parametrize("name", ["t4-spot", "t4-on-demand"])
def test_a_trial_on_a_t4_fits_the_group_before_it_has_a_node(name: str) -> None:
    """The autoscaler sees a group's `resources` and `labels` only."""
    from sweeps.pool.placement import Placement

    group = GROUPS[name]
    market = name.removeprefix("t4-")
    placement = Placement(1, {"sft": 1.0}, "T4", {"ray.io/market-type": market})
    for resource, amount in placement.bundle("sft").items():
        assert float(group["resources"][resource]) >= amount
    assert placement.labels.items() <= group["labels"].items()
    claimed = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert claimed["nvidia.com/gpu"] == group["resources"]["GPU"]
    assert claimed["cpu"] == group["resources"]["CPU"]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_no_trial_and_no_replica_lands_on_the_head(spec: dict[str, Any]) -> None:
    assert spec["headGroupSpec"]["resources"] == {"CPU": "0", "GPU": "0"}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_what_the_operator_refuses_is_not_there(spec: dict[str, Any]) -> None:
    """From KubeRay's own validation, which no schema holds."""
    for group in (spec["headGroupSpec"], *groups(spec).values()):
        assert not {"labels", "resources", "num-cpus", "num-gpus"} & set(group["rayStartParams"])
        assert "restartPolicy" not in group["template"]["spec"]  # the autoscaler's v2 wants Never
    for group in groups(spec).values():
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_job_is_one_that_the_operator_takes() -> None:
    assert JOB["spec"]["submissionMode"] == "K8sJobMode" and "clusterSelector" not in JOB["spec"]


@pytest.mark.parametrize("name", PODS)
def test_secrets_are_references(name: str) -> None:
    container = PODS[name]["containers"][0]
    env = {one["name"]: one for one in container["env"]}
    # The operator keeps the cluster's token in a Secret of the cluster's own name.
    for owner in (CLUSTER, SERVICE):
        assert owner["metadata"]["name"] not in json.dumps(container).split('"')
    for variable in ("ALIGNERY_DATABASE_URL", "ALIGNERY_STORAGE"):
        assert set(env[variable]) == {"name", "valueFrom"}
    assert env["ALIGNERY_RAY_ADDRESS"]["value"] == "auto"
    assert {one for one in env if not one.startswith("RAY_SERVE_")} == {
        "ALIGNERY_RAY_ADDRESS", "ALIGNERY_DATABASE_URL", "ALIGNERY_STORAGE"
    }  # fmt: skip
    assert container["envFrom"] == [{"secretRef": {"name": "alignery-cloud", "optional": True}}]


def test_the_example_of_the_secrets_has_the_keys_and_no_secret() -> None:
    secrets = {
        one["metadata"]["name"]: one["stringData"]
        for one in documents(KUBERAY / "secret.example.yaml")
    }
    assert set(secrets) == {"alignery-settings", "alignery-cloud"}
    assert set(secrets["alignery-settings"]) == {"database-url", "storage"}
    assert all("CHANGE-ME" in value for data in secrets.values() for value in data.values())


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_nobody_special_and_is_watched(name: str) -> None:
    pod = PODS[name]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 1000
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    # Those of an endpoint are ready when they answer: test_service.py.
    probes = (
        ["livenessProbe"] if container.get("lifecycle") else ["livenessProbe", "readinessProbe"]
    )
    for probe in probes:
        assert container[probe]["httpGet"] == {"path": "/api/healthz", "port": 52365}
    assert container["resources"]["requests"] == container["resources"]["limits"]
    mounted = {one["name"] for one in container["volumeMounts"]}
    assert mounted == {one["name"] for one in pod["volumes"]}


def test_what_the_job_runs_is_a_command_of_alignery() -> None:
    from typer.testing import CliRunner

    import alignery

    program, *arguments = shlex.split(JOB["spec"]["entrypoint"])
    assert program == "alignery"
    result = CliRunner().invoke(alignery.app, [*arguments[:2], "--help"], env={"COLUMNS": "300"})
    flags = {one for one in arguments if one.startswith("--")}
    assert not {one for one in flags if one not in result.output}, result.output
    assert JOB["spec"]["metadata"] == {"alignery_recipe": arguments[2]}


KUSTOMIZATIONS = sorted(
    str(one.parent.relative_to(KUBERAY)) for one in KUBERAY.rglob("kustomization.yaml")
)


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
def test_kustomizations_make_something_of_what_is_there(folder: str) -> None:
    assert rendered(folder)


def test_every_manifest_is_in_a_kustomization() -> None:
    applied = {one for folder in KUSTOMIZATIONS for one in rendered(folder)}
    for file in files():
        if file.name not in ("kustomization.yaml", "secret.example.yaml"):
            assert {identity(one) for one in documents(file)} <= applied, file

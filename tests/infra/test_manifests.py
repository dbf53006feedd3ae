"""Manifests against KubeRay's own schemas made strict, and against what no schema knows."""

from __future__ import annotations

import copy
import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parent.parent.parent
KUBERAY = ROOT / "infra" / "kuberay"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

SCHEMAS = "ALIGNERY_KUBERAY_SCHEMAS"
#: File of a kind's schema, as KubeRay's CRDs name their plurals.
KINDS = {"RayCluster": "rayclusters.v1.json", "RayJob": "rayjobs.v1.json"}
PLAIN = {"Secret", "Service", "StatefulSet", "Kustomization"}


def strict(schema: Any) -> Any:
    """The same schema, where a key that it does not name is an error, as kubectl has it."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict):
        made["properties"] = {key: strict(one) for key, one in schema["properties"].items()}
        if not made.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    if made.get("x-kubernetes-int-or-string") and "anyOf" not in made:
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if made.get("nullable") and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made


def schemas() -> Path:
    """The folder of KubeRay's schemas; the test is skipped where there is none."""
    folder = Path(os.environ.get(SCHEMAS) or KUBERAY / "schemas")
    if missing := [one for one in KINDS.values() if not (folder / one).is_file()]:
        pytest.skip(f"no {missing[0]} in {folder}: set {SCHEMAS} to KubeRay's schemas (JSON)")
    return folder


@lru_cache
def validator(file: Path) -> Draft202012Validator:
    return Draft202012Validator(strict(json.loads(file.read_text(encoding="utf-8"))))


def complaints(manifest: dict[str, Any]) -> list[str]:
    """What the strict schema of its kind says of a manifest."""
    errors = validator(schemas() / KINDS[manifest["kind"]]).iter_errors(manifest)
    return [f"{'/'.join(map(str, one.absolute_path))}: {one.message[:200]}" for one in errors]


def documents(file: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(file.read_text(encoding="utf-8")) if one]


def files() -> list[Path]:
    return sorted(one for one in KUBERAY.rglob("*.yaml") if "schemas" not in one.parts)


def patched(manifest: dict[str, Any], patch: str) -> dict[str, Any]:
    """A JSON patch (RFC 6902: add, replace) applied, as kustomize does."""
    made = copy.deepcopy(manifest)
    for step in yaml.safe_load(patch):
        *above, last = step["path"].strip("/").split("/")
        place: Any = made
        for part in above:
            place = place[int(part)] if isinstance(place, list) else place[part]
        assert (last in place) == (step["op"] == "replace"), step["path"]
        place[last] = step["value"]
    return made


def overlays() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each kustomization's RayCluster, as kubectl would apply it."""
    for file in KUBERAY.glob("*/kustomization.yaml"):
        (kustomization,) = documents(file)
        for patch in kustomization.get("patches", ()):
            yield file.parent.name, patched(CLUSTER, patch["patch"])


(CLUSTER,) = documents(KUBERAY / "cluster" / "raycluster.yaml")
(JOB,) = documents(KUBERAY / "job" / "rayjob.yaml")
SPEC = CLUSTER["spec"]
GROUPS = {one["groupName"]: one for one in SPEC["workerGroupSpecs"]}


def pods() -> list[tuple[str, dict[str, Any]]]:
    """The head's and every group's pod, by name."""
    groups = [("head", SPEC["headGroupSpec"]), *GROUPS.items()]
    return [(name, group["template"]["spec"]) for name, group in groups]


@pytest.mark.parametrize("file", files(), ids=lambda one: str(one.relative_to(KUBERAY)))
def test_every_manifest_is_what_its_kind_allows(file: Path) -> None:
    for manifest in documents(file):
        assert manifest["kind"] in PLAIN | set(KINDS)
        if manifest["kind"] in KINDS:
            assert manifest["apiVersion"] == "ray.io/v1"
            assert complaints(manifest) == []


@pytest.mark.parametrize("name", ["generic", "redis"])
def test_so_is_what_the_overlays_make_of_it(name: str) -> None:
    made = dict(overlays())[name]
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
    broken = copy.deepcopy(CLUSTER)
    place: Any = broken
    *above, last = path.split("/")
    for part in above:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[last] = value
    assert any(said in one for one in complaints(broken)), complaints(broken)


def test_the_job_has_the_same_cluster() -> None:
    assert JOB["spec"]["rayClusterSpec"] == SPEC


def test_ray_is_the_version_that_the_project_pins() -> None:
    (pinned,) = re.findall(r"ray\[.*\]==(\d+\.\d+)\.\*", " ".join(PROJECT["dependencies"]))
    exact = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert exact is not None and SPEC["rayVersion"] == exact.group(1)
    assert SPEC["rayVersion"].startswith(f"{pinned}.")


def test_head_and_workers_run_one_version_of_alignery() -> None:
    images = {name: pod["containers"][0]["image"] for name, pod in pods()}
    made = {image.rpartition("-")[0] for image in images.values()}
    assert made == {f"registry.example.com/alignery:{PROJECT['version']}"}
    variants = {name: image.rpartition("-")[2] for name, image in images.items()}
    assert variants == {"head": "cpu", "t4-spot": "gpu", "t4-on-demand": "gpu", "cpu": "cpu"}


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


def test_no_trial_lands_on_the_head() -> None:
    assert SPEC["headGroupSpec"]["resources"] == {"CPU": "0", "GPU": "0"}


def test_what_the_operator_refuses_is_not_there() -> None:
    """From KubeRay's own validation, which no schema holds."""
    for group in (SPEC["headGroupSpec"], *GROUPS.values()):
        assert not {"labels", "resources", "num-cpus", "num-gpus"} & set(group["rayStartParams"])
        assert "restartPolicy" not in group["template"]["spec"]  # the autoscaler's v2 wants Never
    for group in GROUPS.values():
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    assert JOB["spec"]["submissionMode"] == "K8sJobMode" and "clusterSelector" not in JOB["spec"]


@pytest.mark.parametrize("name", ["head", *GROUPS])
def test_secrets_are_references(name: str) -> None:
    container = dict(pods())[name]["containers"][0]
    env = {one["name"]: one for one in container["env"]}
    # The operator keeps the cluster's token in a Secret of the cluster's own name.
    assert CLUSTER["metadata"]["name"] not in json.dumps(container).split('"')
    for variable in ("ALIGNERY_DATABASE_URL", "ALIGNERY_STORAGE"):
        assert set(env[variable]) == {"name", "valueFrom"}
    assert env["ALIGNERY_RAY_ADDRESS"]["value"] == "auto"
    assert container["envFrom"] == [{"secretRef": {"name": "alignery-cloud", "optional": True}}]


def test_the_example_of_the_secrets_has_the_keys_and_no_secret() -> None:
    secrets = {
        one["metadata"]["name"]: one["stringData"]
        for one in documents(KUBERAY / "secret.example.yaml")
    }
    assert set(secrets) == {"alignery-settings", "alignery-cloud"}
    assert set(secrets["alignery-settings"]) == {"database-url", "storage"}
    assert all("CHANGE-ME" in value for data in secrets.values() for value in data.values())


@pytest.mark.parametrize("name", ["head", *GROUPS])
def test_a_pod_is_nobody_special_and_is_watched(name: str) -> None:
    pod = dict(pods())[name]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 1000
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    for probe in ("readinessProbe", "livenessProbe"):
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


def test_kustomizations_name_what_is_there() -> None:
    for file in KUBERAY.glob("*/kustomization.yaml"):
        for resource in documents(file)[0]["resources"]:
            assert (file.parent / resource).exists(), f"{file}: {resource}"

"""The manifests of infra/kuberay as kubectl would apply them, and KubeRay's schemas made strict."""

from __future__ import annotations

import copy
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parent.parent.parent
KUBERAY = ROOT / "infra" / "kuberay"

SCHEMAS = "ALIGNERY_KUBERAY_SCHEMAS"
#: File of a kind's schema, as KubeRay's CRDs name their plurals.
KINDS = {
    "RayCluster": "rayclusters.v1.json",
    "RayJob": "rayjobs.v1.json",
    "RayService": "rayservices.v1.json",
}

Manifest = dict[str, Any]


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
def read(file: Path) -> Manifest:
    found: Manifest = json.loads(file.read_text(encoding="utf-8"))
    return found


def schema(kind: str) -> Manifest:
    """KubeRay's schema of one of its kinds, as it is."""
    return read(schemas() / KINDS[kind])


@lru_cache
def validator(kind: str) -> Draft202012Validator:
    return Draft202012Validator(strict(schema(kind)))


def errors_of(manifest: Manifest, valid: Draft202012Validator) -> list[str]:
    errors = valid.iter_errors(manifest)
    return [f"{'/'.join(map(str, one.absolute_path))}: {one.message[:200]}" for one in errors]


def complaints(manifest: Manifest) -> list[str]:
    """What the strict schema of its kind says of a manifest."""
    return errors_of(manifest, validator(manifest["kind"]))


def complaints_of(manifest: Manifest, form: Manifest) -> list[str]:
    """What a schema of ours, made strict, says of a manifest."""
    return errors_of(manifest, Draft202012Validator(strict(form)))


def broken(manifest: Manifest, path: str, value: Any) -> Manifest:
    """A copy in which `path` is `value`."""
    made = copy.deepcopy(manifest)
    place: Any = made
    *above, last = path.split("/")
    for part in above:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[last] = value
    return made


def documents(file: Path) -> list[Manifest]:
    return [one for one in yaml.safe_load_all(file.read_text(encoding="utf-8")) if one]


def files() -> list[Path]:
    return sorted(one for one in KUBERAY.rglob("*.yaml") if "schemas" not in one.parts)


def patched(manifest: Manifest, patch: str) -> Manifest:
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


def identity(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def rendered(folder: str) -> dict[tuple[str, str], Manifest]:
    """What `kubectl apply --kustomize` would apply, by kind and name."""
    root = KUBERAY / folder
    (kustomization,) = documents(root / "kustomization.yaml")
    made: dict[tuple[str, str], Manifest] = {}
    for resource in kustomization["resources"]:
        path = (root / resource).resolve()
        if path.is_dir():
            found = list(rendered(str(path.relative_to(KUBERAY))).values())
        else:
            # kustomize reads no file that is not below its kustomization.
            assert path.is_relative_to(root), resource
            found = documents(path)
        for one in found:
            assert identity(one) not in made, f"{folder}: {identity(one)} twice"
            made[identity(one)] = one
    for patch in kustomization.get("patches", ()):
        target = patch["target"]["kind"], patch["target"]["name"]
        made[target] = patched(made[target], patch["patch"])
    return made


(CLUSTER,) = documents(KUBERAY / "cluster" / "raycluster.yaml")
(JOB,) = documents(KUBERAY / "job" / "rayjob.yaml")
(SERVICE,) = documents(KUBERAY / "service" / "rayservice.yaml")
#: The clusters there are; a job's is that of the first.
SPECS: dict[str, Manifest] = {
    "cluster": CLUSTER["spec"],
    "service": SERVICE["spec"]["rayClusterConfig"],
}


def cluster_specs(manifest: Manifest) -> list[Manifest]:
    """The spec of the Ray cluster that a manifest of KubeRay's makes; none of another kind."""
    within = {"RayCluster": "", "RayJob": "rayClusterSpec", "RayService": "rayClusterConfig"}
    if manifest["kind"] not in within:
        return []
    place = within[manifest["kind"]]
    return [manifest["spec"][place] if place else manifest["spec"]]


def groups(spec: Manifest) -> dict[str, Manifest]:
    """The worker groups of a cluster, by name."""
    return {one["groupName"]: one for one in spec["workerGroupSpecs"]}


def pods(spec: Manifest) -> dict[str, Manifest]:
    """The head's and every group's pod, by name."""
    every = {"head": spec["headGroupSpec"], **groups(spec)}
    return {name: group["template"]["spec"] for name, group in every.items()}


#: Every pod of every cluster, as "cluster/head".
PODS = {f"{which}/{name}": pod for which, spec in SPECS.items() for name, pod in pods(spec).items()}

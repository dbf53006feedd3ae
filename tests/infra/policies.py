"""What the network policies of some manifests let through, as Kubernetes decides it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.infra.manifests import Manifest, cluster_specs, complaints_of, schema

#: Where `kubectl apply` puts the manifests; they name no namespace.
NAMESPACE = "default"


@dataclass(frozen=True)
class Pod:
    """A pod as policies see it; `ports` are those that its containers declare."""

    labels: dict[str, str]
    namespace: str = NAMESPACE
    ports: frozenset[int] = field(default=frozenset())


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a label selector, of which the operators used here are known, selects such labels."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "In", expression
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


def guards(policies: Iterable[Manifest], pod: Pod) -> list[Manifest]:
    """The policies because of which a pod accepts only what a rule names."""
    return [
        one
        for one in policies
        if pod.namespace == NAMESPACE
        and "Ingress" in one["spec"]["policyTypes"]
        and selects(one["spec"]["podSelector"], pod.labels)
    ]


def is_peer(peer: Manifest, source: Pod) -> bool:
    """Whether one entry of a rule's `from` means the pod `source`."""
    assert peer.keys() <= {"podSelector", "namespaceSelector"} and peer, peer
    if "namespaceSelector" in peer:
        named = {"kubernetes.io/metadata.name": source.namespace}
        if not selects(peer["namespaceSelector"], named):
            return False
    elif source.namespace != NAMESPACE:
        return False
    return selects(peer.get("podSelector", {}), source.labels)


def lets_through(rule: Manifest, source: Pod, port: int) -> bool:
    """A rule without `from` means everybody, one without `ports` every port."""
    peers, ports = rule.get("from"), rule.get("ports")
    return (not peers or any(is_peer(one, source) for one in peers)) and (
        not ports or port in {one["port"] for one in ports}
    )


def reaches(policies: Iterable[Manifest], source: Pod, target: Pod, port: int) -> bool:
    """Whether `source` may connect to a port of `target`."""
    guarding = guards(policies, target)
    rules = [rule for one in guarding for rule in one["spec"].get("ingress", ())]
    return not guarding or any(lets_through(rule, source, port) for rule in rules)


def policies_of(made: Iterable[Manifest]) -> list[Manifest]:
    return [one for one in made if one["kind"] == "NetworkPolicy"]


def _pod(template: Manifest, labels: dict[str, str]) -> Pod:
    declared = {
        port["containerPort"]
        for container in template["spec"]["containers"]
        for port in container.get("ports", ())
    }
    own = template.get("metadata", {}).get("labels", {})
    return Pod({**own, **labels}, ports=frozenset(declared))


def pods_of(made: Iterable[Manifest]) -> dict[str, Pod]:
    """Every kind of pod that the manifests make, as "RayJob/head", with KubeRay's own labels."""
    found: dict[str, Pod] = {}
    for manifest in made:
        kind = manifest["kind"]
        if kind == "StatefulSet":
            found[manifest["metadata"]["name"]] = _pod(manifest["spec"]["template"], {})
        for spec in cluster_specs(manifest):
            # KubeRay's labels, less the cluster's name, which is random for jobs and services.
            every = {"ray.io/is-ray-node": "yes"}
            head = spec["headGroupSpec"]["template"]
            found[f"{kind}/head"] = _pod(head, {**every, "ray.io/node-type": "head"})
            for group in spec["workerGroupSpecs"]:
                labels = {**every, "ray.io/node-type": "worker"}
                found[f"{kind}/{group['groupName']}"] = _pod(group["template"], labels)
            if "gcsFaultToleranceOptions" in spec:
                # Of the job that clears a deleted cluster's state: the head's, but for the type.
                labels = {**every, "ray.io/node-type": "redis-cleanup"}
                found[f"{kind}/redis-cleanup"] = _pod(head, labels)
    return found


def rules_of(policies: Iterable[Manifest]) -> list[tuple[Manifest, Manifest]]:
    """(policy, rule) of every rule."""
    return [(one, rule) for one in policies for rule in one["spec"].get("ingress", ())]


def policy_complaints(policy: Manifest) -> list[str]:
    """What is wrong with a policy's form, by the schema of rules that KubeRay's own field has."""
    rules = schema("RayCluster")["properties"]["spec"]["properties"]["networkPolicy"]
    ingress = rules["properties"]["head"]["properties"]["ingressRules"]
    peer = ingress["items"]["properties"]["from"]["items"]
    selector: dict[str, Any] = peer["properties"]["podSelector"]
    form = {
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"enum": ["networking.k8s.io/v1"]},
            "kind": {"enum": ["NetworkPolicy"]},
            "metadata": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "labels": {"type": "object"}},
            },
            "spec": {
                "type": "object",
                "required": ["podSelector", "policyTypes", "ingress"],
                "properties": {
                    "podSelector": selector,
                    "policyTypes": {"enum": [["Ingress"]]},
                    "ingress": ingress,
                },
            },
        },
    }
    return complaints_of(policy, form)

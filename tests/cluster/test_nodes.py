"""The pool as Ray describes it."""

import pytest

from cluster.pool import Node, accelerator_named, node_of, summary

RAW = {
    "NodeID": "f" * 56,
    "Alive": True,
    "NodeManagerAddress": "10.0.0.7",
    "NodeManagerHostname": "t4-7",
    "Resources": {"CPU": 4.0, "GPU": 1.0, "accelerator_type:T4": 1.0, "node:10.0.0.7": 1.0},
    "Labels": {"ray.io/node-id": "f" * 56, "ray.io/market-type": "spot"},
}


def test_a_node_is_read_from_what_ray_says() -> None:
    assert node_of(RAW) == Node(
        "f" * 56, "t4-7", "10.0.0.7", 4.0, 1.0, "T4", {"ray.io/market-type": "spot"}
    )


def test_a_dead_node_has_nothing() -> None:
    dead = node_of({"NodeID": "a", "Alive": False})
    assert (dead.alive, dead.cpus, dead.gpus, dead.accelerator) == (False, 0.0, 0.0, None)
    assert not dead.has(None, {})


def test_a_node_suits_by_type_and_labels() -> None:
    node, spot = node_of(RAW), {"ray.io/market-type": "spot"}
    assert node.has("T4", spot) and node.has(None, {})
    assert not node.has("A100", {}) and not node.has("T4", {"ray.io/market-type": "on-demand"})


def test_a_pool_is_told_in_a_few_words() -> None:
    head = Node("h", "head", "10.0.0.1", 2.0, head=True)
    assert summary([head]) == "1 node: 2 CPUs, no GPU"
    assert summary([head, node_of(RAW), node_of(RAW)]) == "3 nodes: 10 CPUs, 2 T4"


def test_an_accelerator_may_be_written_in_any_case() -> None:
    assert accelerator_named("t4", []) == "T4"
    assert accelerator_named("mine", [Node("a", "a", "a", 1, 1, "Mine")]) == "Mine"
    with pytest.raises(ValueError, match=r"'T44'; did you mean 'T4'\?"):
        accelerator_named("T44", [])

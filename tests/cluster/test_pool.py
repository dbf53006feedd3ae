"""The pool as Ray describes it."""

from dataclasses import replace

import pytest

from cluster.pool import Node, accelerator_named, node_of, read_pool, summary

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
    assert not node.has("T4", {**spot, "zone": "a"}), "all labels are wanted, not any"
    bare = replace(node, gpus=0.0)  # Ray was told of none on a machine that has some
    assert bare.has(None, spot) and not bare.has("T4", spot)


def test_a_node_that_names_a_type_and_its_variant_has_one_name_whatever_the_order() -> None:
    both = ["accelerator_type:A100", "accelerator_type:A100-80G"]
    for order in (both, both[::-1]):
        raw = {**RAW, "Resources": {"GPU": 1.0, **dict.fromkeys(order, 1.0)}}
        assert node_of(raw).accelerator == "A100"


def test_the_pool_is_what_lives_with_the_head_first(monkeypatch: pytest.MonkeyPatch) -> None:
    head = {**RAW, "NodeID": "h", "Resources": {"CPU": 2.0, "node:__internal_head__": 1.0}}
    dead = {"NodeID": "d", "Alive": False}
    monkeypatch.setattr("ray.nodes", lambda: [dead, {**RAW, "NodeID": "w"}, head])
    assert [one.id for one in read_pool()] == ["h", "w"]


def test_a_pool_is_told_in_a_few_words() -> None:
    head = Node("h", "head", "10.0.0.1", 2.0, head=True)
    assert summary([head]) == "1 node: 2 CPUs, no GPU"
    assert summary([head, node_of(RAW), node_of(RAW)]) == "3 nodes: 10 CPUs, 2 T4"
    gone = replace(node_of(RAW), alive=False)
    assert summary([head, gone]) == "1 node: 2 CPUs, no GPU"
    mixed = [replace(node_of(RAW), accelerator=name) for name in ("T4", "L4", None, "T4")]
    assert summary(mixed) == "4 nodes: 16 CPUs, 1 GPU of unknown type, 1 L4, 2 T4"


def test_an_accelerator_may_be_written_in_any_case() -> None:
    assert accelerator_named("t4", []) == "T4"
    assert accelerator_named("mine", [Node("a", "a", "a", 1, 1, "Mine")]) == "Mine"
    with pytest.raises(ValueError, match=r"'T44'; did you mean 'T4'\?"):
        accelerator_named("T44", [])

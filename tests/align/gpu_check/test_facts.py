"""Names of cards, and facts of this machine."""

import pytest

from align.gpu_check.facts import card_name, machine, processor, versions
from align.memory.machines import GIB, GPUS


@pytest.mark.parametrize(
    "device, gib, name",
    [
        ("Tesla T4", 14.56, "T4"),
        ("NVIDIA T4", 14.9, "T4"),
        ("NVIDIA L4", 22.0, "L4"),
        ("NVIDIA A10G", 22.1, "A10G"),
        ("NVIDIA A100-SXM4-40GB", 39.4, "A100-40"),
        ("NVIDIA A100 80GB PCIe", 79.2, "A100-80"),
        ("NVIDIA H100 80GB HBM3", 79.1, "H100"),
        ("NVIDIA GeForce RTX 3090", 23.69, "RTX3090"),
        ("NVIDIA GeForce RTX 4090", 23.7, "RTX4090"),
        ("NVIDIA H200", 139.8, "H200"),
        ("NVIDIA GeForce GTX 1660 Ti", 5.8, "GTX-1660-TI"),
        ("NVIDIA L40S", 44.4, "L40S"),
        ("NVIDIA A10", 22.0, "A10"),
    ],
)
def test_a_card_has_the_name_that_predictions_know(device: str, gib: float, name: str) -> None:
    assert card_name(device, int(gib * GIB)) == name


def test_a_card_that_plays_another_is_neither() -> None:
    name = card_name("NVIDIA H200", 139 * GIB, "T4")
    assert name == "H200-as-T4"
    assert name not in GPUS


def test_facts_of_this_machine_are_numbers_and_versions() -> None:
    facts = machine()
    assert facts["cores"] >= 1 and facts["memory"] > 2**28
    assert facts["processor"] == processor() != ""
    known = versions()
    assert known["torch"] and known["trl"] and known["alignery"]

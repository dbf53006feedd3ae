"""What a process may use of a GPU: no card, a share, or as much as a smaller card has."""

from __future__ import annotations

import os

import pytest
import torch

from align.gpu_cards import CARDS, GIB
from align.gpu_process import ALLOCATOR, limit_memory, prepare_process, tensor_fraction

T4 = CARDS["T4"].memory


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variables that are set here, then and afterwards."""
    for name in ("CUDA_VISIBLE_DEVICES", *ALLOCATOR):
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)


def test_a_process_without_a_share_sees_no_card() -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"
    prepare_process(0)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert not set(ALLOCATOR) & set(os.environ)


def test_a_process_with_a_share_sees_what_ray_gave_it_and_has_segments_that_grow() -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = "1"
    prepare_process(0.25)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    assert os.environ["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"


@pytest.mark.parametrize(
    ("visible", "first"), [(None, "0"), ("2,3", "2"), ("GPU-a,GPU-b", "GPU-a")]
)
def test_of_several_cards_a_process_sees_the_first(visible: str | None, first: str) -> None:
    """With several, trainers split each batch over all of them."""
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible
    prepare_process(1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == first


@pytest.mark.parametrize("name", ALLOCATOR)
def test_what_the_user_has_set_of_the_allocator_stays(name: str) -> None:
    os.environ[name] = "backend:cudaMallocAsync"
    prepare_process(1)
    assert {known: os.environ.get(known) for known in ALLOCATOR} == {
        known: "backend:cudaMallocAsync" if known == name else None for known in ALLOCATOR
    }


def test_torch_accepts_the_setting_of_its_allocator() -> None:
    """The name and the value are those of the installed version."""
    prepare_process(1)
    torch._C._accelerator_setAllocatorSettings(os.environ["PYTORCH_ALLOC_CONF"])
    with pytest.raises(ValueError, match=r"True. or .False"):
        torch._C._accelerator_setAllocatorSettings("expandable_segments:perhaps")
    torch._C._accelerator_setAllocatorSettings("expandable_segments:False")


class Card:
    """A card in place of torch's, with the limit that was set last."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, total: int) -> None:
        self.fraction = 1.0
        properties = type("Properties", (), {"total_memory": total})
        for name, value in {
            "is_available": lambda: True,
            "current_device": lambda: 0,
            "get_device_properties": lambda _: properties,
            "get_per_process_memory_fraction": lambda: self.fraction,
            "set_per_process_memory_fraction": lambda fraction: setattr(self, "fraction", fraction),
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)


def test_a_share_is_held_less_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, 16 * GIB)
    limit_memory(0.25)
    assert card.fraction == 0.25 - 1 / 32


def test_a_whole_card_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, 16 * GIB)
    limit_memory(1.0)
    limit_memory(2.0)
    assert card.fraction == 1.0


@pytest.mark.parametrize("share_first", [True, False])
@pytest.mark.parametrize(("share", "gib"), [(0.5, 14.06), (0.1, 7.5)])
def test_the_smaller_of_an_emulated_card_and_a_share_holds_in_either_order(
    monkeypatch: pytest.MonkeyPatch, share_first: bool, share: float, gib: float
) -> None:
    card = Card(monkeypatch, 80 * GIB)
    calls = [lambda: limit_memory(share), lambda: limit_memory(card_memory=T4)]
    for call in calls if share_first else reversed(calls):
        call()
    assert card.fraction * 80 == pytest.approx(gib, abs=0.005)


def test_a_t4_has_14_gib_for_tensors_on_any_card() -> None:
    assert tensor_fraction(T4) * T4 / GIB == pytest.approx(14.06, abs=0.005)
    for total in (16 * GIB, 80 * GIB):
        assert tensor_fraction(total, card_memory=T4) * total / GIB == pytest.approx(
            14.06, abs=0.01
        )
    assert tensor_fraction(8 * GIB, card_memory=T4) * 8 == 7.5  # no more than there is


@pytest.mark.parametrize("share", [0.0, 1 / 64, 1 / 32])
def test_a_share_that_the_context_uses_up_leaves_nothing(share: float) -> None:
    assert tensor_fraction(16 * GIB, share) == 0


def test_without_cuda_there_is_nothing_to_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, 16 * GIB)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    limit_memory(0.5)
    assert card.fraction == 1.0

"""The card's product and dtype."""

import pytest
import torch

from align.gpu_check import card
from align.gpu_check.card import product_error, wrong_dtype
from align.gpu_check.check import Setting


def test_without_a_card_the_policy_is_told(tmp_path) -> None:
    outcome = card.run(Setting("tiny-random", "cpu", tmp_path))
    assert outcome.verdict == "PASS"
    assert outcome.figures["t4"] == "float16"


@pytest.mark.parametrize(
    "capability, dtype, said",
    [
        ((7, 5), torch.float16, ""),
        ((8, 0), torch.bfloat16, ""),
        ((7, 5), torch.bfloat16, "emulated at capability 7.5"),
        ((9, 0), torch.float32, "the card is not used"),
    ],
)
def test_a_dtype_that_the_card_lacks_is_wrong(capability, dtype, said) -> None:
    assert said in wrong_dtype(capability, dtype)
    assert bool(said) == bool(wrong_dtype(capability, dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_error_of_a_product_is_its_rounding(dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    assert 0 < product_error("cpu", dtype) < card._ERROR[name]


def on_a_card(monkeypatch, tmp_path, error=0.0, capability=(7, 5), free=15 * 10**9):
    facts = {"name": "T4", "capability": list(capability), "memory": 15_637_086_208}
    monkeypatch.setattr(card, "card", lambda: facts)
    monkeypatch.setattr(card, "product_error", lambda *_: error)
    monkeypatch.setattr(card, "precision", lambda: card.choose("cuda", (7, 5), False))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, facts["memory"]))
    return card.run(Setting("tiny-random", "cuda", tmp_path))


def test_a_card_that_multiplies_wrongly_fails(monkeypatch, tmp_path) -> None:
    good = on_a_card(monkeypatch, tmp_path)
    assert good.verdict == "PASS" and good.sentence == "T4 of 14.56 GiB, float16"
    for error in (0.5, float("nan")):
        bad = on_a_card(monkeypatch, tmp_path, error)
        assert bad.verdict == "FAIL" and "update the driver" in bad.sentence


def test_memory_in_use_by_others_is_told(monkeypatch, tmp_path) -> None:
    outcome = on_a_card(monkeypatch, tmp_path, free=9 * 10**9)
    assert outcome.verdict == "PASS" and "6.2 GiB are in use already" in outcome.sentence

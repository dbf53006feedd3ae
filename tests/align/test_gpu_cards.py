"""GPUs by name."""

from align.gpu_cards import CARDS, GIB
from align.gpu_preflight import has_code

#: Of PyTorch 2.13 for CUDA 13 (`torch.cuda.PYTORCH_RELEASES_CODE_CC`).
BUILD = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")


def test_every_card_is_one_that_the_build_has_code_for() -> None:
    assert all(has_code(BUILD, card.capability) for card in CARDS.values())


def test_a_card_has_a_little_less_than_its_nominal_memory() -> None:
    assert CARDS["T4"].capability == (7, 5) and 14.5 < CARDS["T4"].memory / GIB < 15
    assert {name for name, card in CARDS.items() if card.name != name} == set()

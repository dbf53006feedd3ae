"""What makes a card useless is a line with figures, before anything is loaded on it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from align.errors import GpuError, GpuLost
from align.gpu_cards import GIB
from align.gpu_preflight import (
    CardFacts,
    GpuNeeds,
    check_card,
    find_fault,
    has_code,
    read_card,
)

BUILD = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
T4 = CardFacts("13.0", BUILD, "", "Tesla T4", (7, 5), free=int(14.1 * GIB), total=int(14.56 * GIB))
#: Torch's own messages, which name versions as numbers of five digits and web pages.
OLD_DRIVER = (
    "The NVIDIA driver on your system is too old (found version 12020). Please update your GPU "
    "driver by downloading and installing a new version from the URL: "
    "http://www.nvidia.com/Download/index.aspx Alternatively, go to: https://pytorch.org to "
    "install a PyTorch version that has been compiled with your version of the CUDA driver."
)
NO_DRIVER = (
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed "
    "a driver from http://www.nvidia.com/Download/index.aspx"
)
EXCLUSIVE = (
    "CUDA error: CUDA-capable device(s) is/are busy or unavailable\nCUDA kernel errors might be "
    "asynchronously reported"
)


def test_a_card_with_room_has_no_fault() -> None:
    assert find_fault(T4) == ""
    assert find_fault(T4, 1.0, GpuNeeds(GIB, 4 * GIB)) == ""
    assert find_fault(T4, 0.5, GpuNeeds(GIB, 5 * GIB)) == ""


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (
            OLD_DRIVER,
            "the NVIDIA driver supports CUDA 12.2, and the installed PyTorch is built for CUDA "
            "13.0; install version 580 of the driver, or newer",
        ),
        (NO_DRIVER, "no NVIDIA driver or no card is visible here; install version 580"),
        ("No CUDA GPUs are available", "no NVIDIA driver or no card is visible here"),
        (EXCLUSIVE, "another process holds the card for itself (compute mode Exclusive)"),
        ("CUDA error: initialization error\nmore", "CUDA does not start: CUDA error: initial"),
    ],
)
def test_a_cuda_that_does_not_start_says_what_to_install(refusal: str, said: str) -> None:
    fault = find_fault(CardFacts("13.0", BUILD, refusal))
    assert fault.startswith(said)
    assert "12020" not in fault and "\n" not in fault and "http" not in fault


def test_a_build_without_cuda_is_named() -> None:
    assert "a build without CUDA" in find_fault(CardFacts(None, refusal="Torch not compiled"))


def test_a_card_that_the_build_has_no_code_for_is_named_with_those_that_it_has() -> None:
    p100 = replace(T4, name="Tesla P100-PCIE-16GB", capability=(6, 0))
    fault = find_fault(p100)
    assert "Tesla P100-PCIE-16GB has compute capability 6.0" in fault
    assert "(CUDA 13.0) has code for 7.5, 8.0, 8.6, 9.0, 10.0, 12.0 only" in fault


@pytest.mark.parametrize(
    ("architectures", "capability", "runs"),
    [
        (BUILD, (7, 5), True),
        (BUILD, (6, 0), False),  # P100
        (BUILD, (7, 0), False),  # V100
        (BUILD, (8, 9), True),  # L4: code of the same major version
        (BUILD, (11, 0), False),
        (BUILD, (13, 0), True),  # PTX for a later card
        (("compute_75",), (9, 0), True),
        (("compute_75",), (7, 0), False),
        (("sm_90a",), (9, 0), True),
        (("sm_90a",), (9, 1), False),
        (("compute_90a",), (10, 0), False),
        (("sm_100f",), (10, 3), True),
        (("sm_100f",), (12, 0), False),
        (("gfx90a",), (9, 0), False),
        ((), (7, 5), False),
    ],
)
def test_code_for_a_capability(
    architectures: tuple[str, ...], capability: tuple[int, int], runs: bool
) -> None:
    assert has_code(architectures, capability) is runs


def test_a_card_that_others_hold_says_how_much_and_what_would_fit() -> None:
    held = replace(T4, free=int(3.5 * GIB))
    fault = find_fault(held, 1.0, GpuNeeds(GIB, 4 * GIB))
    assert "5.00 GiB are needed (1.00 for weights, 4.00 for keys and values)" in fault
    assert "3.50 of the 14.56 GiB of this Tesla T4 are free" in fault
    assert "hold 11.06" in fault
    assert fault.endswith("kv_gib of at most 2.5 would fit")


def test_weights_that_fit_nowhere_need_another_card() -> None:
    fault = find_fault(T4, 1.0, GpuNeeds(15 * GIB, 4 * GIB))
    assert fault.endswith("take a larger card or a smaller base") and "would fit" not in fault


def test_a_share_that_is_too_small_says_what_it_has_room_for() -> None:
    fault = find_fault(T4, 0.25, GpuNeeds(GIB, 4 * GIB))
    assert "0.25 of this Tesla T4 has room for 3.14 GiB of tensors" in fault
    assert fault.endswith("kv_gib of at most 2.1 would fit")


class Cuda:
    """torch.cuda with a card, or with an error as it starts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
        self.initialized = False
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        for name, value in {
            "get_arch_list": lambda: list(BUILD),
            "init": lambda: self._start(error),
            "is_initialized": lambda: self.initialized,
            "mem_get_info": lambda: (2 * GIB, 15 * GIB),
            "get_device_name": lambda: "Tesla T4",
            "get_device_capability": lambda: (7, 5),
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)

    def _start(self, error: Exception | None) -> None:
        if error is not None:
            raise error
        self.initialized = True


def test_the_card_is_read_from_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda(monkeypatch)
    assert read_card() == CardFacts(
        "13.0", BUILD, "", "Tesla T4", (7, 5), free=2 * GIB, total=15 * GIB
    )


def test_memory_is_checked_before_the_process_has_any(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda(monkeypatch)
    monkeypatch.setattr("socket.gethostname", lambda: "gpu-3")
    monkeypatch.setattr("align.gpu_preflight.PATIENCE", 0)
    with pytest.raises(GpuError, match=r"^gpu-3: 3\.00 GiB are needed .*2\.00 of the 15\.00 GiB"):
        check_card(1.0, GpuNeeds(3 * GIB))
    assert cuda.initialized
    check_card(1.0, GpuNeeds(3 * GIB))  # now its own tensors would count as others'


def test_a_process_that_ends_has_time_to_free_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda(monkeypatch)
    free = iter([2 * GIB, 2 * GIB, 8 * GIB])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (next(free), 15 * GIB))
    monkeypatch.setattr("time.sleep", lambda _: None)
    check_card(1.0, GpuNeeds(3 * GIB))


def test_a_driver_that_is_too_old_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda(monkeypatch, RuntimeError(OLD_DRIVER))
    with pytest.raises(GpuError, match=r"the NVIDIA driver supports CUDA 12\.2") as raised:
        check_card()
    assert "\n" not in str(raised.value)


def test_a_device_error_from_before_is_no_fault_of_the_card(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Cuda(monkeypatch, torch.AcceleratorError("CUDA error: device-side assert triggered"))
    with pytest.raises(GpuLost):
        check_card()


@pytest.mark.skipif(torch.version.cuda is not None, reason="of a build without CUDA")
def test_a_cpu_build_that_is_given_a_gpu_says_so() -> None:
    with pytest.raises(GpuError, match="a build without CUDA; install a build with it"):
        check_card()

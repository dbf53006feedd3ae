"""Modules that an adapter saved as a whole (`modules_to_save`): a reward head, and no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from align.adapters.foreign.headers import StoredTensor
from align.adapters.foreign.keys import HEADS
from align.errors import AdapterError

#: A tensor of the base by its name, or None.
BaseWeight = Callable[[str], torch.Tensor | None]


def read_head(
    whole: Mapping[str, StoredTensor], base_weight: BaseWeight, hidden: int
) -> tuple[torch.Tensor | None, list[str]]:
    """The reward head (1, hidden) in fp32 or None, and what is to be said of other modules.

    Copies of the base's own weights are left out. AdapterError for modules that were changed.
    """
    score, notes = None, []
    for name, tensor in whole.items():
        module, _, kind = name.rpartition(".")
        module = module.removesuffix(".base_layer").removesuffix(".original_module")
        if module in HEADS and kind == "weight":
            if score is not None:
                raise AdapterError(f"{tensor.file}: two heads, {' and '.join(HEADS)}; expected one")
            score = _reward_head(tensor, hidden)
        elif _is_copy(tensor, base_weight(f"{module}.{kind}")):
            notes.append(f"{module} was saved with it and is the base's own, so it is left out")
        else:
            raise AdapterError(_changed(tensor, module, base_weight(f"{module}.{kind}")))
    return score, notes


def _reward_head(tensor: StoredTensor, hidden: int) -> torch.Tensor:
    if tensor.shape != (1, hidden):
        raise AdapterError(
            f"{tensor.file}: {tensor.key} is {list(tensor.shape)}; a reward head of this base is "
            f"[1, {hidden}], and classifiers with several labels are not served"
        )
    return tensor.read()


def _is_copy(tensor: StoredTensor, weight: torch.Tensor | None) -> bool:
    if weight is None or tuple(weight.shape) != tensor.shape:
        return False
    return torch.equal(tensor.read().to(weight.device, weight.dtype), weight)


def _changed(tensor: StoredTensor, module: str, weight: torch.Tensor | None) -> str:
    said = f"{tensor.file}: {tensor.key} {list(tensor.shape)}: "
    if weight is None:
        return said + f"no tensor of an adapter, and the base has no '{module}'"
    if len(tensor.shape) == 2 and tensor.shape[0] != weight.shape[0]:
        return said + (
            f"the base has {weight.shape[0]} tokens: the vocabulary was changed, and adapters "
            "share the base's; merge it into its base and serve that as a base of its own"
        )
    return said + (
        f"'{module}' was trained as a whole (modules_to_save), and all adapters share the base's; "
        "merge it into its base and serve that as a base of its own, or train without it"
    )

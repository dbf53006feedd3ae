"""An adapter's folder as LoRA factors of a base's modules, or why it cannot be that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from align.adapters.foreign.conversions import CONVERSIONS, Conversion, Sizes
from align.adapters.foreign.headers import read_headers
from align.adapters.foreign.keys import HEADS, AdapterTensors, some, sort_tensors
from align.adapters.foreign.locate import AdapterFiles
from align.adapters.foreign.patterns import check_matching
from align.adapters.foreign.supported import checked_config
from align.adapters.foreign.targets import is_targeted
from align.adapters.foreign.whole_modules import read_head
from align.adapters.tensors import LoraFactors, by_pattern
from align.errors import AdapterError


@dataclass(frozen=True)
class BaseShapes:
    """What an adapter has to fit: a base's name and the linear layers that the bank adapts.

    `linears` maps a module's full name to (out, in). `weight` gives another tensor of the base by
    its name, or None.
    """

    name: str
    linears: Mapping[str, tuple[int, int]]
    weight: Callable[[str], torch.Tensor | None]
    hidden: int


@dataclass(frozen=True)
class ForeignAdapter:
    """An adapter as plain LoRA. `conversion` says how it came from its `kind` (`peft_type`)."""

    factors: LoraFactors
    kind: str
    conversion: str
    notes: tuple[str, ...]


def read_foreign(files: AdapterFiles, base: BaseShapes, max_rank: int) -> ForeignAdapter:
    """The factors of an adapter that fits the base, with at most `max_rank` in each module.

    Names, shapes and dtypes are checked before any value is read. AdapterError names what does not
    fit, and what to do.
    """
    config = checked_config(files.folder, files.config)
    conversion = CONVERSIONS[config["peft_type"]]
    stored = read_headers(files.tensors)
    if not stored:
        raise AdapterError(f"{files.tensors[0]}: holds no tensors; save the adapter again")
    tensors = sort_tensors(stored)
    score, notes = read_head(tensors.whole, base.weight, base.hidden)
    _check_saved(files, tensors, config, score is not None)
    sizes = _sizes(files, tensors, conversion, base)
    check_matching(files.folder, config, base.linears)
    _check_ranks(files, sizes, config, max_rank)
    notes += _compare_targets(files, sizes, config, base)
    factors = LoraFactors(_factors(files, tensors, conversion, config, base), score)
    zero = [name for name, (a, b) in factors.modules.items() if not (a.any() and b.any())]
    if len(zero) == len(factors.modules):
        raise AdapterError(
            f"{files.folder}: it changes nothing: the update of all {len(zero)} modules is zero, "
            "as before the first step of training; save it after training"
        )
    if zero:
        notes.append(f"no effect on {len(zero)} modules, whose update is zero: {some(zero)}")
        for name in zero:
            del factors.modules[name]
    return ForeignAdapter(
        factors, config["peft_type"], conversion.description, (*files.notes, *notes)
    )


def _check_saved(
    files: AdapterFiles, tensors: AdapterTensors, config: Mapping[str, Any], head: bool
) -> None:
    """AdapterError if a reward head or another module that was saved whole is not in the file."""
    if config.get("task_type") == "SEQ_CLS" and not head:
        raise AdapterError(
            f"{files.folder}: task_type SEQ_CLS, and no head in its file; train with "
            "modules_to_save=['score'] and save it again"
        )
    whole = {name.rpartition(".")[0] for name in tensors.whole}
    saved = config.get("modules_to_save") or []
    missing = [
        name
        for name in ([saved] if isinstance(saved, str) else saved)
        if name not in HEADS and not any(f".{module}".endswith(f".{name}") for module in whole)
    ]
    if missing:
        raise AdapterError(
            f"{files.folder}: modules_to_save names {some(map(str, missing))}, and the file has no "
            "tensors of it: it is incomplete; save the adapter again"
        )


def _sizes(
    files: AdapterFiles, tensors: AdapterTensors, conversion: Conversion, base: BaseShapes
) -> dict[str, Sizes]:
    """Each module's sizes. AdapterError lists all modules that the base has otherwise or not."""
    if unused := set(tensors.shared) - set(conversion.shared):
        raise AdapterError(f"{files.folder}: {some(unused)}: tensors that belong to no module")
    if missing := set(conversion.shared) - set(tensors.shared):
        raise AdapterError(
            f"{files.folder}: the shared projections {some(missing)} are not in its file; save it "
            "with save_projection=True"
        )
    longest = max(max(shape) for shape in base.linears.values())
    for tensor in tensors.shared.values():
        if max(tensor.shape, default=0) > longest:
            raise AdapterError(
                f"{files.folder}: {tensor.key} is {list(tensor.shape)}, longer than any layer of "
                f"base '{base.name}'. Name the base that it was trained on: --base NAME"
            )
    shared = {name: tensor.shape for name, tensor in tensors.shared.items()}
    sizes, wrong = {}, []
    for module, parts in sorted(tensors.modules.items()):
        if unused := set(parts) - conversion.parts:
            raise AdapterError(
                f"{files.folder}: {module}: {some(unused)}: no part of a "
                f"{files.config['peft_type']} adapter; the config and the file are of different "
                "adapters"
            )
        try:
            shapes = {**shared, **{part: tensor.shape for part, tensor in parts.items()}}
            found = conversion.sizes(shapes)
        except KeyError as error:
            raise AdapterError(
                f"{files.folder}: {module}: no {error.args[0]} beside {', '.join(sorted(parts))}; "
                "the file is incomplete, or of another kind than its config says"
            ) from None
        except ValueError as error:
            raise AdapterError(
                f"{files.folder}: {module}: shapes of "
                f"{', '.join(f'{part} {list(shape)}' for part, shape in shapes.items())} do not go "
                f"together ({error}); parts of a sharded training (ZeRO-3, FSDP) have to be "
                "gathered before saving"
            ) from None
        if problem := _mismatch(module, found, base, bool(conversion.shared)):
            wrong.append(problem)
        sizes[module] = found
    if wrong:
        raise AdapterError(
            f"{files.folder}: {len(wrong)} of {len(sizes)} modules do not fit base '{base.name}': "
            f"{some(wrong)}. Name the base that it was trained on: --base NAME"
        )
    if not sizes:
        raise AdapterError(f"{files.folder}: no tensors of adapted modules; save the adapter again")
    return sizes


def _mismatch(module: str, sizes: Sizes, base: BaseShapes, shared: bool) -> str:
    if module not in base.linears:
        why = _NOT_HELD.get(module.rpartition(".")[2], "no linear layer of this base's decoder")
        return f"'{module}' is {why}"
    out, width = base.linears[module]
    widest = max(inner for _, inner in base.linears.values())
    fits = width <= sizes.width <= widest if shared else sizes.width == width
    if sizes.out == out and fits:
        return ""
    return f"'{module}' is {sizes.out}x{sizes.width}, the base's is {out}x{width}"


#: Layers outside of the decoder that tools adapt, too.
_NOT_HELD = {
    "lm_head": "the output head, which all adapters share",
    "embed_tokens": "the embedding, which all adapters share",
}


def _check_ranks(
    files: AdapterFiles, sizes: Mapping[str, Sizes], config: Mapping[str, Any], max_rank: int
) -> None:
    """AdapterError for ranks over the bank's, and for those that differ from the config's."""
    tallest = max(sizes, key=lambda module: sizes[module].lora_rank)
    if (rank := sizes[tallest].lora_rank) > max_rank:
        raise AdapterError(
            f"{files.folder}: '{tallest}' has rank {rank} as a LoRA, and the bank holds {max_rank} "
            f"at most; PEFT's save_as_lora(folder, model, rank={max_rank}) makes an adapter that "
            "comes near it"
        )
    if config["peft_type"] == "ADALORA":  # its ranks differ by module, and only the file has them
        return
    for module, found in sizes.items():
        expected = by_pattern(config.get("rank_pattern") or {}, module, config["r"])
        if found.peft_rank not in (None, expected):
            raise AdapterError(
                f"{files.folder}: '{module}' has rank {found.peft_rank}, and adapter_config.json "
                f"says {expected}; the config and the file are of different adapters"
            )


def _compare_targets(
    files: AdapterFiles, sizes: Mapping[str, Sizes], config: Mapping[str, Any], base: BaseShapes
) -> list[str]:
    """What is to be said of targets without tensors.

    AdapterError for tensors that PEFT would leave out, since the config does not name their module.
    """
    if stray := [module for module in sizes if not is_targeted(config, module)]:
        raise AdapterError(
            f"{files.folder}: target_modules of its config leaves out {len(stray)} modules with "
            f"tensors in the file, and PEFT would ignore those: {some(stray)}; name them in "
            "target_modules, or take the tensors out"
        )
    bare = [module for module in base.linears if module not in sizes]
    bare = [module for module in bare if is_targeted(config, module)]
    if not bare or config.get("target_modules") is None:
        return []
    return [f"no tensors for {len(bare)} modules of its target_modules: {some(bare)}"]


def _factors(
    files: AdapterFiles,
    tensors: AdapterTensors,
    conversion: Conversion,
    config: Mapping[str, Any],
    base: BaseShapes,
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The factors by module, without modules of rank 0."""
    shared = {name: tensor.read() for name, tensor in tensors.shared.items()}
    factors = {}
    for module, parts in tensors.modules.items():
        read = {**shared, **{part: tensor.read() for part, tensor in parts.items()}}
        a, b = conversion.factors(read, module, config)
        if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
            raise AdapterError(
                f"{files.folder}: '{module}' overflows fp32 with the config's alpha; check "
                "lora_alpha and alpha_pattern"
            )
        if a.shape[0]:
            _, width = base.linears[module]
            factors[module] = (a[:, :width].contiguous(), b.contiguous())
    return factors

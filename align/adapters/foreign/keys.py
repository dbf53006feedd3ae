"""Keys of an adapter's tensors: the module, and which part of its adapter a tensor is."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from align.adapters.foreign.headers import StoredTensor
from align.errors import AdapterError

#: What libraries put before a module's name: PEFT (some versions twice), DDP, FSDP, torch.compile.
_WRAPPERS = re.compile(
    r"(?:base_model\.model\.|base_model\.|module\.|_fsdp_wrapped_module\.|_orig_mod\.)*"
)

_PARTS = (
    r"lora_[ABE]|lora_embedding_[AB]|lora_magnitude_vector|hada_[wt][12](?:_[ab])?"
    r"|lokr_(?:w[12](?:_[ab])?|t2)|vera_lambda_[bd]|vera_[AB]"
)
#: `<module>.<part>`, then the adapter's name in files of older versions, then `weight`.
_ADAPTER = re.compile(rf"(?:(.+)\.)?({_PARTS})(?:\.(?!weight$|bias$)([^.]+))?(?:\.weight)?")
#: A module that was trained as a whole; its adapter's name is in files of older versions.
_WHOLE = re.compile(r"(.+?)(?:\.modules_to_save(?:\.([^.]+))?)?\.(weight|bias)")

_SHOWN = 120  # characters of a name in a message

#: Names that sequence classifiers of transformers give their head.
HEADS = ("score", "classifier")


@dataclass
class AdapterTensors:
    """Tensors by module and part, and those of modules that were saved as a whole."""

    modules: dict[str, dict[str, StoredTensor]] = field(default_factory=dict)
    shared: dict[str, StoredTensor] = field(default_factory=dict)  # of all modules: VeRA's
    whole: dict[str, StoredTensor] = field(default_factory=dict)  # by `<module>.weight`


def sort_tensors(stored: Mapping[str, StoredTensor]) -> AdapterTensors:
    """The tensors by what they belong to.

    AdapterError for keys that are no adapter's, for two keys of the same meaning, and for tensors
    of several adapters in a single file.
    """
    sorted_tensors, names, unknown = AdapterTensors(), set(), []
    modules: defaultdict[str, dict[str, StoredTensor]] = defaultdict(dict)
    for key, tensor in stored.items():
        plain = _unwrapped(key)
        if matched := _ADAPTER.fullmatch(plain):
            module, part, name = matched.groups()
            _put(modules[module] if module else sorted_tensors.shared, part, tensor)
        elif matched := _WHOLE.fullmatch(plain):
            module, name, kind = matched.groups()
            _put(sorted_tensors.whole, f"{module}.{kind}", tensor)
        else:
            unknown.append(key)
            continue
        names.add(name or "")
    if unknown:
        raise AdapterError(
            f"{next(iter(stored.values())).file}: {some(unknown)}: no tensors of an adapter that "
            "PEFT saves; expected names such as "
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
        )
    if len(names - {""}) > 1:
        raise AdapterError(
            f"{next(iter(stored.values())).file}: tensors of several adapters in one file: "
            f"{', '.join(sorted(names - {''}))}; save each by itself: PEFT's "
            "save_pretrained(folder, selected_adapters=[name])"
        )
    sorted_tensors.modules = dict(modules)
    return sorted_tensors


def some(names: Iterable[str], most: int = 4) -> str:
    """The first names, shortened, and how many there are beside them."""
    listed = [name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…" for name in sorted(names)]
    more = len(listed) - most
    return ", ".join(listed[:most]) + (f" and {more} more" if more > 0 else "")


def _unwrapped(key: str) -> str:
    key = _WRAPPERS.sub("", key, count=1)
    return key.replace("._fsdp_wrapped_module.", ".").replace("._orig_mod.", ".")


def _put(target: dict[str, StoredTensor], name: str, tensor: StoredTensor) -> None:
    if name in target:
        raise AdapterError(
            f"{tensor.file}: {target[name].key} and {tensor.key} are the same tensor of the same "
            "module; save the adapter again with PEFT's save_pretrained"
        )
    target[name] = tensor

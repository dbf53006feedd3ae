"""The base that an adapter of elsewhere belongs to: the one with the same weights."""

from __future__ import annotations

import re
from typing import Any

from huggingface_hub import snapshot_download
from torch import nn

from align.adapters.base_name import PUBLIC, digest_in_name
from align.adapters.foreign.locate import read_json_object
from align.adapters.foreign.read import BaseShapes
from align.base import Base, load_base
from align.digests import tokenizer_digest
from align.errors import AdapterError, ModelError
from align.inference.families import check_layout
from align.memory.shape import read_shape
from align.paths import expanded, names_folder
from align.sources import EMBEDDED, check_base

_QUANTISED = re.compile(r"(bnb|[48]-?bit|int[48]|gptq|awq|fp8|gguf|nf4|quantized)", re.IGNORECASE)
_COPY = "a quantised copy"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_STATE = "state the base that it was trained on: --base NAME (a folder or a hub id)"


def find_base(named: Any, revision: Any, stated: str | None) -> tuple[Base, list[str]]:
    """The base for an adapter whose config names `named`, and what could not be compared.

    Without `stated`, the named base is loaded, and must be at the commit `revision` if that is
    given; a folder with the weights and tokenizer of a built-in base is that base. With `stated`,
    that base is loaded; if the named base is on this machine, both must have the same weights.
    AdapterError, ModelError.
    """
    if named is not None and not isinstance(named, str):
        raise AdapterError(
            f"base_model_name_or_path is {str(named)[:60]}; expected a name; {_STATE}"
        )
    named = named or None
    if stated is None:
        base = _load_named(_loadable(named))
        revision = str(revision)
        if base.revision and _COMMIT.fullmatch(revision) and revision != base.revision:
            raise AdapterError(
                f"it was trained on commit {revision[:12]} of base '{named}', and the hub's newest "
                f"is {base.revision[:12]}; download that commit (`hf download {named} --revision "
                f"{revision} --local-dir FOLDER`) and name its folder: --base FOLDER"
            )
        return _as_built_in(base)
    if _not_as_it_is(stated) == _COPY:
        raise AdapterError(f"--base {stated}: {_COPY}; name the base itself, in full precision")
    check_base(stated)
    if named in (None, stated):
        return load_base(stated), []
    digest, why = _digest_of(str(named))
    base = load_base(stated)
    if digest is None:
        return base, [
            f"the config names base '{named[:120]}', {why}; --base states that it belongs to "
            f"'{stated}'"
        ]
    if not base.digest.startswith(digest):
        raise AdapterError(
            f"it was trained on base '{named}', whose weights ({digest[:12]}) are not those of "
            f"'{stated}' ({base.digest[:12]}); name a base with the same weights"
        )
    return base, []


def shapes_of(base: Base) -> BaseShapes:
    """The linear layers of the base's decoder, which the bank adapts, by full name.

    ModelError for a base that the engine does not serve.
    """
    check_layout(base)
    decoder = {id(module) for module in base.model.base_model.layers.modules()}
    linears = {
        name: (module.out_features, module.in_features)
        for name, module in base.model.named_modules()
        if id(module) in decoder and isinstance(module, nn.Linear)
    }
    weights = base.model.state_dict()
    return BaseShapes(base.ref, linears, weights.get, int(base.model.config.hidden_size))


def _loadable(named: str | None) -> str:
    """The named base, if it can be loaded here as it is. AdapterError says to state it."""
    if named is None:
        raise AdapterError(f"its config names no base; {_STATE}")
    if why := _not_as_it_is(named):
        raise AdapterError(f"its config names base '{named[:120]}', {why}; {_STATE}")
    return named


def _load_named(named: str) -> Base:
    """`load_base`; its error says that the base can be stated.

    A hub that cannot be reached is asked once: the hub client's retries would take half a minute,
    and write lines of their own.
    """
    try:
        check_base(named)
        return load_base(named)
    except ModelError as error:
        ours = next((ref for ref, name in PUBLIC.items() if name == named), None)
        rounded = f"; '{ours}' is a copy of it, rounded to 4 bits" if ours else ""
        raise ModelError(f"{error}. Or {_STATE}{rounded}") from None


def _as_built_in(base: Base) -> tuple[Base, list[str]]:
    """The built-in base that a folder is a copy of, and a note; else the base itself.

    An endpoint serves adapters of the base that it is started with, by name.
    """
    if base.ref in EMBEDDED or not names_folder(expanded(base.ref)):
        return base, []
    tokenizer, shape = tokenizer_digest(base.tokenizer), read_shape(base.ref)
    for ref in EMBEDDED:
        if read_shape(ref) != shape:
            continue
        ours = load_base(ref)
        if ours.digest == base.digest and tokenizer_digest(ours.tokenizer) == tokenizer:
            return ours, [f"'{base.ref}' has the weights and tokenizer of '{ref}', its base here"]
    return base, []


def _not_as_it_is(named: str) -> str:
    """Why the named base's own weights cannot be had by its name; empty if they may be."""
    if named in EMBEDDED:
        return ""
    folder = expanded(named)
    if names_folder(folder):
        if not (folder / "config.json").is_file():
            return "a folder without a config.json"
        quantised = read_json_object(folder / "config.json").get("quantization_config")
        return _COPY if quantised else ""
    if digest_in_name(named):
        return "a folder of the machine where it was trained"
    if named[:1] in ("/", ".", "~") or "\\" in named or named.count("/") > 1:
        return "a folder that is not on this machine"
    return _COPY if _QUANTISED.search(named.rpartition("/")[2]) else ""


def _digest_of(named: str) -> tuple[str | None, str]:
    """The digest (or its first digits) of the named base's weights, or None and the reason.

    Nothing is downloaded.
    """
    if digest := digest_in_name(named):
        return digest, ""
    if why := _not_as_it_is(named):
        return None, why
    folder = named
    if named not in EMBEDDED and not names_folder(expanded(named)):
        try:
            folder = snapshot_download(named, local_files_only=True)
        except (OSError, ValueError):  # also for names that are no hub ids
            return None, _not_here(named)
        if why := _not_as_it_is(folder):
            return None, why
    try:
        return load_base(folder).digest, ""
    except ModelError:
        return None, "which cannot be loaded here"


def _not_here(named: str) -> str:
    ours = next((ref for ref, name in PUBLIC.items() if name == named), None)
    if ours is None:
        return "which is not on this machine to compare"
    return f"of which '{ours}' is a copy rounded to 4 bits, so answers can differ slightly"

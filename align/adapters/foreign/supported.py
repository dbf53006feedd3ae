"""What of PEFT's configs can be held as a sum of low-rank updates, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from align.adapters.foreign.conversions import CONVERSIONS
from align.adapters.foreign.patterns import MOST_PATTERNS, check_regular
from align.adapters.tensors import NOT_A_SUM, PLAIN_STARTS
from align.errors import AdapterError

_MERGE = (
    "merge it into its base in fp32 (PEFT's merge_and_unload), save that, and serve it as a base"
)
_APPROXIMATE = (
    "PEFT's save_as_lora(folder, model, rank=64) makes a LoRA that comes near it; import that"
)
_MULTIPLIES = ("it multiplies the base's weights, and the difference has their full rank", _MERGE)
_PROMPTS = (
    "it learns vectors before the prompt, no change of weights",
    "train a LoRA instead",
)
_WEIGHTS = ("it trains weights of the base other than those of linear layers", _MERGE)
_GATED = ("which adapters act depends on each token", "import one of its LoRAs by itself")
_HIGH = (
    "its update is no product of two narrow matrices",
    _APPROXIMATE,
)

#: PEFT's other kinds: the reason, and the nearest way to serve them.
_REFUSED: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("IA3", "OFT", "BOFT", "HRA", "ROAD", "GLORA", "PSOFT", "OSF"), _MULTIPLIES),
    **dict.fromkeys(
        ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CPT",
         "CARTRIDGE", "ADAPTION_PROMPT"),
        _PROMPTS,
    ),
    **dict.fromkeys(("LN_TUNING", "TRAINABLE_TOKENS", "BEFT"), _WEIGHTS),
    **dict.fromkeys(("XLORA", "POLY"), _GATED),
    **dict.fromkeys(
        ("RANDLORA", "VBLORA", "UNILORA", "FOURIERFT", "SHIRA", "HIRA", "C3A", "MISS", "GRALORA",
         "DELORA", "WAVEFT", "TINYLORA"),
        _HIGH,
    ),
}  # fmt: skip

#: Options that training alone reads, that only say which modules have tensors, or that are read
#: elsewhere here.
_READ_OR_WITHOUT_EFFECT = frozenset((
    "auto_mapping", "base_model_name_or_path", "revision", "peft_type", "peft_version",
    "task_type", "inference_mode", "r", "lora_alpha", "lora_dropout", "target_modules",
    "exclude_modules", "fan_in_fan_out", "bias", "use_rslora", "modules_to_save",
    "init_lora_weights", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern",
    "megatron_config", "megatron_core", "loftq_config", "eva_config", "corda_config",
    "lora_ga_config", "velora_config", "runtime_config", "qalora_group_size",
    "ensure_weight_tying",
    "alpha", "init_weights", "rank_dropout", "module_dropout", "use_effective_conv2d",
    "rank_dropout_scale", "decompose_both", "decompose_factor",
    "projection_prng_key", "save_projection", "vera_dropout", "d_initial",
    "target_r", "init_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight",
    "total_step",
))  # fmt: skip

#: No rank and no alpha comes near it.
_HUGE = 1e30

#: PEFT's defaults for what configs of older versions lack.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "LORA": {"r": 8, "lora_alpha": 8},
    "ADALORA": {"init_r": 12, "lora_alpha": 8},
    "LOHA": {"r": 8, "alpha": 8},
    "LOKR": {"r": 8, "alpha": 8},
    "VERA": {"r": 256},
}


def checked_config(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with PEFT's defaults for what it lacks.

    AdapterError names the kind or the option that cannot be held, why, and what to do instead.
    """
    kind = str(config.get("peft_type") or "").rpartition(".")[2].upper()
    if not kind:
        raise AdapterError(
            f"{folder}: its adapter_config.json has no peft_type, so it is not one of PEFT's; "
            "expected peft_type, r, lora_alpha and target_modules"
        )
    if kind not in CONVERSIONS:
        reason, remedy = _REFUSED.get(kind, ("no kind of adapter that is known here", _MERGE))
        raise AdapterError(f"{folder}: peft_type {kind[:40]}: {reason}; {remedy}")
    _check_options(folder, kind, config)
    checked = {**_DEFAULTS[kind], **{k: v for k, v in config.items() if v is not None}}
    checked["peft_type"] = kind
    for name in _DEFAULTS[kind]:
        _check_number(folder, name, checked[name], name in ("r", "init_r"))
    _check_targets(folder, checked)
    for name in ("rank_pattern", "alpha_pattern") if kind != "ADALORA" else ():
        _check_pattern(folder, name, checked.get(name) or {})
    return checked


def _check_options(folder: Path, kind: str, config: Mapping[str, Any]) -> None:
    for option in NOT_A_SUM:
        if config.get(option):
            raise AdapterError(
                f"{folder}: {kind} with {option}: its effect is not a sum of low-rank updates; "
                f"{_MERGE}"
            )
    start = config.get("init_lora_weights", True)
    if (start.lower() if isinstance(start, str) else start) not in PLAIN_STARTS:
        raise AdapterError(
            f"{folder}: init_lora_weights={str(start)[:40]!r} changed the base's weights at the "
            "start of training, and its files lack that; where it was trained, save it converted: "
            "save_pretrained(folder, path_initial_model_for_weight_conversion=INITIAL) makes a "
            "plain LoRA"
        )
    if (task := config.get("task_type")) not in (None, "CAUSAL_LM", "SEQ_CLS"):
        raise AdapterError(
            f"{folder}: task_type {str(task)[:40]!r}; allowed: CAUSAL_LM and SEQ_CLS (a reward "
            "model), which the engine serves"
        )
    if (bias := config.get("bias", "none")) not in ("none", None):
        raise AdapterError(
            f"{folder}: bias={str(bias)[:40]!r}: trained biases would change the base for all "
            f"adapters; {_MERGE}"
        )
    unknown = sorted(
        name for name, value in config.items() if value and name not in _READ_OR_WITHOUT_EFFECT
    )
    if unknown:
        raise AdapterError(
            f"{folder}: adapter_config.json sets {', '.join(unknown)[:200]}, which is not known "
            "here and may change what the adapter computes; where it does not, remove it"
        )


def _check_targets(folder: Path, config: Mapping[str, Any]) -> None:
    """AdapterError for patterns that are none, and for lists of anything but names."""
    for name in ("target_modules", "exclude_modules", "layers_pattern", "modules_to_save"):
        value = config.get(name)
        names = [value] if isinstance(value, str) else [] if value is None else value
        if not isinstance(names, list) or not all(isinstance(entry, str) for entry in names):
            raise AdapterError(f"{folder}: {name}: expected a pattern or a list of names")
        if isinstance(value, str) or name == "layers_pattern":
            for pattern in names:
                check_regular(folder, name, pattern)
    layers = config.get("layers_to_transform")
    if not isinstance(layers, int | list | None):
        raise AdapterError(f"{folder}: layers_to_transform: expected layer numbers")


def _check_number(folder: Path, name: str, value: Any, whole: bool) -> None:
    fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not fits or not abs(value) < _HUGE or (whole and value < 1):
        expected = "a whole number from 1 on" if whole else "a number"
        raise AdapterError(f"{folder}: {name}={str(value)[:40]}: expected {expected}")


def _check_pattern(folder: Path, name: str, patterns: object) -> None:
    if not isinstance(patterns, Mapping):
        raise AdapterError(f"{folder}: {name}: expected an object of patterns and numbers")
    if len(patterns) > MOST_PATTERNS:
        raise AdapterError(f"{folder}: {name}: {len(patterns)} patterns; allowed: {MOST_PATTERNS}")
    for pattern, value in patterns.items():
        check_regular(folder, name, pattern)
        _check_number(folder, f"{name} of '{pattern[:60]}'", value, name == "rank_pattern")

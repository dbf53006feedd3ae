"""TRL's fields that a recipe cannot set, because Alignery sets them, with the reasons."""

from __future__ import annotations

from align.methods import METHODS, MethodName

_FOLDER = "every trial has a folder of its own"
_PRECISION = "the machine's precision decides: bf16 where it is computed, fp16 on older GPUs"
_SEED = "use the recipe's field 'seed'"
_SAVING = "checkpoints lie at the steps of 'sweep.rungs' and 'save_steps', and at the end"
_RESUMING = "a stage goes on from its newest checkpoint by itself"
_HELD_OUT = (
    "what counts is measured on the published adapter: use 'objective', 'sweep.rungs' and the "
    "recipe's 'evaluation'"
)
_LOGGING = "every step is logged, and what counts is kept with the trial"
_HUB = "adapters are registered and stored by Alignery; copy one with `alignery adapter`"
_ONE_DEVICE = "a trial runs in one process on one device; trials run beside each other instead"
_ENGINE = "Alignery's engine writes the completions"
_SAMPLING = "Alignery's engine samples by temperature, top_p and top_k"
_TEMPLATE = "serving renders prompts with the base's own tokenizer and template, so training does"
_BASE = "the recipe's field 'base' says what is loaded, and it is shared by all that uses it"
_ROWS = "the rows are prepared before TRL sees them"
_REFERENCE = "the reference is the parent, which does not move while a stage trains"
_PRECOMPUTED = "the reference's log-probabilities are computed once, and shared by all trials"
_PINNED = "rows are short, and pinning their memory gains nothing"
_MEMORY = "out of memory, a stage halves per_device_train_batch_size by itself and accumulates more"
_RENAMED = "TRL's configs take both names; use 'gradient_checkpointing'"
_SHARED = "it would change the base's weights or layers, which evaluation and serving share"
_TOOLS = "stages have no tools"

#: Names by reason; a name that ends in `*` is a prefix.
_REASONS: dict[str, tuple[str, ...]] = {
    _FOLDER: ("output_dir",),
    _PRECISION: ("bf16*", "fp16*", "tf32", "use_cpu"),
    _SEED: ("seed", "data_seed"),
    _SAVING: (
        "save_strategy", "save_total_limit", "save_only_model", "save_on_each_node",
        "enable_jit_checkpoint", "load_best_model_at_end", "metric_for_best_model",
        "greater_is_better",
    ),
    _RESUMING: (
        "resume_from_checkpoint", "ignore_data_skip", "restore_callback_states_from_checkpoint",
    ),
    _HELD_OUT: (
        "eval_*", "do_*", "per_device_eval_batch_size", "prediction_loss_only",
        "batch_eval_metrics", "include_for_metrics", "num_generations_eval",
    ),
    _LOGGING: (
        "logging_*", "log_*", "disable_tqdm", "report_to", "run_name", "project", "trackio_*",
        "num_completions_to_print",
    ),
    _HUB: ("push_to_hub*", "hub_*"),
    _ONE_DEVICE: (
        "deepspeed", "fsdp*", "parallelism_config", "ddp_*", "local_rank", "ds3_*",
        "average_tokens_across_devices",
    ),
    _ENGINE: (
        "use_vllm", "vllm_*", "use_transformers_*", "transformers_continuous_batching_config",
        "cache_implementation",
    ),
    _SAMPLING: ("generation_kwargs", "min_p", "repetition_penalty"),
    _TEMPLATE: ("chat_template_*", "eos_token", "pad_token"),
    _BASE: ("model_init_kwargs", "trust_remote_code"),
    _ROWS: (
        "dataset_text_field", "dataset_kwargs", "remove_unused_columns", "label_names",
        "length_column_name",
    ),
    _REFERENCE: ("sync_ref_model", "ref_model_*"),
    _PRECOMPUTED: ("precompute_ref_*",),
    "weigh them in the field 'rewards'": ("reward_weights",),
    _MEMORY: ("auto_find_batch_size",),
    _RENAMED: ("activation_checkpointing*",),
    _SHARED: ("cast_lm_head_to_fp32", "use_liger_kernel", "liger_kernel_config"),
    _PINNED: ("dataloader_pin_memory",),
    _TOOLS: ("max_tool_calling_iterations",),
}  # fmt: skip


def decided(method: MethodName, field: str) -> str | None:
    """Why a stage cannot set this field, and what to use instead; None if it can."""
    if reason := METHODS[method].unsupported.get(field):
        return reason
    for reason, names in _REASONS.items():
        for name in names:
            if field == name or (name.endswith("*") and field.startswith(name[:-1])):
                return reason
    return None


def patterns() -> dict[str, tuple[str, ...]]:
    """Names by reason; a name that ends in `*` is a prefix."""
    return dict(_REASONS)

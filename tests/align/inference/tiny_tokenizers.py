"""Small tokenizers, trained here, with the pipelines of the families that the engine supports."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from align.base import CHATML
from align.sources import packaged_smollm2

#: Nine scripts, emoji of several characters, combining marks, white space, and what tokenizers
#: use as marks. No text ends in white space or has a special token.
TEXTS = (
    "The price of a café is naïve, of course, and of no use.",
    "Привет, мир! Это простая проверка.",
    "Καλημέρα κόσμε, τι κάνεις σήμερα;",
    "مرحبا بالعالم، كيف حالك اليوم؟",
    "नमस्ते दुनिया, यह एक परीक्षण है।",
    "你好，世界。今天天气很好。",
    "こんにちは世界、テストです。",
    "안녕하세요 세계, 시험입니다.",
    "สวัสดีชาวโลก นี่คือการทดสอบ",
    "Family 👩‍👩‍👧‍👦 waves 👋🏽 and 🏳️‍🌈 flies 🙂🙂",
    "e\u0301 o\u0308 a\u0300 combine",
    "  two spaces,\n\n\tthen   runs\n    of them\r\n\tand tabs.",
    " one space in front",
    "literal ▁ and Ġ and Ċ and <0x41> and \ufffd and ## and </w> here",
    "\ufffd\ufffd",
)

#: As in SmolLM2: a control token with a role, a control token without one, and ordinary text.
END, SILENT, ADDED = "<|im_end|>", "<|pad_2|>", "<tool_call>"
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN, LLAMA3 = _SPLIT % "", _SPLIT % "{1,3}"

BYTE_LEVEL = ("gpt2", "smollm2", "incomplete", "qwen2", "llama3")
SENTENCEPIECE = ("llama2", "mistral-first", "mistral-always", "mistral-never", "gemma")
METASPACE = ("metaspace-first", "metaspace-always", "metaspace-never")
EXACT = (*BYTE_LEVEL, *SENTENCEPIECE, *METASPACE)
#: Their decoders look at neighbours, or transformers changes what they return.
DECODED = ("wordpiece", "bpe-suffix", "no-decoder", "cleaned-up")


@cache
def tiny_tokenizer(name: str) -> Any:
    """The tokenizer of this name."""
    if name == "smollm2":  # the base in its package; its weights are not needed, and take long
        file = packaged_smollm2()
        return AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    if name in BYTE_LEVEL:
        return _finished(_byte_level(name))
    if name == "wordpiece":
        return _finished(
            _trained(models.WordPiece, trainers.WordPieceTrainer, decoders.WordPiece())
        )
    if name == "bpe-suffix":
        suffix = decoders.BPEDecoder("</w>")
        return _finished(
            _trained(models.BPE, trainers.BpeTrainer, suffix, end_of_word_suffix="</w>")
        )
    if name in ("no-decoder", "cleaned-up"):
        made = _trained(models.WordLevel, trainers.WordLevelTrainer, None)
        return _finished(made, clean_up_tokenization_spaces=name == "cleaned-up")
    return _finished(_pieces(name))


def _finished(made: Tokenizer, **options: Any) -> Any:
    made.add_tokens([AddedToken(ADDED, special=False, normalized=False)])
    made.add_special_tokens([SILENT, END])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=END, pad_token=END, chat_template=CHATML, **options
    )


def _byte_level(name: str) -> Tokenizer:
    made = Tokenizer(models.BPE())
    split = {"qwen2": QWEN, "llama3": LLAMA3}.get(name)
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if split is not None:
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(split), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    if name == "qwen2":
        made.normalizer = normalizers.NFC()
    made.decoder = decoders.ByteLevel()
    alphabet = [] if name == "incomplete" else pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, show_progress=False, special_tokens=["<|end|>"]
    )
    made.train_from_iterator(TEXTS, trainer)
    return made


def _trained(model: Any, trainer: Any, decoder: Any, **options: Any) -> Tokenizer:
    """Words that are split at white space, which the decoder puts back."""
    made = Tokenizer(model(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if decoder is not None:
        made.decoder = decoder
    made.train_from_iterator(
        TEXTS,
        trainer(vocab_size=400, show_progress=False, special_tokens=["<unk>"], **options),
    )
    return made


def _pieces(name: str) -> Tokenizer:
    """SentencePiece as BPE: "▁" for a space, and bytes for characters outside of the alphabet."""
    family, _, scheme = name.partition("-")
    learned = Tokenizer(models.BPE())
    learned.normalizer = normalizers.Replace(" ", "▁")
    learned.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=400, limit_alphabet=90, show_progress=False)
    )
    model = json.loads(learned.to_str())["model"]
    names = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *model["vocab"]]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(names))}
    merges = [tuple(merge) for merge in model["merges"]]
    made = Tokenizer(
        models.BPE(
            vocabulary,
            merges,
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=family != "metaspace",
        )
    )
    if family in ("llama2", "gemma"):
        space = normalizers.Replace(" ", "▁")
        legacy = normalizers.Sequence([normalizers.Prepend("▁"), space])
        made.normalizer = legacy if family == "llama2" else space
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    if family == "metaspace":
        made.decoder = decoders.Metaspace(prepend_scheme=scheme)
        return made
    stages = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if family == "llama2" or scheme in ("first", "always"):
        stages.append(decoders.Strip(" ", 1, 0))
    made.decoder = decoders.Sequence(stages)
    return made

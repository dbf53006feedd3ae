"""Small tokenizers of several families, each with chat template and control tokens."""

from collections.abc import Callable
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: As Llama 2 and Mistral: trimmed contents, and turns that begin and end with <s> and </s>.
TRIMMED = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %} {{ m['content'] | trim }}</s>"
    "{% else %}<s>[INST] {{ m['content'] | trim }} [/INST]{% endif %}{% endfor %}"
)
_CHARACTERS = [chr(code) for code in range(32, 127)] + list("\néß日 ▁�")
_SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]


def _byte_level() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("<", "|"), ("i", "m"), ("|", ">"), ("Ġ", "t"), ("t", "h")]
    vocabulary = [*alphabet, *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(models.BPE({text: i for i, text in enumerate(vocabulary)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _metaspace(scheme: str) -> Tokenizer:
    """A BPE model of SentencePiece's kind, with bytes for unknown characters."""
    merges = [("▁", "t"), ("▁t", "h"), ("<", "|"), ("i", "m"), ("▁", "<")]
    vocabulary = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *dict.fromkeys(_CHARACTERS)]
    vocabulary += ["".join(pair) for pair in merges]
    model = models.BPE(
        {text: i for i, text in enumerate(vocabulary)},
        merges,
        unk_token="<unk>",
        byte_fallback=True,
        fuse_unk=True,
    )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)  # type: ignore[arg-type]
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer


def _unigram() -> Tokenizer:
    """A model that has the control tokens as pieces, as XLM-R's, behind NFKC."""
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("▁the", -3.0)]
    pieces += [(text, -5.0) for text in dict.fromkeys(_CHARACTERS)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def _word_piece() -> Tokenizer:
    """A model of BERT's kind: lower case, unknown words, [CLS] and [SEP]."""
    vocabulary = ["[UNK]", *_CHARACTERS, *(f"##{text}" for text in _CHARACTERS)]
    model = models.WordPiece(
        {text: i for i, text in enumerate(dict.fromkeys(vocabulary))}, unk_token="[UNK]"
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _complete(model: Tokenizer, template: str, unknown: str | None = None) -> Any:
    added = [AddedToken(text, special=True, normalized=False) for text in _SPECIAL]
    added.append(AddedToken("<think>", special=False, normalized=False))
    model.add_tokens(added)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model, eos_token="</s>", bos_token="<s>", unk_token=unknown
    )
    tokenizer.chat_template = template
    return tokenizer


#: By family: GPT's byte pairs, SentencePiece's as in Llama 3's and Mistral's variants, and others.
SMALL_TOKENIZERS: dict[str, Callable[[], Any]] = {
    "byte-level": lambda: _complete(_byte_level(), CHATML),
    "metaspace-first": lambda: _complete(_metaspace("first"), TRIMMED, "<unk>"),
    "metaspace-always": lambda: _complete(_metaspace("always"), TRIMMED, "<unk>"),
    "unigram": lambda: _complete(_unigram(), TRIMMED, "<unk>"),
    "wordpiece": lambda: _complete(_word_piece(), CHATML, "[UNK]"),
}

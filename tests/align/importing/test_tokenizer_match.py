"""A tokenizer beside an adapter that reads otherwise than the base's is refused or said."""

import copy
import json
from dataclasses import replace

import pytest

from align.errors import AdapterError
from align.importing.tokenizer_match import compare_tokenizers


@pytest.fixture
def folder(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_the_bases_own_tokenizer_needs_no_word(folder, tiny, tmp_path_factory):
    assert compare_tokenizers(folder, tiny) == []
    assert compare_tokenizers(tmp_path_factory.mktemp("without"), tiny) == []


def test_another_chat_template_is_said(folder, tiny, tokenizer, tmp_path_factory):
    tokenizer.chat_template = "{{ messages[0].content }}"
    tokenizer.save_pretrained(folder)
    (note,) = compare_tokenizers(folder, tiny)
    assert "chat template differs" in note
    alone = tmp_path_factory.mktemp("alone")
    (alone / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert compare_tokenizers(alone, tiny) == [note]


def test_a_file_that_is_too_large_for_a_tokenizer_is_not_read(folder, tiny):
    with (folder / "tokenizer.json").open("r+b") as file:
        file.truncate(2**27 + 1)
    assert compare_tokenizers(folder, tiny) == [
        "its tokenizer.json is too large for a tokenizer's; it is served with the base's"
    ]


def test_a_pad_token_that_no_text_holds_needs_no_embedding(folder, tiny, tokenizer):
    tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    tokenizer.save_pretrained(folder)
    assert compare_tokenizers(folder, tiny) == []


def test_tokens_without_an_embedding_are_refused(folder, tiny, tokenizer):
    tokenizer.add_tokens(["<tool>"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(AdapterError, match=r"adds '<tool>'.*no embedding.*merge"):
        compare_tokenizers(folder, tiny)


def test_added_tokens_with_an_embedding_are_said(folder, tiny, tokenizer):
    """Some bases have more embeddings than their tokenizer has tokens."""
    tokenizer.add_tokens(["<tool>"])
    tokenizer.save_pretrained(folder)
    model = copy.deepcopy(tiny.model)  # a shell shares its layers
    model.resize_token_embeddings(len(tokenizer) + 8)
    (note,) = compare_tokenizers(folder, replace(tiny, model=model))
    assert "adds '<tool>'" in note


def test_other_ids_are_refused(folder, tiny):
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(content))
    with pytest.raises(AdapterError, match=r"other ids for 'a', 'b'.*--base NAME"):
        compare_tokenizers(folder, tiny)


def test_another_end_of_answers_is_said(folder, tiny, tokenizer):
    tokenizer.eos_token = "<|im_start|>"
    tokenizer.save_pretrained(folder)
    (note,) = compare_tokenizers(folder, tiny)
    assert "ends answers with '<|im_start|>'" in note


def test_a_damaged_tokenizer_is_said(folder, tiny):
    (folder / "tokenizer.json").write_text("{")
    (note,) = compare_tokenizers(folder, tiny)
    assert "cannot be read" in note

"""The tokenizer of a base is had without its weights."""

from pathlib import Path

import pytest

from align.base import load_base
from align.base_tokenizer import read_tokenizer
from align.digests import tokenizer_digest
from align.errors import ModelError
from align.sources import SMOLLM2, unpacked

TURN = [{"role": "user", "content": "What is 2 plus 3?"}]


def test_it_is_the_tokenizer_of_the_base() -> None:
    tokenizer = read_tokenizer("tiny-random")
    assert tokenizer_digest(tokenizer) == load_base("tiny-random").tokenizer_digest


def test_the_built_in_base_is_not_unpacked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGNERY_HOME", str(tmp_path))
    tokenizer = read_tokenizer.__wrapped__(SMOLLM2)
    assert tokenizer.apply_chat_template(TURN, tokenize=False).endswith("3?<|im_end|>\n")
    assert not unpacked(SMOLLM2).exists()


def test_a_hub_that_is_not_asked_has_none() -> None:
    assert read_tokenizer("nobody/nothing") is None


def test_a_folder_without_a_tokenizer_has_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert read_tokenizer(str(tmp_path)) is None
    with pytest.raises(ModelError, match="no such folder"):
        read_tokenizer(str(tmp_path / "missing"))

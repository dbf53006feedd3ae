"""A base as it is loaded: its attention, and its weights in memory."""

import sys
from pathlib import Path

import pytest

from align.base import load_base
from align.precision import (
    device,
    precision,
)


@pytest.mark.skipif(
    sys.platform != "linux" or device().type != "cpu", reason="reads /proc; weights in memory"
)
def test_weights_in_the_serving_dtype_are_pages_of_their_file(home, tiny, tmp_path):
    """So all workers of a machine share them."""
    folder = tmp_path / "base"
    shell = load_base("tiny-random").shell().to(precision().dtype)
    shell.save_pretrained(folder)
    load_base("tiny-random").tokenizer.save_pretrained(folder)
    mapped = []
    weights = load_base.__wrapped__(str(folder)).model.get_input_embeddings().weight
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(".safetensors") and str(folder) in line:
            mapped.append([int(one, 16) for one in line.split()[0].split("-")])
    assert any(low <= weights.data_ptr() < high for low, high in mapped)


def test_a_base_attends_with_sdpa_and_is_no_hub_revision():
    base = load_base("tiny-random")
    assert base.model.config._attn_implementation == "sdpa"
    assert base.revision is None

"""Operations for a GPU read no value back from it: meta tensors have none to read."""

import pytest
import torch

from align.inference.kernels import Batch, Columns, Heads, LayerCache
from align.inference.kernels.plain import PlainOps
from align.inference.modeling.prompt_attention import read

META = torch.device("meta")
TOKENS, WIDTH, OUTS = 12, 64, [48, 16, 16]
SPANS = ((0, 4, 0, 0), (4, 7, 1, 3), (7, 12, 2, 0))
GROUPS = ((0, 4, 0), (7, 12, 1))


def empty(*shape):
    return torch.empty(*shape, dtype=torch.float16, device=META)


def pass_over(spans=(), groups=()):
    slots, positions, bank = torch.empty(3, TOKENS, dtype=torch.int32, device=META)
    return Batch(slots, positions, bank, 20, True, spans, groups, few_launches=True)


@pytest.mark.parametrize("spans", [(), SPANS], ids=["decode", "prompts"])
def test_lora_reads_nothing_back(spans):
    columns = Columns(4, 64, META)
    layer = PlainOps(few_launches=True).lora(columns, empty(1, WIDTH), OUTS)
    for slot, rank in enumerate((8, 40, 3)):
        columns.assign(slot, rank)
        pairs = [(torch.ones(rank, WIDTH), torch.ones(rank, out)) for out in OUTS]
        layer.put(slot, [pairs[0], None, pairs[2]])
    batch, y = pass_over(spans, GROUPS if spans else ()), empty(TOKENS, sum(OUTS))
    layer.add(empty(TOKENS, WIDTH), y, batch)
    assert columns.blocks(batch) and y.shape == (TOKENS, sum(OUTS))


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("spans", [(), SPANS], ids=["decode", "prompts"])
def test_attention_reads_nothing_back(spans, window):
    heads = Heads(4, 2, 16, 0.25, window, empty(16), empty(16))
    cache, batch = LayerCache(empty(5, 2, 64, 16), empty(5, 2, 64, 16)), pass_over(spans)
    attention = PlainOps(few_launches=True).attention(heads, cache)
    cosine = sine = empty(TOKENS, 16)
    qkv = attention.rotate_and_store(empty(TOKENS, heads.width), cosine, sine, batch)
    if spans:
        out = read(cache, qkv.view(TOKENS, -1, 16)[:, :4], batch, heads.scale, window)
    else:
        out = attention.attend(qkv, batch)
    assert out.shape == (TOKENS, 64)

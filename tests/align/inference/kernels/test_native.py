"""The operations in C against those in torch."""

import pytest

from align.inference.kernels import Heads
from align.inference.kernels.plain import PlainOps
from tests.align.inference.kernels.random_batches import (
    NAN,
    TOKENS,
    assert_near,
    decoding,
    random,
    random_cache,
)


@pytest.mark.parametrize("width", [1, 15, 16, 17, 64, 1000])
@pytest.mark.parametrize("rows", [1, 5, 9])
def test_rms_norm(native, dtype, rows, width):
    x, weight = random(dtype, 1, rows, width), random(dtype, width, seed=1)
    x[0, 0, width // 2] = NAN
    assert_near(native.rms_norm(x, weight, 1e-5), PlainOps().rms_norm(x, weight, 1e-5))


@pytest.mark.parametrize("width", [1, 15, 16, 17, 1000])
@pytest.mark.parametrize("rows", [1, 5, 9])
def test_silu_mul(native, dtype, rows, width):
    x = random(dtype, 1, rows, 2 * width) * 30
    x[0, rows - 1, width - 1] = x[0, 0, -1] = NAN
    assert_near(native.silu_mul(x), PlainOps().silu_mul(x))


@pytest.mark.parametrize("normed", [False, True], ids=["", "normed"])
@pytest.mark.parametrize(("heads", "kv_heads", "head"), [(4, 2, 16), (7, 1, 48), (3, 3, 128)])
@pytest.mark.parametrize("rows", [1, 6])
def test_rotate_and_store(native, dtype, rows, heads, kv_heads, head, normed):
    norms = [random(dtype, head, seed=seed) if normed else None for seed in (5, 6)]
    shape = Heads(heads, kv_heads, head, 0.1, None, *norms)
    qkv = random(dtype, rows, shape.width)
    qkv[0, 3] = qkv[rows - 1, -2] = NAN
    cosine, sine = random(dtype, rows, head, seed=1), random(dtype, rows, head, seed=2)
    batch, results = decoding([7 * row % TOKENS for row in range(rows)]), []
    for ops in (native, PlainOps()):
        cache = random_cache(dtype, shape)
        done = ops.attention(shape, cache).rotate_and_store(qkv.clone(), cosine, sine, batch)
        results.append((done[:, : heads * head], cache.keys, cache.values))
    for ours, theirs in zip(*results, strict=True):
        assert_near(ours, theirs)


@pytest.mark.parametrize("window", [None, 1, 5, 64, 100])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "head"),
    [
        *((group, 1, 16) for group in range(1, 8)),
        *((group, 1, 64) for group in range(1, 8)),
        *((2 * group, 2, 128) for group in (1, 2, 5)),
        (4, 2, 32),
        (3, 1, 48),
        (4, 2, 80),
        (2, 1, 256),
        (4, 2, 24),
        (2, 1, 272),
    ],
)
def test_attend(native, dtype, heads, kv_heads, head, window):
    shape = Heads(heads, kv_heads, head, head**-0.5, window)
    cache, qkv = random_cache(dtype, shape), 2 * random(dtype, 9, shape.width)
    batch = decoding([0, 1, 15, 62, 63, 64, 65, 130, TOKENS - 1])
    assert_near(
        native.attention(shape, cache).attend(qkv, batch),
        PlainOps().attention(shape, cache).attend(qkv, batch),
    )

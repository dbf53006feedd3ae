"""A reward model is the base itself with a head of its own."""

import copy

import torch

from align.methods.trainers.sequence_classifier import with_head


def test_the_backbone_is_shared_and_the_base_stays_a_language_model(tiny) -> None:
    model = tiny.shell()
    classifier = with_head(model, pad_token_id=3, seed=0)
    assert classifier.base_model is model.base_model
    assert classifier.config.pad_token_id == 3 and classifier.config.num_labels == 1
    assert model.config is not classifier.config
    assert model(torch.tensor([[5, 6]])).logits.shape == (1, 2, model.config.vocab_size)


def test_the_head_is_of_its_seed_in_fp32(tiny) -> None:
    model = copy.deepcopy(tiny.shell()).bfloat16()
    first, again, other = (with_head(model, 0, seed).score.weight for seed in (1, 1, 2))
    assert first.shape == (1, model.config.hidden_size) and first.dtype == torch.float32
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_last_token_that_is_no_padding_is_scored(tiny) -> None:
    classifier = with_head(tiny.shell(), pad_token_id=0, seed=1).eval()
    with torch.no_grad():
        short = classifier(torch.tensor([[5, 6, 7]])).logits
        padded = classifier(torch.tensor([[5, 6, 7, 0, 0]])).logits
    assert torch.allclose(short, padded, atol=1e-6)

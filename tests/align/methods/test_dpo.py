"""Direct preference optimisation: fields that are wrong together."""

import pytest

from align.methods.dpo import METHOD
from tests.align.training.short_runs import stage_of


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ()),
        ({"loss_type": "exo_pair", "label_smoothing": 0.001}, ()),
        ({"loss_type": "exo_pair"}, ("label_smoothing above 0",)),
        ({"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]}, ()),
        ({"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0]}, ("1 numbers for 2",)),
        ({"loss_type": "aot", "f_divergence_type": "reverse_kl"}, ()),
        (
            {"loss_type": "aot", "f_divergence_type": "forward_kl", "use_weighting": True},
            ("use_weighting does not go", "'forward_kl' does not go with loss_type aot"),
        ),
    ],
)
def test_losses_and_what_does_not_go_with_them(fields, words) -> None:
    stage = stage_of("dpo").model_copy(update=fields)
    complaints = list(METHOD.complaints(stage))
    assert len(complaints) == len(words)
    assert all(word in complaint for word, complaint in zip(words, complaints, strict=True))

"""What online methods share: how often completions are written."""

import pytest

from align.methods.online import generation_period
from tests.align.recipe.stages import Raw, one


@pytest.mark.parametrize("accumulation", [1, 2, 3, 4])
@pytest.mark.parametrize("batches", [None, 1, 2, 3, 4, 6])
@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_generation_boundaries_are_where_trl_writes_new_completions(
    accumulation: int, batches: int | None, iterations: int
) -> None:
    """As `GRPOTrainer._prepare_inputs` counts: `_step` goes up by one each micro-batch."""
    given: Raw = {"gradient_accumulation_steps": accumulation, "num_iterations": iterations}
    if batches is not None:
        given["steps_per_generation"] = batches
    period = generation_period(one("grpo", **given))
    generate_every = (batches or accumulation) * iterations
    fresh = [step for step in range(1, 25) if step * accumulation % generate_every == 0]
    assert fresh == [step for step in range(1, 25) if step % period == 0]

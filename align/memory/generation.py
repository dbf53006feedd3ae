"""The sequences that the engine beside the trials of a recipe is sized for. Imports no torch."""

from __future__ import annotations

from align.memory.workload import PROMPT_TOKENS
from align.recipe import Recipe, StageConfig
from align.space.spaces import Expression, Space


def longest_sequence(recipe: Recipe, prompt_tokens: int = PROMPT_TOKENS) -> int:
    """Tokens of the longest sequence, prompt and completion, in any trial of the recipe.

    A worker's engine serves trials of all stages, so it is that of the longest stage. Prompts are
    taken to have `prompt_tokens`, since recipes do not limit them; a worker that meets a longer
    sequence lengthens its slots.
    """
    answers = prompt_tokens + recipe.evaluation.max_new_tokens
    return max([answers, *(_longest(stage, prompt_tokens) for stage in recipe.stages.values())])


def _longest(stage: StageConfig, prompt_tokens: int) -> int:
    """Tokens of a sequence that a trial of the stage generates, or reads to measure likelihoods."""
    online = stage.training_method.online
    name = "max_completion_length" if online else "max_length"
    value = stage.value(name)
    trials = [stage]
    if isinstance(value, Space | Expression):
        trials = [stage.resolve(params) for params in stage.variants()]
    lengths = [int(trial.value(name)) for trial in trials]
    return max(lengths) + (prompt_tokens if online else 0)

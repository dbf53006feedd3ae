"""Check `engine`: 16 adapters of mixed ranks in a batch answer as each does alone.

Also scores of a reward model among completions, and that greedy completions repeat themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

from align.base import load_base
from align.gpu_check.adapters import MIXED_RANKS, mixed_adapters, random_factors
from align.gpu_check.agreement import TOLERANCE, compare
from align.gpu_check.check import Check, Outcome, Setting, failed, passed
from align.gpu_check.prompts import greedy, prompts, questions
from align.inference import Completion, Engine, EngineOptions, GenerationRequest
from align.inference.engine import BankEngine
from align.precision import precision

_TOKENS = 16
_JUDGE = "check-judge"


def run(setting: Setting) -> Outcome:
    """See the module."""
    base = load_base(setting.base)
    adapters = mixed_adapters(base)
    options = EngineOptions(slots=32, slot_tokens=512, adapters=len(adapters) + 1)
    engine = BankEngine(base, options)
    for name, factors in adapters.items():
        engine.load(name, factors)
    engine.load(_JUDGE, random_factors(base, 8, seed=100, score=True))
    asked = prompts(base, len(adapters) + 1)
    names = [*adapters, None]
    together = greedy(engine, asked, names, _TOKENS)
    again = greedy(engine, asked, names, _TOKENS)
    alone = greedy(engine, asked, names, _TOKENS, together=False)
    tolerance = TOLERANCE[precision().name]
    agreement = compare(together, alone, tolerance)
    scores = score_difference(engine, asked)
    figures = {
        "largest_difference": agreement.largest,
        "ties": agreement.ties,
        "wrong": agreement.wrong,
        "score_difference": scores,
        "distinct": len({tuple(one.token_ids) for one in together}),
        "tolerance": tolerance,
    }
    if problem := _problem(agreement.wrong, scores, together, again, tolerance):
        return failed(f"{problem}: report it with the JSON", **figures)
    return passed(
        f"{len(adapters)} adapters of rank {min(MIXED_RANKS)} to {max(MIXED_RANKS)} in a batch "
        f"equal each alone within {agreement.largest:.0e}; scores too; greedy repeats",
        **figures,
    )


def _problem(
    wrong: int,
    scores: float,
    together: Sequence[Completion],
    again: Sequence[Completion],
    tolerance: float,
) -> str:
    if wrong:
        return f"{wrong} of {len(together)} completions in a batch differ from those made alone"
    if not scores <= tolerance:
        return f"a score among completions differs by {scores:.1e} from the score alone"
    if [one.token_ids for one in together] != [one.token_ids for one in again]:
        return "the same greedy batch gives other tokens the second time"
    return ""


def score_difference(engine: Engine, asked: Sequence[Sequence[int]]) -> float:
    """The largest difference between scores made alone and scores made among completions.

    It is relative to the largest score where that is above 1.
    """
    chats = [[{"role": "user", "content": text}] for text in questions(4)]
    engine.start_anew()
    alone = [engine.score([chat], _JUDGE)[0] for chat in chats]
    requests = []
    for chat, prompt in zip(chats, asked, strict=False):
        ids = engine.tokenize_chat(chat, generate=False)
        requests.append(GenerationRequest(ids, _JUDGE, 0, score=True))
        requests.append(GenerationRequest(prompt, None, _TOKENS))
    engine.start_anew()
    mixed = [one.score for one in engine.generate(requests) if one.score is not None]
    scale = max(1.0, *(abs(score) for score in alone))
    return max(abs(one - other) for one, other in zip(alone, mixed, strict=True)) / scale


CHECK = Check("engine", run, seconds=15, cpu_seconds=6)

"""Check `sharing`: two workers at half a card each are held to it, and `gpus=0` sees no card.

Ray counts shares of a GPU and enforces none, so that workers limit themselves.
"""

from __future__ import annotations

from typing import Any

from align.gpu_check.check import Check, Outcome, Setting, failed, passed
from align.memory.machines import GIB

SHARE = 0.5
#: Parts of a card: a worker must get the first and must not get the second. Both workers hold the
#: first at a time, beside the contexts of CUDA.
_WITHIN, _BEYOND = 0.25, 0.55
_SECONDS = 120


class Sharer:
    """A worker that claims a share of a card, as those of trials do."""

    def __init__(self) -> None:
        import torch

        from align.gpu_process import limit_memory

        self._total = torch.cuda.get_device_properties(0).total_memory
        self._tensor: Any = None
        limit_memory(SHARE)

    def takes(self, part: float) -> bool:
        """Whether it gets so large a part of the card, which it holds until the next call."""
        import torch

        self._tensor = None
        torch.cuda.empty_cache()
        try:
            self._tensor = torch.empty(int(part * self._total), dtype=torch.uint8, device="cuda")
        except torch.OutOfMemoryError:
            return False
        return True


def visible_cards() -> int:
    """Number of cards that CUDA shows to this process."""
    import torch

    return int(torch.cuda.device_count())


def run(_setting: Setting) -> Outcome:
    """See the module."""
    import ray
    import torch

    from align.gpu_check.release import release
    from cluster.ray import ray_session
    from cluster.settings import Settings

    release()
    free, total = torch.cuda.mem_get_info()
    if free < (_BEYOND + 0.1) * total:
        return failed(
            f"only {free / GIB:.1f} of {total / GIB:.1f} GiB are free: end other programs on the "
            "card (nvidia-smi), and check again",
            free=free,
        )
    with ray_session(Settings(ray_address=None)):
        sharer: Any = ray.remote(num_gpus=SHARE, num_cpus=0)(Sharer)
        first, second = sharer.remote(), sharer.remote()
        within = [_take(first, _WITHIN), _take(second, _WITHIN)]
        _take(second, 0.0)
        beyond = [_take(first, _BEYOND)]
        _take(first, 0.0)
        beyond.append(_take(second, _BEYOND))
        task: Any = ray.remote(num_gpus=0, num_cpus=0)(visible_cards)
        cards = int(ray.get(task.remote(), timeout=_SECONDS))
    return judge(within, beyond, cards)


def _take(worker: Any, part: float) -> bool:
    import ray

    return bool(ray.get(worker.takes.remote(part), timeout=_SECONDS))


def judge(within: list[bool], beyond: list[bool], cards: int) -> Outcome:
    """The outcome: what each worker got within its share and beyond, and cards without a share."""
    figures = {"share": SHARE, "within": within, "beyond": beyond, "cards_without_share": cards}
    problems = []
    if not all(within):
        problems.append(f"a worker at {SHARE:.0%} of the card does not get {_WITHIN:.0%} of it")
    if any(beyond):
        problems.append(f"a worker at {SHARE:.0%} of the card takes {_BEYOND:.0%} of it")
    if cards:
        problems.append("a worker with gpus=0 sees a card: it would train there beside others")
    if problems:
        return failed(
            f"{'; '.join(problems)}: let a single trial run on each card (--max-concurrent), "
            "and report it with the JSON",
            **figures,
        )
    return passed(
        f"two workers at {SHARE:.0%} each are held to it; a worker without a share sees no card",
        **figures,
    )


CHECK = Check("sharing", run, seconds=35, card_only="shares are those of a card")

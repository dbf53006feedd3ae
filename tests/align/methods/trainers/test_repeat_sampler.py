"""The order of prompts in an epoch, whatever came before it."""

from align.methods.trainers.repeat_sampler import resumable


class Trainer:
    """What TRL's trainers give of their sampler."""

    def _get_train_sampler(self, dataset=None):
        from trl.trainer.utils import RepeatSampler

        return RepeatSampler(list(range(7)), mini_repeat_count=2, batch_size=3, seed=5)


def epoch(number: int, before: tuple[int, ...] = ()) -> list[int]:
    """The indices of an epoch, after a run through those of `before`."""
    sampler = resumable(Trainer)()._get_train_sampler()
    for at in (*before, number):
        sampler.set_epoch(at)
        order = list(sampler)
    return order


def test_an_epoch_has_the_same_order_in_a_run_that_begins_with_it() -> None:
    assert epoch(2, before=(0, 1)) == epoch(2)
    assert epoch(0, before=(0,)) == epoch(0)


def test_the_first_epochs_are_those_of_trls_own_sampler() -> None:
    own = Trainer()._get_train_sampler()
    assert [list(own), list(own)] == [epoch(0), epoch(1)]
    assert epoch(0) != epoch(1)


def test_prompts_are_repeated_side_by_side_in_whole_batches() -> None:
    order = epoch(3)
    assert len(order) == 12 and order[::2] == order[1::2]  # two batches of three, the rest dropped
    assert len(set(order)) == 6

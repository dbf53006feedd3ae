"""What a trial claims of a machine, and how many a pool holds."""

import pytest

from align.memory.machines import GPUS
from align.recipe import parse_recipe
from cluster.gpu_checks import hint
from cluster.pool import Node
from cluster.settings import Settings
from sweeps.errors import SweepError
from sweeps.pool import placement as placing
from sweeps.pool.gpu_sharing import MACHINES, _share
from sweeps.pool.placement import Placement, make_placement, place
from tests.sweeps.toy_recipe import RECIPE

SPOT, STEADY = {"ray.io/market-type": "spot"}, {"ray.io/market-type": "on-demand"}


def gpu_node(kind, name="a", cpus=4, labels=SPOT, gpus=1):
    return Node(name, name, "10.0.0.1", cpus, gpus, kind, labels)


def t4(*args, **fields):
    return gpu_node("T4", *args, **fields)


def cpu_node(cpus=8):
    return Node("head", "head", "10.0.0.1", cpus, head=True)


def with_stage(**fields):
    raw = {
        **RECIPE,
        "base": "smollm2-135m-instruct",
        "stages": {"sft": {**RECIPE["stages"]["sft"]}},
    }
    raw["stages"]["sft"] |= fields
    return parse_recipe(raw)


def test_a_pool_of_cpus_holds_as_many_trials_as_it_has_room_for(recipe):
    found = place(recipe, ["sft"], [cpu_node(8)], cpus_per_trial=3)
    assert found.bundle("sft") == {"CPU": 3}
    assert found.slots("sft", [cpu_node(8)]) == 2


def test_a_trial_lies_on_one_node(recipe):
    nodes = [cpu_node(3), cpu_node(3)]
    found = place(recipe, ["sft"], nodes, cpus_per_trial=2)
    assert found.slots("sft", nodes) == 2  # not three, though there are six CPUs


def test_small_trials_share_a_t4_as_far_as_memory_and_cpus_allow():
    recipe = with_stage(max_length=256)
    found = place(recipe, ["sft"], [t4()], accelerator="T4")
    share = found.gpus["sft"]
    assert share < 1 and int(1 / share) == found.slots("sft", [t4()]) > 1
    assert found.bundle("sft") == {"CPU": 1, "GPU": share, "accelerator_type:T4": 0.001}
    alone = place(recipe, ["sft"], [t4(cpus=1)], accelerator="t4")  # in any case
    assert alone.gpus == {"sft": 1.0} and alone.slots("sft", [t4(cpus=1)]) == 1


def card(accelerator, cpus=32, gpus=1, name="a"):
    return Node(name, name, "10.0.0.1", cpus, gpus, accelerator)


def test_a_mixed_pool_is_shared_as_its_smallest_card_allows():
    recipe = with_stage(max_length=256)
    small, large = (place(recipe, ["sft"], [card(one)]).gpus["sft"] for one in ("T4", "A100"))
    assert large < small
    for nodes in ([card("T4"), card("A100")], [card("A100"), card("T4")]):
        assert place(recipe, ["sft"], nodes).gpus["sft"] == small
    named = place(recipe, ["sft"], [card("T4"), card("A100")], accelerator="A100")
    assert named.gpus["sft"] == large


@pytest.mark.parametrize("name", MACHINES)
def test_of_a_name_with_two_sizes_the_smaller_is_taken(name):
    sizes = [one.memory for key, one in GPUS.items() if key == name or key.startswith(f"{name}-")]
    sizes = sizes or [GPUS[name.removesuffix("G")].memory]  # Ray's A100-40G
    assert MACHINES[name].memory == min(sizes)


def test_of_a_mixed_pool_a_card_of_unknown_memory_is_not_shared_and_so_is_no_other():
    found = place(with_stage(max_length=256), ["sft"], [card("T4"), card("L40S")])
    assert found.gpus == {"sft": 1.0} and "L40S" in found.notes[0]


def test_what_does_not_fit_the_smallest_card_of_a_mixed_pool_is_refused():
    recipe = with_stage(max_length=16384, per_device_train_batch_size=4)
    with pytest.raises(SweepError, match="stage 'sft' does not fit a T4"):
        place(recipe, ["sft"], [card("A100-80G"), card("T4")])


def test_the_cpus_of_the_roomiest_node_bound_the_share_card_by_card():
    recipe = with_stage(max_length=256)
    assert place(recipe, ["sft"], [card("A100", cpus=2), card("A100", cpus=4)]).gpus["sft"] == 0.25
    assert place(recipe, ["sft"], [card("A100", cpus=8, gpus=2)]).gpus["sft"] == 0.25
    assert place(recipe, ["sft"], [card("A100", cpus=8)], cpus_per_trial=2).gpus["sft"] == 0.25


def test_what_two_cards_have_left_is_no_third():
    found = Placement(gpus={"sft": 0.4, "reward": 0.6, "dpo": 1.0})
    node = card("T4", gpus=2)
    held = {stage: found.holds(stage, node) for stage in found.gpus}
    assert held == {"sft": 4, "reward": 2, "dpo": 2}
    assert found.slots("sft", [card("T4"), card("T4", name="b")]) == 4


@pytest.mark.parametrize("trials", range(1, 65))
def test_as_many_trials_as_fit_a_card_are_placed_on_it(trials):
    found = Placement(gpus={"sft": _share(trials, None)})
    assert found.holds("sft", card("T4", cpus=128)) == trials
    assert found.gpus["sft"] * trials <= 1


def test_trials_on_gpus_do_not_land_where_there_are_none():
    nodes = [cpu_node(64), card("T4", cpus=4)]
    found = place(with_stage(max_length=256), ["sft"], nodes, cpus_per_trial=4)
    assert not found.suits(nodes[0]) and found.suits(nodes[1])
    assert found.slots("sft", nodes) == 1
    with pytest.raises(SweepError, match="needs 8 CPUs and Ray has 4 on its largest node"):
        place(with_stage(max_length=256), ["sft"], nodes, cpus_per_trial=8)
    assert place(with_stage(max_length=256), ["sft"], [*nodes, card("T4", cpus=8)], 8).gpus


def test_each_stage_claims_what_it_needs(recipe):
    big = {**RECIPE, "base": "smollm2-135m-instruct", "stages": dict(RECIPE["stages"])}
    big["stages"]["sft"] = {**big["stages"]["sft"], "max_length": 128}
    big["stages"]["reward"] = {**big["stages"]["reward"], "max_length": 1024}
    found = place(parse_recipe(big), ["sft", "reward"], [t4(cpus=32)])
    assert found.gpus["sft"] < found.gpus["reward"]


def test_labels_choose_nodes(recipe):
    nodes = [t4("a"), t4("b", labels=STEADY), t4("c", labels=STEADY)]
    found = place(recipe, ["sft"], nodes, cpus_per_trial=4, accelerator="T4", labels=STEADY)
    assert found.slots("sft", nodes) == 2
    assert not found.suits(nodes[0])


def test_nodes_that_leave_take_their_room_along(recipe):
    nodes = [t4(name, cpus=2) for name in "abcd"]
    found = place(recipe, ["sft"], nodes, cpus_per_trial=2, max_concurrent=3)
    assert [found.slots("sft", nodes[:count]) for count in (0, 1, 4)] == [0, 1, 3]


def test_a_pool_that_grows_is_handed_more_than_it_has_room_for(recipe):
    found = place(recipe, ["sft"], [], accelerator="T4", max_concurrent=8, grow=True)
    assert found.slots("sft", []) == 8
    assert found.accelerator == "T4" and found.gpus["sft"] <= 1
    with pytest.raises(SweepError, match="--max-concurrent"):
        place(recipe, ["sft"], [], accelerator="T4", grow=True)


@pytest.mark.parametrize(
    ("nodes", "options", "message"),
    [
        (
            [cpu_node()],
            {"accelerator": "T4"},
            "no node with T4: the pool has 1 node: 8 CPUs, no GPU",
        ),
        ([t4(), t4()], {"accelerator": "A100"}, "no node with A100.*8 CPUs, 2 T4"),
        ([t4()], {"labels": STEADY}, "ray.io/market-type=on-demand.*like these: .*=spot"),
        ([t4()], {"accelerator": "T5"}, "unknown accelerator 'T5'; did you mean 'T4'"),
        ([t4(cpus=2)], {"cpus_per_trial": 3}, "needs 3 CPUs and Ray has 2.*--cpus-per-trial"),
    ],
)
def test_what_the_pool_lacks_is_one_clear_error(recipe, nodes, options, message):
    with pytest.raises(SweepError, match=message):
        place(recipe, ["sft"], nodes, **options)


def test_a_stage_that_cannot_fit_is_told_with_what_would():
    recipe = with_stage(max_length=32768, per_device_train_batch_size=8)
    with pytest.raises(SweepError) as raised:
        place(recipe, ["sft"], [t4()], accelerator="T4")
    message = str(raised.value)
    assert "stage 'sft' does not fit a T4: with 32768 tokens" in message
    assert "of its 14.56 GiB" in message and "gradient_checkpointing: true" in message
    assert "the effective batch stays 8" in message


def test_what_fits_in_smaller_micro_batches_is_only_noted():
    recipe = with_stage(max_length=1024, per_device_train_batch_size=16)
    found = place(recipe, ["sft"], [t4()], accelerator="T4")
    assert found.gpus == {"sft": 1.0}
    assert "stage 'sft' may not fit a T4" in found.notes[0]
    assert "Workers halve micro-batches" in found.notes[0]


def test_a_base_that_cannot_be_read_gets_a_gpu_to_itself(recipe, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    changed = recipe.model_copy(update={"base": "nobody/has-this"})
    found = place(changed, ["sft"], [t4()])
    assert found.gpus == {"sft": 1.0}
    assert "one trial a GPU" in found.notes[0]


def test_gpus_of_unknown_memory_are_not_shared(recipe):
    node = Node("a", "a", "10.0.0.1", 8, 1, "L40S")
    found = place(recipe, ["sft"], [node])
    assert found.gpus == {"sft": 1.0} and "L40S" in found.notes[0]


def test_a_pool_of_cards_that_were_never_checked_is_told_so_until_they_are(tmp_path, monkeypatch):
    settings = Settings(home=tmp_path / "home", storage=str(tmp_path / "storage"))
    monkeypatch.setattr(placing, "read_pool", lambda: [card("T4"), card("L4", name="b")])
    passed = settings.home / "gpu-check" / "L4.json"
    passed.parent.mkdir(parents=True)
    passed.write_text('{"verdict": "PASS"}')
    recipe = with_stage(max_length=256)
    notes = make_placement(settings, recipe, ["sft"]).notes
    assert [note for note in notes if "gpu check" in note] == [hint(settings, "T4")]
    passed.with_name("T4.json").write_text('{"verdict": "PASS"}')
    assert not any("gpu check" in note for note in make_placement(settings, recipe, ["sft"]).notes)

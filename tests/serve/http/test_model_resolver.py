"""Which adapter a name means, asked without HTTP."""

from __future__ import annotations

import asyncio

import pytest

from serve.batching.jobs import AdapterRef
from serve.experiments import VariantSpec
from serve.http.errors import ApiError


@pytest.fixture
def names(app):
    return app.state.backend.names


def refused(asked):
    with pytest.raises(ApiError) as caught:
        asyncio.run(asked)
    return caught.value.status, caught.value.message


def test_a_line_is_its_champion_and_the_base_is_no_adapter(names, adapters):
    def asked(name):
        return asyncio.run(names.chat(name, None)).adapter

    first = AdapterRef(adapters.first.adapter_id, "arithmetic/sft:1")
    for name in ("arithmetic/sft", "arithmetic/sft@champion", "arithmetic/sft:1"):
        assert asked(name) == first
    assert asked("arithmetic/sft:2") == AdapterRef(adapters.second.adapter_id, "arithmetic/sft:2")
    assert asked("base") is None


def test_scores_come_from_reward_adapters_and_answers_from_others(names, adapters):
    score = asyncio.run(names.score("arithmetic/reward:1"))
    assert score == AdapterRef(adapters.reward.adapter_id, "arithmetic/reward:1")
    status, message = refused(names.score("arithmetic/sft:1"))
    assert status == 400 and "/v1/chat/completions" in message
    status, message = refused(names.chat("arithmetic/reward:1", None))
    assert status == 400 and "/v1/score" in message
    assert refused(names.score("base"))[0] == 400


def test_what_is_not_served_here_says_what_is(names, adapters):
    status, message = refused(names.chat("arithmetic/sfd", None))
    assert status == 404 and "did you mean arithmetic/sft" in message
    status, message = refused(names.model("elsewhere/sft:1"))
    assert status == 404 and "alignery serve run --base another-base" in message


def test_a_user_of_an_experiment_has_one_variant_in_all_requests(names, experiments, adapters):
    arms = [
        VariantSpec(name="control", model="base"),
        VariantSpec(name="treatment", model="arithmetic/sft"),
    ]
    experiments.start("trial", arms, "control", 100)

    async def ask():
        users = [f"user-{number}" for number in range(40)]
        return [[await names.chat("trial", user) for user in users] for _ in range(2)]

    first, again = asyncio.run(ask())
    assert first == again
    assert [target.exposed.unit for target in first[:2]] == ["user-0", "user-1"]
    for target in first:
        variant = "control" if target.adapter is None else "treatment"
        assert (target.exposed.experiment, target.exposed.variant) == ("trial", variant)
    assert {target.exposed.variant for target in first} == {"control", "treatment"}

"""A small recipe of three stages, and the stand-in that runs its trials."""

FAKE = "tests.sweeps.fake_trial:FakeTrial"

RECIPE = {
    "name": "toy",
    "base": "tiny-random",
    "data": {"task": "arithmetic"},
    "stages": {
        "sft": {
            "method": "sft",
            "learning_rate": {"loguniform": [1e-5, 1e-1], "default": 1e-3},
            "lora": {"r": {"choice": [4, 8, 16], "default": 8}, "lora_alpha": "2 * r"},
            "max_steps": 30,
            "objective": "accuracy",
            "sweep": {
                "trials": 4,
                "rungs": [10, 20],
                "pruner": "successive_halving",
                "sampler": "random",
                "seed": 3,
            },
        },
        "reward": {
            "method": "reward",
            "parent": "sft",
            "learning_rate": {"loguniform": [1e-5, 1e-1], "default": 1e-3},
            "max_steps": 10,
            "objective": "pair_accuracy",
            "sweep": {"trials": 2},
        },
        "grpo": {
            "method": "grpo",
            "parent": "sft",
            "reward_model": "reward",
            "learning_rate": {"loguniform": [1e-5, 1e-1], "default": 1e-3},
            "max_steps": 10,
            "rewards": {"correctness": 1.0, "reward_model": 0.1},
            "objective": "accuracy",
            "sweep": {"trials": 2},
        },
    },
}

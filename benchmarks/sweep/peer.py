"""The loop that a user writes: Ray Tune, OptunaSearch and a function around TRL.

`python -m benchmarks.sweep.peer TASK.json OUT.json plain|asha`, in a process of its own. `asha`
stops trials early by Ray's scheduler, which needs a score at each rung; `plain` runs all to their
end. What such a loop does not do (it shares nothing between trials) it does not do here either;
what any careful user would do (one thread a trial, answers generated in batches, offline) it does.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

#: Prompts that are answered at a time.
BATCH = 32


def train(config: dict[str, Any]) -> None:
    """One trial."""
    began = time.time()
    task, rungs = config["task"], config["rungs"]

    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from ray import tune
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(1)
    phases = {"import": time.time() - began, "load": 0.0, "train": 0.0, "evaluate": 0.0}
    since = time.time()

    def spent(phase: str) -> None:
        nonlocal since
        phases[phase] += time.time() - since
        since = time.time()

    tokenizer = AutoTokenizer.from_pretrained(task["base"])
    model = AutoModelForCausalLM.from_pretrained(task["base"], dtype=torch.bfloat16)
    rows = [json.loads(line) for line in Path(task["train"]).read_text().splitlines()]
    held_out = [json.loads(line) for line in Path(task["validation"]).read_text().splitlines()]
    folder = Path(config["folder"]) / tune.get_context().get_trial_id()

    def tell(step: int, last: bool) -> None:
        score = accuracy(trainer.model, tokenizer, held_out, task["max_new_tokens"])
        if last:
            trainer.save_model(str(folder))
        spent("evaluate")
        where = {"began": began, "ended": time.time(), "phases": dict(phases)}
        tune.report({"step": step, "accuracy": score, "folder": str(folder), **where})

    class AtRungs(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step in rungs:
                spent("train")
                tell(state.global_step, last=False)

    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(folder / "work"),
            learning_rate=config["learning_rate"],
            max_steps=task["steps"],
            per_device_train_batch_size=task["batch"],
            max_length=task["max_length"],
            completion_only_loss=True,
            gradient_checkpointing=False,
            bf16=True,
            use_cpu=True,
            seed=task["seed"],
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(
            [{"prompt": row["prompt"], "completion": row["completion"]} for row in rows]
        ),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=config["lora.r"],
            lora_alpha=2 * config["lora.r"],
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
        callbacks=[AtRungs()],
    )
    spent("load")
    trainer.train()
    spent("train")
    tell(task["steps"], last=True)


def accuracy(model: Any, tokenizer: Any, rows: list[Any], max_new_tokens: int) -> float:
    """The share of right answers, greedy."""
    import torch

    from align.rewards import correctness

    model.eval()
    tokenizer.padding_side = "left"
    right = 0.0
    for first in range(0, len(rows), BATCH):
        some = rows[first : first + BATCH]
        texts = [
            tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
            for row in some
        ]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            done = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        answers = tokenizer.batch_decode(
            done[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        right += sum(
            correctness(a, str(row["answer"])) for a, row in zip(answers, some, strict=True)
        )
    model.train()
    tokenizer.padding_side = "right"
    return right / len(rows)


def main(task_file: str, out_file: str, kind: str) -> None:
    """The whole search."""
    began = time.time()
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "RAY_AIR_NEW_OUTPUT": "0"}

    import optuna
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    from benchmarks.sweep.outcome import Outcome, TrialRun
    from cluster.ray import ray_session
    from cluster.settings import Settings

    task = json.loads(Path(task_file).read_text())
    prunes = kind == "asha"
    low, high = task["learning_rate"]
    search = OptunaSearch(
        space={
            "learning_rate": optuna.distributions.FloatDistribution(low, high, log=True),
            "lora.r": optuna.distributions.CategoricalDistribution(task["ranks"]),
        },
        metric="accuracy",
        mode="max",
        points_to_evaluate=task["points"],
        sampler=optuna.samplers.TPESampler(seed=task["seed"]),
    )
    scheduler = ASHAScheduler(
        time_attr="step",
        metric="accuracy",
        mode="max",
        grace_period=task["rungs"][0],
        reduction_factor=task["reduction_factor"],
        max_t=task["steps"],
    )
    with (
        ray_session(Settings(), num_cpus=task["concurrent"]),
        tempfile.TemporaryDirectory() as work,
    ):
        results: Any = tune.Tuner(
            tune.with_resources(train, {"cpu": 1}),
            param_space={
                "task": task,
                "rungs": task["rungs"] if prunes else [],
                "folder": str(Path(out_file).with_suffix("")),
            },
            tune_config=tune.TuneConfig(
                search_alg=search,
                scheduler=scheduler if prunes else None,
                num_samples=task["trials"],
                max_concurrent_trials=task["concurrent"],
            ),
            run_config=tune.RunConfig(storage_path=work, verbose=0),
        ).fit()
    if results.errors:
        raise results.errors[0]
    outcome = Outcome(began, 0.0, task["concurrent"])
    for one in results:
        last = one.metrics["step"] >= task["steps"]
        outcome.trials.append(
            TrialRun(
                params={name: one.config[name] for name in ("learning_rate", "lora.r")},
                began=one.metrics["began"],
                ended=one.metrics["ended"],
                steps=one.metrics["step"],
                phases=one.metrics["phases"],
                score=one.metrics["accuracy"] if last else None,
                folder=one.metrics["folder"] if last else None,
            )
        )
    outcome.ended = time.time()
    Path(out_file).write_text(outcome.to_json())


if __name__ == "__main__":
    main(*sys.argv[1:])

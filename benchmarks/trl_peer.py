"""TRL's own generation in a GRPO step: `generate` on the PeftModel, as GRPOTrainer does it."""

from __future__ import annotations

import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, set_peft_model_state_dict
from trl import GRPOConfig, GRPOTrainer

from align.adapters.tensors import PREFIX, LoraFactors
from align.base import Base
from align.precision import precision
from benchmarks.adapters import AdapterPool
from benchmarks.cases import Case, EngineName
from benchmarks.contender import Outcome
from benchmarks.workload import Workload


class TrlPeer:
    """A GRPOTrainer that never trains; its LoRA weights are an adapter's of the pool."""

    name: EngineName = "trl"

    def __init__(self, base: Base, pool: AdapterPool):
        self._base, self._pool = base, pool
        self._trainers: dict[int, Any] = {}
        self._output = tempfile.TemporaryDirectory(prefix="alignery-bench-")

    def prepare(self, case: Case) -> None:
        """A trainer that writes as many tokens as the warm-up and as the case need."""
        assert case.tokens is not None
        self._trainer(case, case.tokens)

    def run(self, case: Case, workload: Workload) -> Outcome:
        """One rollout. `_generate_single_turn` is what every training step calls."""
        trainer = self._trainer(case, workload.tokens)
        prompts = [list(one) for one in workload.prompts for _ in range(workload.completions)]
        torch.manual_seed(workload.seed)
        start = time.perf_counter()
        written, _ = trainer._generate_single_turn(prompts, None, {}, workload.completions)
        return Outcome(time.perf_counter() - start, written)

    def close(self) -> None:
        """Let go of the trainers."""
        self._trainers.clear()
        self._output.cleanup()

    def _trainer(self, case: Case, tokens: int) -> Any:
        if tokens not in self._trainers:
            (name,) = case.adapter_names
            self._trainers[tokens] = self._built(case, tokens, self._pool.factors(name))
        return self._trainers[tokens]

    def _built(self, case: Case, tokens: int, factors: LoraFactors) -> Any:
        tokenizer = type(self._base.tokenizer).from_pretrained(self._base.tokenizer.name_or_path)
        trainer = GRPOTrainer(
            model=self._base.shell(),
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=GRPOConfig(
                output_dir=self._output.name,
                per_device_train_batch_size=case.requests * case.completions,
                num_generations=case.completions,
                max_completion_length=tokens,
                temperature=case.temperature,
                generation_kwargs={"min_new_tokens": tokens},
                gradient_checkpointing=False,
                report_to="none",
                disable_tqdm=True,
                **precision().args,
            ),
            train_dataset=Dataset.from_list([{"prompt": "unused"}] * case.requests),
            processing_class=tokenizer,
            peft_config=LoraConfig(
                task_type="CAUSAL_LM",
                r=factors.rank,
                lora_alpha=factors.rank,
                target_modules=list(factors.modules),
            ),
        )
        state = {}
        for module, (a, b) in factors.modules.items():
            state[f"{PREFIX}{module}.lora_A.weight"] = a
            state[f"{PREFIX}{module}.lora_B.weight"] = b
        set_peft_model_state_dict(trainer.model, state)
        return trainer

"""GRPO with completions written by Alignery's engine, beside GRPO with TRL's own `generate`."""

"""The engine's computations: forward passes, the adapter bank, attention and the KV cache."""

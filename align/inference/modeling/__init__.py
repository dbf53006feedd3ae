"""What the engine computes: forward passes, the adapter bank, attention and the KV cache."""

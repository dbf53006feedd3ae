"""One training run: the trainer's inputs, its loop, callbacks, checkpoints and its record."""

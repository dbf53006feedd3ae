"""The training methods, on TRL's trainers."""

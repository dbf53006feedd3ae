"""One stage on one worker: data, rewards, trainers, evaluation."""

"""Whether further trials are worth their time: their expected gain, its cost, and when to stop."""

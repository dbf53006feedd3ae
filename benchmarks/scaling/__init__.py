"""How much of a pool's time trials get: stand-in trials on simulated nodes, scheduling alone."""

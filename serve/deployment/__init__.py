"""An endpoint on a cluster: its Serve config (`config.py`) and its actual state (`remote.py`)."""

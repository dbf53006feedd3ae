"""An endpoint on a cluster: as a Serve config (`config.py`), and as it is there (`remote.py`)."""

"""`python -m benchmarks.scaling [NODES …]`: one JSON object a line."""

from __future__ import annotations

import json
import sys

from benchmarks.scaling.run import measure

for nodes in map(int, sys.argv[1:] or ["1", "8"]):
    print(json.dumps(measure(nodes)), flush=True)

"""`alignery bench priors`."""

from __future__ import annotations

import json

from align.json_output import JsonObjectOption


def priors(as_json: JsonObjectOption = False) -> None:
    """Learning rates of published SFT sweeps, judged on models that were left out.

    The line by which searches on a new base begin is fitted to the sweeps of all models but one.
    The best of its first, its first two and its first four rates is then compared with the best of
    the model that was left out, beside fixed rates, a grid and random rates. Takes seconds.
    """
    from benchmarks.priors.run import measure

    result = measure()
    if as_json:
        print(json.dumps(result))
        return
    from rich.console import Console

    from benchmarks.priors.report import print_report

    print_report(result, Console())

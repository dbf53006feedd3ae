"""What ends a whole sweep comes out as one clear error."""

from types import SimpleNamespace

import pytest
from ray.exceptions import OutOfMemoryError

from sweeps.errors import SweepError
from sweeps.events import ignore
from sweeps.pool import tune


def fitting(error: Exception) -> SimpleNamespace:
    """A tuner whose run ends as Ray Tune ends it for an error that it does not know."""

    def fit() -> None:
        raise RuntimeError(f"Caught unexpected exception: {error}") from error

    return SimpleNamespace(fit=fit)


def run(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(tune, "_tuner", lambda *_: fitting(error))
    tune.run_trials(None, SimpleNamespace(stage="reward"), 2, {}, ignore)


def test_a_worker_that_ray_ended_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SweepError, match=r"--max-concurrent 1.* of stage 'reward'"):
        run(monkeypatch, OutOfMemoryError("1 worker(s) were killed"))


def test_other_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="something else"):
        run(monkeypatch, ValueError("something else"))

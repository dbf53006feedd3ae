"""Progress of a sweep: a live table on a terminal, plain lines elsewhere. Always on stderr."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.live import Live

from align.progress_lines import ProgressLines
from sweeps.events import Event, StageFinished, TrialFinished
from sweeps.progress.formatting import lines
from sweeps.progress.view import SweepView


class Progress:
    """Shows events, and where there is no terminal the state of the search every 20 seconds.

    `with Progress() as progress: run_pipeline(…, on_event=progress)`.

    `planned` gives, for each stage to search, the optimizer steps of all its trials together; with
    it the time left for the whole run is shown.
    """

    def __init__(
        self, console: Console | None = None, planned: Mapping[str, int] | None = None
    ) -> None:
        self._console = console or Console(stderr=True)
        self._view = SweepView(planned)
        self._live: Live | None = None
        self._lines = ProgressLines(self._view.state, self._console)

    def __enter__(self) -> Progress:
        if not self._console.is_terminal:
            self._lines.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        if not self._console.is_terminal:
            self._lines.__exit__(kind, error, trace)

    def __call__(self, event: Event) -> None:
        """Update the view with an event and show it."""
        self._view.update(event)
        if not self._console.is_terminal:
            self._say(event)
            return
        if isinstance(event, StageFinished):
            self._leave(event)
        if self._view.open and self._live is None:
            self._live = Live(self._view, console=self._console, refresh_per_second=2)
            self._live.start()
        elif not self._view.open:
            self._stop()

    def _leave(self, event: StageFinished) -> None:
        """Print a finished stage above the live table, where it stays."""
        if event.reused or self._view.stage(event.stage) is None:
            self._say(event)
        else:
            width = self._console.size.width
            self._console.print(self._view.render_finished(event.stage, width))

    def _say(self, event: Event) -> None:
        for text in lines(event):
            self._lines.say(text)
        stage = self._view.stage(event.stage) if isinstance(event, TrialFinished) else None
        if stage is not None and (coming := stage.next_trial) is not None:
            self._lines.say(f"{stage.started.stage}: {coming.text()}")

    def _stop(self) -> None:
        """Stop the live table. Its last state stays on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

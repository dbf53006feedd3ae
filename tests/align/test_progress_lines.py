"""Lines about long work where stderr is no terminal."""

import io
from threading import Event

import pytest
from rich.console import Console

from align.progress_lines import ProgressLines, clock_time, counted


class Lines(ProgressLines):
    """Progress lines at times that the test sets."""

    def __init__(self, *states):
        self.now, self.file = 0.0, io.StringIO()
        rest = iter(states)
        console = Console(file=self.file, width=20)
        super().__init__(lambda: next(rest), console, every=20, clock=lambda: self.now)

    def at(self, now):
        self.now = now
        self.say_if_due()
        return self.file.getvalue().splitlines()


def test_the_state_is_printed_after_a_silence_and_not_before():
    lines = Lines("1/4", "2/4 with a text that is longer than the terminal is wide")
    assert lines.at(19) == []
    assert lines.at(20) == ["1/4"]
    assert lines.at(39) == ["1/4"]
    assert lines.at(41)[1:] == ["2/4 with a text that is longer than the terminal is wide"]


def test_a_line_of_the_work_itself_puts_off_the_next_state():
    lines = Lines("half")
    lines.now = 15
    lines.say("[bold] trial 0: COMPLETE")
    assert lines.at(34) == ["[bold] trial 0: COMPLETE"]
    assert lines.at(35) == ["[bold] trial 0: COMPLETE", "half"]


def test_a_state_without_a_text_prints_nothing():
    assert Lines("").at(25) == []


def test_lines_come_while_the_work_runs_and_end_with_it():
    asked, file = Event(), io.StringIO()

    def state():
        asked.set()
        return "working"

    with pytest.raises(KeyError), ProgressLines(state, Console(file=file), every=0.01):
        assert asked.wait(30)
        raise KeyError
    printed = file.getvalue()
    assert "working" in printed
    asked.clear()
    assert not asked.wait(0.1)


def test_a_stderr_that_takes_nothing_does_not_end_the_work():
    class Full(io.StringIO):
        def write(self, text):
            failed.set()
            raise OSError("no space left on device")

    failed = Event()
    with ProgressLines(lambda: "working", Console(file=Full()), every=0.01):
        assert failed.wait(30)


@pytest.mark.parametrize(
    ("done", "shown"),
    [
        (0, "0/200, 1:30 so far"),
        (50, "50/200, about 4:30 left"),
        (200, "200/200, about 0:00 left"),
    ],
)
def test_counted_work_says_what_is_left(done, shown):
    assert counted(done, 200, 90) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(9.6, "0:10"), (61, "1:01"), (3723, "1:02:03")])
def test_clock_time(seconds, shown):
    assert clock_time(seconds) == shown

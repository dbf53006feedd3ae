"""A row of a request: the client's events for each step of its sequence."""

from __future__ import annotations

from align.inference.types import Completion, Update
from serve.batching.engine_metrics import RowClock
from serve.batching.jobs import Done, Event, Scored, ScoreJob, Text, TokenLogprob
from serve.batching.queued_request import QueuedRequest
from serve.batching.token_text import Spelling, Vocabulary


class SequenceStream:
    """A completion or score that the engine works on."""

    def __init__(
        self, order: QueuedRequest, index: int, vocabulary: Vocabulary, clock: RowClock, prompt: int
    ) -> None:
        self.order = order
        self.clock = clock
        self._prompt = prompt  # tokens
        self._index = index
        self._scored = isinstance(order.job, ScoreJob)
        self._streamed = not isinstance(order.job, ScoreJob) and order.job.streamed
        with_logprobs = not isinstance(order.job, ScoreJob) and order.job.logprobs is not None
        self._spelling = Spelling(vocabulary) if with_logprobs else None
        self._released = 0  # characters
        self._untold = 0  # tokens without a Text event yet, since their text is incomplete

    def events(self, update: Update, now: float) -> list[Event]:
        """The client's events for an update of a step that ended at `now`."""
        completion = update.completion
        self.clock.update(update, now)
        if update.done:
            self.clock.over(self._prompt, update)
        if self._scored:
            return [self._score(completion)] if update.done else []
        logprobs = self._logprobs(update)
        events: list[Event] = []
        self._untold += 1
        if self._streamed and (update.text or logprobs):
            events.append(Text(self._index, update.text, logprobs, self._untold))
            self._untold = 0
        if update.done:
            # A streamed row has sent its log-probabilities already.
            remaining = None if self._streamed else logprobs
            count, reason = len(completion.token_ids), completion.finish_reason
            events.append(Done(self._index, completion.text, count, reason, remaining))
        return events

    def _logprobs(self, update: Update) -> tuple[TokenLogprob, ...] | None:
        if self._spelling is None:
            return None
        self._spelling.extend(update.completion)
        self._released += len(update.text)
        if update.done:
            return self._spelling.rest(update.completion)
        return self._spelling.settled(self._released) if self._streamed else ()

    def _score(self, completion: Completion) -> Scored:
        assert completion.score is not None  # the request has `score=True`
        return Scored(self._index, completion.score)

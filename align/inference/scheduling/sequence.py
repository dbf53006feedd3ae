"""One prompt, and what is written after it."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field


@dataclass(eq=False)
class Sequence:
    """What the scheduler knows of a sequence, from `add` to `finish` or `cancel`.

    `adapter` is the engine's key, 0 for the untouched base. With `max_new_tokens` 0 the prompt is
    only read. At most the first `reusable` prompt tokens may be taken over from another sequence:
    fewer than the prompt has, since the last one's logits are needed. `slot` is set while the
    sequence is live, and the keys and values of its first `computed` tokens lie there: all but the
    last one of `tokens` once it writes. `cached` of them came from another sequence.
    """

    id: int
    adapter: int
    prompt: tuple[int, ...]
    max_new_tokens: int
    reusable: int
    tokens: list[int] = field(default_factory=list)
    slot: int | None = None
    computed: int = 0
    cached: int = 0
    #: Prompt and tokens as machine integers, which compare at the speed of memory.
    content: array[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.content = array("q", self.prompt)
        self.content.extend(self.tokens)

    def write(self, token: int) -> None:
        """Append a token that was sampled."""
        self.tokens.append(token)
        self.content.append(token)

    @property
    def unread(self) -> int:
        """Prompt tokens that are still to be computed."""
        return max(0, len(self.prompt) - self.computed)

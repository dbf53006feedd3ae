"""A prompt and the tokens generated after it."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field


@dataclass(eq=False)
class Sequence:
    """The scheduler's state of a sequence, from `add` to `finish` or `cancel`.

    `adapter` is the engine's key, 0 for the base alone. With `max_new_tokens` 0 the prompt is only
    read. At most the first `reusable` prompt tokens may be reused from another sequence: fewer than
    the prompt has, since the logits of its last token are needed. `slot` is set while the sequence
    is live; it holds the keys and values of the first `computed` tokens. While the sequence
    decodes, these are all tokens but the last of `tokens`. `cached` of them were reused.
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
    #: Prompt and tokens as machine integers, for fast comparison.
    content: array[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.content = array("q", self.prompt)
        self.content.extend(self.tokens)

    def write(self, token: int) -> None:
        """Append a sampled token."""
        self.tokens.append(token)
        self.content.append(token)

    @property
    def unread(self) -> int:
        """Number of prompt tokens that are still to be computed."""
        return max(0, len(self.prompt) - self.computed)

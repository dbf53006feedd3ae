"""Errors whose message is written for the person who caused them.

Each subclass is also the standard exception it stands for. All of them carry only their
message, so they survive pickling between processes.
"""


class AligneryError(Exception):
    """Base of all errors that end a command with one line and no traceback."""


class RecipeError(AligneryError, ValueError):
    """A recipe that cannot be used as written."""


class DataError(AligneryError, ValueError):
    """Training or evaluation data that a stage cannot use."""


class ModelError(AligneryError, ValueError):
    """A base model that cannot be reached or loaded."""


class AdapterError(AligneryError, ValueError):
    """An adapter folder that is missing, damaged, or does not fit its base."""


class RequestError(AligneryError, ValueError):
    """A request that an engine cannot serve as asked: parameters out of range, too long."""


class TrainingError(AligneryError, RuntimeError):
    """A training run that went wrong: NaN loss, empty batches."""


class GpuError(AligneryError, RuntimeError):
    """A GPU that a process cannot use as asked: its driver, PyTorch's build, or its memory."""


class GpuLost(AligneryError, RuntimeError):
    """A device error after which a process cannot use its GPU: a new process has to go on."""


def printable(text: str) -> str:
    """The text as a line for a terminal, whatever files and names it quotes.

    White space becomes blanks; characters that would move the cursor or change colours, and those
    that no encoding has, are escaped.
    """
    return "".join(
        character
        if character.isprintable()
        else " "
        if character.isspace()
        else character.encode("unicode_escape").decode()
        for character in text
    )

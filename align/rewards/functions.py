"""A user's reward function, imported by `module:function`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import Field

from align.errors import RecipeError
from align.rewards.base import TOKENS, RewardConfig, Scorer

if TYPE_CHECKING:
    from align.inference.types import Messages

_NAMED = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class PythonConfig(RewardConfig):
    """A user's function, `module:function`, called for each completion.

    Its parameters are any of `prompt` (messages), `completion` (text) and the row's columns, by
    name; it returns a number. The module is a file in `folder` (set to the recipe's folder when the
    recipe is loaded), else an importable module.
    """

    python: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    folder: str | None = None

    @property
    def file(self) -> Path | None:
        """The module's file in `folder`; None if it does not exist."""
        path = Path(self.folder or "", *self.python.partition(":")[0].split(".")).with_suffix(".py")
        return path if self.folder is not None and path.is_file() else None

    def columns(self, name: str) -> tuple[str, ...]:
        """The columns for which the function has no default; training itself adds token ids."""
        return tuple(column for column in Function(name, self).needs if column != TOKENS)

    def scorer(self, name: str) -> Scorer:
        """The imported function."""
        function = Function(name, self)
        return Scorer(
            lambda answer: function(answer.prompt, answer.text, answer.columns), function.needs
        )


class Function:
    """A user's function, called for each completion with the arguments that it has parameters for.

    These are `prompt` (a list of messages), `completion` (a text) and the row's columns; a
    parameter `**columns` takes all. RecipeError if the function cannot be imported, or cannot be
    called with keyword arguments.
    """

    def __init__(self, name: str, config: PythonConfig):
        module, _, attribute = config.python.partition(":")
        location = f"reward '{name}' ({config.python})"
        self._function = _function(_module(module, config, location), attribute, location)
        parameters = inspect.signature(self._function).parameters.values()
        self._all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
        named = [parameter for parameter in parameters if parameter.kind in _NAMED]
        self._names = [parameter.name for parameter in named]
        #: Columns for which the function has no default.
        self.needs = tuple(
            parameter.name
            for parameter in named
            if parameter.default is inspect.Parameter.empty
            and parameter.name not in ("prompt", "completion")
        )

    def __call__(self, prompt: Messages, completion: str, columns: Mapping[str, Any]) -> Any:
        arguments = {**columns, "prompt": prompt, "completion": completion}
        if not self._all:
            arguments = {name: arguments[name] for name in self._names if name in arguments}
        return self._function(**arguments)


def _module(name: str, config: PythonConfig, location: str) -> ModuleType:
    """The module from the folder's file of that name, else from Python's import path."""
    path = config.file
    try:
        return importlib.import_module(name) if path is None else _from_file(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise RecipeError(f"{location}: importing it failed: {error}") from None
        searched = f"{config.folder} has no such file, and " if config.folder else ""
        raise RecipeError(f"{location}: {searched}Python finds no module '{name}'") from None
    except Exception as error:  # a user's module can raise anything
        raise RecipeError(
            f"{location}: importing it failed: {type(error).__name__}: {error}"
        ) from None


def _from_file(path: Path) -> ModuleType:
    """Import a file under a unique name: other recipes can have files of the same name."""
    digest = hashlib.sha256(f"{path}".encode() + path.read_bytes()).hexdigest()[:16]
    name = f"{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # it is a .py file
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for their module there
    try:
        with _beside(path.parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Let a module import files beside it, and remove these from sys.modules afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and folder in Path(file).parents:
                del sys.modules[name]


def _function(module: ModuleType, name: str, location: str) -> Any:
    function = getattr(module, name, None)
    if function is None:
        functions = [
            attribute for attribute, value in vars(module).items() if inspect.isfunction(value)
        ]
        raise RecipeError(
            f"{location}: {module.__file__} has no '{name}'; "
            f"its functions: {', '.join(functions) or 'none'}"
        )
    if inspect.iscoroutinefunction(function):
        raise RecipeError(f"{location}: it is async; a reward is a plain function")
    try:
        kinds = {parameter.kind for parameter in inspect.signature(function).parameters.values()}
    except (TypeError, ValueError):
        raise RecipeError(f"{location}: it is not a function with named parameters") from None
    if inspect.Parameter.POSITIONAL_ONLY in kinds:
        raise RecipeError(f"{location}: its parameters must be passable by name")
    return function

"""Search spaces and expressions: what a recipe may hold in place of a field's value."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_serializer, model_validator
from pydantic_core import InitErrorDetails

from align.space import expressions

Value = float | int | str | bool
Number = type[int] | type[float]
#: A condition: for each field, by dotted path, the values that permit the search.
When = dict[str, tuple[Value, ...]]

_LISTED = re.compile(r"[\w.-]+(,[\w.-]+)*")
#: Fields of the long form that only some kinds have. Sweeps and adapters are stored with all of
#: them, so each kind writes them all, and ignores those of other kinds when it is read.
_OF_SOME_KINDS: dict[str, Any] = {"low": 0.0, "high": 0.0, "values": (), "log": False}


class Space(BaseModel):
    """`{loguniform: [low, high], default: x, when: {field: value}}` as a typed object.

    Each kind is a subclass, which is registered by the default of its field `kind`. `Space` itself
    reads every kind: `Space.model_validate` returns an object of the kind's class.

    `default` is the value of trial 0; each kind has a rule for it unless the recipe sets it. The
    space is active in trials where each field of `when` has a value listed there. In other trials
    the field has its default and is not among the trial's parameters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Fields that the short form may set, beside the kind's own, `default` and `when`.
    options: ClassVar[tuple[str, ...]] = ()
    #: Whether the values can be counted, so that conditions and combinations may name them.
    discrete: ClassVar[bool]

    kind: str
    default: Value = 0.0
    when: When = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Register the class, unless it is the common base of several kinds."""
        super().__pydantic_init_subclass__(**kwargs)
        if not cls.model_fields["kind"].is_required():
            KINDS[cls.model_fields["kind"].default] = cls

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_kind(cls, raw: Any, validate: Callable[[Any], Self]) -> Space:
        """Validate plain data by the class of its kind."""
        if cls is Space and isinstance(raw, Mapping):
            return _kind_of(raw).model_validate(raw)
        return validate(raw)

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, raw: Any) -> Any:
        """Accept the recipe's short form, and the long form that `model_dump` writes."""
        if not isinstance(raw, Mapping):
            return raw
        kind = cls.model_fields["kind"].default
        if kind not in raw:
            foreign = _OF_SOME_KINDS.keys() - cls.model_fields.keys()
            return {name: value for name, value in raw.items() if name not in foreign}
        allowed = {kind, "default", "when", *cls.options}
        if unknown := set(raw) - allowed:
            raise ValueError(f"{kind} does not take {sorted(unknown)}; allowed: {sorted(allowed)}")
        return {**cls.parse(raw), "when": _when(raw["when"]) if "when" in raw else {}}

    @model_serializer
    def _long_form(self) -> dict[str, Any]:
        names = self.long_form_names()
        return {name: getattr(self, name, _OF_SOME_KINDS.get(name)) for name in names}

    @classmethod
    def long_form_names(cls) -> list[str]:
        """The fields of the long form, in order."""
        return list(dict.fromkeys(("kind", *_OF_SOME_KINDS, *cls.model_fields)))

    @classmethod
    @abstractmethod
    def parse(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The fields, without `when`, from the short form. ValueError says what is wrong."""

    @abstractmethod
    def checked(self, parse: Callable[[Any], Any], words: str, number: Number | None) -> Space:
        """The space, with its values as the field's `parse` returns them.

        `parse` raises ValueError for a value that the field may not hold. `number` is the type of
        a numeric field, None for a field that takes no numbers; `words` describe what it takes.
        ValueError if the field cannot be searched by this kind.
        """

    @abstractmethod
    def contains(self, value: Value) -> bool:
        """Whether `value` lies in the space."""

    @abstractmethod
    def read(self, value: Value) -> Value:
        """Convert a value from a recipe (YAML reads 1e-3 as text) to a trial's value.

        ValueError if the space does not contain it.
        """

    @abstractmethod
    def ends(self) -> tuple[Value, ...]:
        """The lowest and the highest value, or every choice."""

    def spread(self, count: int) -> tuple[Value, ...]:
        """Values that represent the space: its ends, or up to `count` between and with them."""
        return self.ends()

    def every(self, limit: int) -> tuple[Value, ...] | None:
        """Every value, or the first `limit` of very many; None if they cannot be counted."""
        return None

    @abstractmethod
    def distribution(self) -> dict[str, Any]:
        """Optuna's distribution over the values, on the same scale.

        It has the form of `optuna.distributions.distribution_to_json`, as a dictionary: the name
        of the class and its `attributes`.
        """

    @abstractmethod
    def place(self, value: Value) -> float:
        """Position of a value on the axis of a plot: 0 and 1 are the ends of the space."""

    @abstractmethod
    def marks(self) -> tuple[Value, ...]:
        """Values that are labelled on the axis of a plot."""

    @abstractmethod
    def in_words(self) -> str:
        """`choice 8, 16` or `loguniform 1e-05 to 0.001`; without default and conditions."""

    def short(self) -> dict[str, Any]:
        """The short form, as written in a recipe."""
        conditions = {
            name: values[0] if len(values) == 1 else list(values)
            for name, values in self.when.items()
        }
        return {
            self.kind: list(self.ends()),
            **{name: getattr(self, name) for name in self.options if getattr(self, name)},
            "default": self.default,
            **({"when": conditions} if conditions else {}),
        }

    def _told(self) -> str:
        return str({self.kind: list(self.ends())})


#: The classes of all kinds, by the name that a recipe writes.
KINDS: dict[str, type[Space]] = {}


class Expression(BaseModel):
    """A field computed from other fields of its block or stage: `lora_alpha: 2 * r`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tie: str

    @property
    def names(self) -> list[str]:
        """The names in the expression, as written. ValueError if it is not arithmetic."""
        return expressions.names_in(expressions.read(self.tie))


def same(first: Value, second: Value) -> bool:
    """Whether two values are equal and both or neither Boolean: 8 equals 8.0, 1 is not true."""
    return first == second and isinstance(first, bool) == isinstance(second, bool)


def alike(first: Value, second: Value) -> bool:
    """Like `same`, but text that is a number (YAML's 1e-3) counts as that number."""
    return same(as_number(first), as_number(second))


def as_number(value: Value) -> Value:
    """The number that a text holds; other values, and text that is no number, are unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def scalar(value: Any) -> Any:
    """A list of names or numbers as comma-joined text: `q_proj,v_proj`.

    Other values are returned unchanged. ValueError if `listed` would not restore the list.
    """
    if not isinstance(value, list | tuple):
        return value
    names = [str(item) for item in value if type(item) in (str, int, float)]
    text = ",".join(names)
    if not names or len(names) != len(value) or listed(text) != names:
        raise ValueError(f"a value to search is one value or a list of names; got {value!r}")
    return text


def listed(text: str) -> list[str]:
    """The names in comma-joined text; empty for other text, such as a regular expression."""
    return text.split(",") if _LISTED.fullmatch(text) else []


def is_space(raw: Any) -> bool:
    """Whether raw data have the form of a search space."""
    options = {name for kind in KINDS.values() for name in kind.options}
    return (
        isinstance(raw, Mapping)
        and any(isinstance(raw.get(kind), list) for kind in KINDS)
        and set(raw) <= {*KINDS, *options, "default", "when"}
    )


def _kind_of(raw: Mapping[str, Any]) -> type[Space]:
    """The class for a space's plain data. ValueError if they name no kind, or several."""
    if "kind" not in raw:
        kinds = [key for key in raw if key in KINDS]
        if len(kinds) != 1:
            raise ValueError(
                f"a search space needs exactly one of {', '.join(KINDS)}; got {sorted(raw)}"
            )
        return KINDS[kinds[0]]
    if raw["kind"] in KINDS:
        return KINDS[raw["kind"]]
    *others, last = map(repr, KINDS)
    context = {"expected": f"{', '.join(others)} or {last}"}
    wrong = InitErrorDetails(type="literal_error", loc=("kind",), input=raw["kind"], ctx=context)
    raise ValidationError.from_exception_data(Space.__name__, [wrong])


def _when(raw: Any) -> When:
    if not isinstance(raw, Mapping) or not raw:
        raise ValueError(f"when needs {{field: value}} or {{field: [values]}}; got {raw!r}")
    conditions: When = {}
    for name, values in raw.items():
        allowed = tuple(values) if isinstance(values, list | tuple) else (values,)
        if not allowed or not all(isinstance(value, int | float | str) for value in allowed):
            raise ValueError(f"when: {name} needs a value or a list of values; got {values!r}")
        conditions[str(name)] = allowed
    return conditions

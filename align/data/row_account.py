"""What becomes of a stage's rows: which are used, cut, left out or doubtful, with examples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from align.data.control_tokens import rows_with_control_tokens
from align.data.files import read, source_of
from align.data.lengths import longest_row, measure_lengths, row_fates
from align.data.numbered_rows import number_of
from align.data.problems import Split
from align.data.row_findings import RowAccount, RowFinding, finding
from align.data.row_tokens import row_tokens
from align.data.tool_rendering import hidden_tools
from align.data.user_rows import Row
from align.errors import DataError
from align.methods.specification import TRUNCATION, Fate
from align.recipe import DataConfig, Recipe, StageConfig
from align.space.spaces import Expression, Space

Splits = Mapping[Split, Sequence[Row]]


def row_account(
    recipe: Recipe,
    stage: str,
    splits: Splits,
    tokenizer: Any | None,
    context_length: int | None = None,
    answer_tokens: int | None = None,
) -> RowAccount:
    """The account of a stage's rows, which `splits` holds in conversational form.

    Without the base's `tokenizer` nothing is said of lengths, and answers are compared as they
    are written. Where `max_length` is searched, its default and the ends of its
    range are looked at. `context_length` bounds what the engine reads and writes: prompt and
    completion of an online method, a held-out row, and a held-out prompt with an answer of
    `answer_tokens` (None: its prompts are not answered).

    DataError if no trial, or not the first, could be trained or measured on these rows.
    """
    config, data = recipe.stages[stage], recipe.data_of(stage)
    findings = [*_unused(data, splits)]
    if tokenizer is None:
        text = f"lengths were not looked at: '{recipe.base}' has no tokenizer on this machine"
        findings.append(RowFinding(text=text, count=0))
        findings += _written_alike(config, splits)
    else:
        findings += _cut(config, splits["train"], tokenizer, context_length)
        findings += _unmeasurable(config, splits, tokenizer)
        findings += _hidden(recipe.base, splits, tokenizer)
        findings += _control_tokens(splits, tokenizer)
        if context_length is not None:
            _check_fit(config, splits, tokenizer, context_length, answer_tokens or 0)
    findings += _doubtful(config, splits)
    sizes = {str(name): len(rows) for name, rows in splits.items()}
    return RowAccount(stage=stage, splits=sizes, findings=tuple(findings))


def _unused(data: DataConfig, splits: Splits) -> Iterator[RowFinding]:
    """Rows of a file beyond those that the splits take."""
    if data.task is not None:
        return
    used = {number for rows in splits.values() for row in rows if (number := number_of(row))}
    total = len(read(data).rows)
    if len(used) < total:
        sizes = ", ".join(f"{name} {len(rows):,}" for name, rows in splits.items())
        text = f"{len(used):,} of {total:,} rows of {source_of(data)} are used ({sizes})"
        yield RowFinding(text=text, count=total - len(used))


def _hidden(base: str, splits: Splits, tokenizer: Any) -> Iterator[RowFinding]:
    """Rows with tools or tool calls that the base's chat template does not show."""
    rows = [row for part in splits.values() for row in part]
    for kind, indices in hidden_tools(tokenizer, rows).items():
        text = f"the chat template of {base} does not show the {kind} of {len(indices):,} rows"
        yield finding(text, [rows[index] for index in indices])


def _cut(
    config: StageConfig, rows: Sequence[Row], tokenizer: Any, context_length: int | None
) -> Iterator[RowFinding]:
    """Training rows that are cut or left out, at each limit that trials have."""
    told: set[str] = set()
    for index, trial in enumerate(_limited(config)):
        limit = trial.max_length
        if trial.training_method.online:
            if context_length is None:
                return
            limit = context_length - trial.max_completion_length
        fates = row_fates(tokenizer, rows, trial.method, limit, trial.trl())
        try:
            measure_lengths(tokenizer, rows, trial.method, limit, trial.trl())
        except DataError as error:
            excluded = [row for row, fate in zip(rows, fates, strict=True) if fate != "whole"]
            failed = finding(str(error), excluded)
            if index == 0:
                raise DataError(failed.line()) from None
            yield failed
            continue
        for fate, text in _fate_texts(trial, limit, longest_row(tokenizer, rows, trial.method)):
            affected = [row for row, own in zip(rows, fates, strict=True) if own == fate]
            sentence = f"{len(affected):,} of {len(rows):,} train rows are {text}"
            if affected and sentence not in told:
                told.add(sentence)
                yield finding(sentence, affected)


def _fate_texts(trial: StageConfig, limit: int | None, longest: int) -> Iterator[tuple[Fate, str]]:
    """What is said of rows with each fate, in the order in which it is said."""
    method = trial.training_method
    lost = "beginning" if method.keeps_end({**TRUNCATION, **trial.trl()}) else "end"
    within = f" within the {limit} tokens of max_length" if limit and longest > limit else ""
    tied = (
        f"chosen and rejected are equal{within}"
        if "chosen" in method.sides
        else f"the same answer is labelled good and bad{within}"
    )
    yield (
        "cut",
        f"cut at max_length {limit}: they lose their {lost}; the longest has {longest} tokens",
    )
    yield "left out", f"left out at max_length {limit}: {method.left_out_because}"
    yield "no preference", f"left out, since they state no preference: {tied}"


def _limited(config: StageConfig) -> list[StageConfig]:
    """Resolved trials: the first, and those with the ends of the field that limits lengths."""
    name = "max_completion_length" if config.training_method.online else "max_length"
    trials = [config.resolve()]
    if isinstance(config.value(name), Space | Expression):
        others = [config.resolve(params) for params in config.variants()]
        by_length = sorted(others, key=lambda trial: int(trial.value(name)))
        trials += [by_length[0], by_length[-1]]
    by_value: dict[int, StageConfig] = {}
    for trial in trials:
        by_value.setdefault(trial.value(name), trial)
    return list(by_value.values())


def _unmeasurable(config: StageConfig, splits: Splits, tokenizer: Any) -> Iterator[RowFinding]:
    """Held-out rows that state no preference. DataError if a split has no others."""
    for name, rows in splits.items():
        if name == "train":
            continue
        fates = row_fates(tokenizer, rows, config.method, None)
        tied = [row for row, fate in zip(rows, fates, strict=True) if fate == "no preference"]
        if not tied:
            continue
        left_out = finding(
            f"{len(tied):,} of {len(rows):,} {name} rows are not measured, since they state no "
            "preference",
            tied,
        )
        if len(tied) == len(rows):
            raise DataError(f"{left_out.line()}: nothing is left to measure; correct the rows")
        yield left_out


def _check_fit(
    config: StageConfig, splits: Splits, tokenizer: Any, context_length: int, answer_tokens: int
) -> None:
    """DataError for held-out rows that the engine cannot hold."""
    for name, rows in splits.items():
        if name == "train":
            continue
        counts = row_tokens(tokenizer, rows, config.method)
        too_long = [
            row
            for row, own in zip(rows, counts, strict=True)
            if max(*own.whole, own.prompt + answer_tokens) > context_length
        ]
        if too_long:
            text = (
                f"{len(too_long):,} of {len(rows):,} {name} rows cannot be measured: the base "
                f"holds {context_length:,} tokens"
            )
            if answer_tokens:
                text += f", {answer_tokens} of them for an answer (evaluation.max_new_tokens)"
            raise DataError(f"{finding(text, too_long).line()}: shorten them")


def _control_tokens(splits: Splits, tokenizer: Any) -> Iterator[RowFinding]:
    rows = [row for part in splits.values() for row in part]
    for token, indices in rows_with_control_tokens(tokenizer, rows).items():
        text = f"{len(indices):,} of {len(rows):,} rows contain the text of the control token"
        meaning = "which is read as the token"
        yield finding(f"{text} {token!r}, {meaning}", [rows[index] for index in indices])


def _written_alike(config: StageConfig, splits: Splits) -> Iterator[RowFinding]:
    """Pairs whose sides are the same text. DataError if a split has no others."""
    for name, rows in splits.items() if "chosen" in config.training_method.sides else ():
        if tied := [row for row in rows if row["chosen"] == row["rejected"]]:
            text = f"{len(tied):,} of {len(rows):,} {name} rows state no preference"
            alike = finding(f"{text}: chosen and rejected are equal", tied)
            if len(tied) == len(rows):
                raise DataError(f"{alike.line()}; correct the rows")
            yield alike


def _doubtful(config: StageConfig, splits: Splits) -> Iterator[RowFinding]:
    """Rows that can be trained on and are probably not meant so."""
    rows, sides = [row for part in splits.values() for row in part], config.training_method.sides
    if empty := [row for row in rows if any(not _text(row[side]).strip() for side in sides)]:
        yield finding(f"{len(empty):,} of {len(rows):,} rows have an empty answer", empty)
    if repeated := list(_repeated(rows)):
        text = f"{len(repeated):,} of {len(rows):,} rows repeat an earlier row word for word"
        yield finding(text, repeated)
    if "chosen" in sides and (opposed := list(_opposed(rows))):
        yield finding(
            f"{len(opposed):,} of {len(rows):,} pairs contradict another pair: the same prompt "
            "with chosen and rejected exchanged",
            opposed,
        )


def _repeated(rows: Sequence[Row]) -> Iterator[Row]:
    """Rows that are equal to an earlier row in all columns."""
    seen: set[str] = set()
    for row in rows:
        content = json.dumps(row, sort_keys=True, default=str)
        if content in seen:
            yield row
        seen.add(content)


def _opposed(rows: Sequence[Row]) -> Iterator[Row]:
    """Pairs of which another pair exchanges both sides."""

    def key(row: Row, first: str, second: str) -> str:
        return json.dumps([row["prompt"], row[first], row[second]], sort_keys=True)

    stated = {key(row, "chosen", "rejected") for row in rows if row["chosen"] != row["rejected"]}
    for row in rows:
        if row["chosen"] != row["rejected"] and key(row, "rejected", "chosen") in stated:
            yield row


def _text(turns: Sequence[Mapping[str, Any]]) -> str:
    return " ".join(str(turn.get("content") or "") for turn in turns)

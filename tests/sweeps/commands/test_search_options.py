"""Options that commands of a search share."""

from __future__ import annotations

from dataclasses import fields

import alignery
from sweeps.search_options import SearchOptions


def test_both_commands_have_the_same_options_of_a_search() -> None:
    commands = alignery.load_command("sweep").commands
    run, submit = (
        {
            option.name: (option.opts, option.secondary_opts, option.default, option.help)
            for option in commands[name].params
        }
        for name in ("run", "submit")
    )
    for name in (field.name for field in fields(SearchOptions)):
        assert run[name] == submit[name]

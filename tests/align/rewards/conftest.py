"""What tests of rewards share."""

import pytest

from align.recipe.rewards import configure, located


@pytest.fixture
def own(tmp_path):
    """Makes {name: {python: module:name}} of a module's text, as a recipe in its folder would."""

    def make(code: str, function: str, module: str = "mine", weight: float = 1.0):
        (tmp_path / f"{module}.py").write_text(code)
        raw = {function: {"weight": weight, "python": f"{module}:{function}"}}
        return located(configure(raw), tmp_path)

    return make

"""A recipe's fields of TRL are known without importing TRL."""

import subprocess
import sys


def test_recipes_are_read_without_trl() -> None:
    code = (
        "import sys\nfrom align.recipe import load_recipe\n"
        "for name in ('tutorial', 'arithmetic'):\n"
        "    for stage in load_recipe(name).stages.values():\n        stage.resolve().trl()\n"
        "assert not {'trl', 'torch', 'transformers', 'peft', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, capture_output=True)

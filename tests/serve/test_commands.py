"""Commands that need neither torch nor Ray import neither."""

from __future__ import annotations

import subprocess
import sys


def test_experiments_need_neither_torch_nor_ray(settings, adapters):
    code = (
        "import sys; from serve.commands import ab_app, serve_app\n"
        "from serve.http.api import create_api\n"
        "try: ab_app(['list'])\n"
        "except SystemExit: pass\n"
        "print([one for one in ('torch', 'ray', 'transformers') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stderr

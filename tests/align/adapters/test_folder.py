"""An adapter's id follows its content."""

import json

from align.adapters import adapter_id


def test_id_follows_content_not_place(make_adapter, tmp_path):
    folder = make_adapter("one", 1)
    first = adapter_id(folder)
    moved = folder.rename(tmp_path / "elsewhere")
    config = json.loads((moved / "adapter_config.json").read_text())
    for change, same in (({"base_model_name_or_path": "/else/where"}, True), ({"r": 99}, False)):
        (moved / "adapter_config.json").write_text(json.dumps({**config, **change}))
        assert (adapter_id(moved) == first) is same
    assert adapter_id(make_adapter("two", 2)) != first

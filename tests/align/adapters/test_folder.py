"""An adapter's id follows its content, and what a folder must hold."""

import json

import pytest

from align.adapters import adapter_id, verify_folder
from align.adapters.folder import published_id, read_config
from align.errors import AdapterError


def test_id_follows_content_not_place(make_adapter, tmp_path):
    folder = make_adapter("one", 1)
    first = adapter_id(folder)
    moved = folder.rename(tmp_path / "elsewhere")
    config = json.loads((moved / "adapter_config.json").read_text())
    for change, same in (({"base_model_name_or_path": "/else/where"}, True), ({"r": 99}, False)):
        (moved / "adapter_config.json").write_text(json.dumps({**config, **change}))
        assert (adapter_id(moved) == first) is same
    assert adapter_id(make_adapter("two", 2)) != first


def test_a_folder_with_other_content_is_told(make_adapter):
    folder = make_adapter("one", 1)
    verify_folder(folder, adapter_id(folder))
    with pytest.raises(AdapterError, match="is not 000000000000; the files were changed or dam"):
        verify_folder(folder, "0" * 64)


def test_a_published_id_is_asked_for_again_when_a_file_changes(make_adapter):
    folder = make_adapter("one", 1)
    first = published_id(folder)
    assert first == published_id(folder) == adapter_id(folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "r": 99}, indent=1))
    assert published_id(folder) == adapter_id(folder) != first


@pytest.mark.parametrize(("text", "told"), [("{", "not JSON"), ("[]", "expected a JSON object")])
def test_a_config_that_cannot_be_read_is_named(tmp_path, text, told):
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(AdapterError, match=f"{tmp_path}/adapter_config.json: {told}"):
        read_config(tmp_path)


def test_what_an_adapters_folder_lacks_is_told(tmp_path):
    with pytest.raises(AdapterError, match=r"no adapter_config.json; expected a PEFT adapter fold"):
        read_config(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(AdapterError, match=r"no adapter_model.safetensors; only safetensors"):
        adapter_id(tmp_path)

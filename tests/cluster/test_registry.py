import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import delete

from align.adapters import adapter_id
from align.errors import AdapterError, AligneryError
from cluster.database import Database
from cluster.database.tables import Alias
from cluster.errors import AdapterNotFound, PromotionConflict, RegistryError
from cluster.registry import Registry, open_registry
from cluster.settings import Settings
from cluster.storage import Storage
from tests.odd_names import ODD_NAMES

MakeAdapter = Callable[..., Path]
LINE = "arithmetic/sft"


@pytest.fixture
def three(registry: Registry, make_adapter: MakeAdapter) -> list[str]:
    """Three versions of one line; their ids."""
    return [registry.register(LINE, make_adapter(seed)).adapter_id for seed in (1, 2, 3)]


def champion(registry: Registry) -> int:
    return registry.resolve(LINE).number


def test_register_numbers_a_line_from_one(registry: Registry, make_adapter: MakeAdapter) -> None:
    folder = make_adapter(1, metrics={"accuracy": 0.75})
    first = registry.register(LINE, folder)
    assert (first.name, first.adapter_id) == ("arithmetic/sft:1", adapter_id(folder))
    assert (first.method, first.rank, first.base) == ("sft", 2, "tiny-random")
    assert first.manifest.metrics == {"accuracy": 0.75}
    assert first.created_at.tzinfo is not None and first.aliases == ()
    assert registry.register(LINE, make_adapter(2)).number == 2
    assert registry.register("arithmetic/dpo", make_adapter(3)).name == "arithmetic/dpo:1"


def test_the_same_content_is_the_same_version(
    registry: Registry, make_adapter: MakeAdapter
) -> None:
    first = registry.register(LINE, make_adapter(1))
    again = registry.register(LINE, make_adapter(1, metrics={"accuracy": 0.9}))
    assert again == first
    assert registry.register("other/line", make_adapter(1)).adapter_id == first.adapter_id


def test_the_folder_outlives_the_one_that_was_registered(
    registry: Registry, make_adapter: MakeAdapter
) -> None:
    source = make_adapter(1)
    version = registry.register(LINE, source)
    (source / "adapter_model.safetensors").unlink()
    assert adapter_id(registry.folder(version)) == version.adapter_id
    assert (registry.folder(version) / "manifest.json").is_file()


def test_register_refuses_what_its_manifest_does_not_describe(
    registry: Registry, make_adapter: MakeAdapter
) -> None:
    with pytest.raises(AdapterError, match="content digest"):
        registry.register(LINE, make_adapter(1, id="0" * 64))
    assert registry.versions() == []


def test_a_damaged_adapter_is_not_handed_out_and_registering_again_repairs_it(
    registry: Registry, make_adapter: MakeAdapter
) -> None:
    version = registry.register(LINE, make_adapter(1))
    stored = registry.folder(version) / "adapter_model.safetensors"
    stored.write_bytes(stored.read_bytes()[:-1] + b"\xff")
    with pytest.raises(AdapterError, match="changed or damaged"):
        registry.folder(version)
    assert registry.register(LINE, make_adapter(1)) == version
    registry.folder(version)


@pytest.mark.parametrize("line", ["sft", "a/b/c", "a/b:1", "a/b@x", "/b", "a/", "../b", "a b/c"])
def test_a_line_has_two_plain_parts(
    registry: Registry, make_adapter: MakeAdapter, line: str
) -> None:
    with pytest.raises(RegistryError, match="cannot name a line"):
        registry.register(line, make_adapter(1))


def test_resolve_by_number_alias_and_line(registry: Registry, three: list[str]) -> None:
    registry.promote(LINE, 2)
    registry.promote(LINE, 3, alias="candidate")
    registry.promote(LINE, 2, alias="stable")
    assert registry.resolve(f"{LINE}:1").adapter_id == three[0]
    assert registry.resolve(f"{LINE}@candidate").adapter_id == three[2]
    assert registry.resolve(LINE) == registry.resolve(f"{LINE}@champion")
    assert registry.resolve(LINE).aliases == ("champion", "stable")
    assert registry.resolve(f"{LINE}:3").aliases == ("candidate",)


@pytest.mark.parametrize(
    "name",
    ["arithmetic/stf:1", f"{LINE}:4", f"{LINE}:0", f"{LINE}:99999999999999999999", "", "base"],
)
def test_an_unknown_name(registry: Registry, three: list[str], name: str) -> None:
    with pytest.raises(AdapterNotFound, match="`alignery adapter list` shows all") as caught:
        registry.resolve(name)
    assert isinstance(caught.value, AligneryError) and isinstance(caught.value, LookupError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_an_unknown_name_suggests_near_ones(registry: Registry, three: list[str]) -> None:
    with pytest.raises(AdapterNotFound, match="did you mean arithmetic/sft:1"):
        registry.resolve("aritmetic/sft:1")


def test_a_line_without_champion_says_how_to_get_one(registry: Registry, three: list[str]) -> None:
    with pytest.raises(AdapterNotFound, match=r"no alias 'champion'.*promote arithmetic/sft:3"):
        registry.resolve(LINE)


def test_promote_moves_and_remembers(registry: Registry, three: list[str]) -> None:
    first = registry.promote(LINE, 1, reason="first")
    second = registry.promote(LINE, 2, expected=three[0], reason="better")
    assert (first.from_number, first.from_id, first.to_number) == (None, None, 1)
    assert (second.action, second.from_id, second.to_id) == ("promote", three[0], three[1])
    assert registry.history(LINE) == [second, first]
    assert registry.history(LINE, "candidate") == []
    assert registry.aliases() == {f"{LINE}@champion": registry.resolve(f"{LINE}:2")}
    assert registry.aliases("other/line") == {}


def test_promote_compares_before_it_swaps(registry: Registry, three: list[str]) -> None:
    registry.promote(LINE, 1, expected=None)
    for wrong in (three[2], None):
        with pytest.raises(PromotionConflict, match=f"points to {LINE}:1"):
            registry.promote(LINE, 2, expected=wrong)
    with pytest.raises(PromotionConflict, match="does not exist"):
        registry.promote(LINE, 2, alias="candidate", expected=three[0])
    assert champion(registry) == 1
    assert len(registry.history(LINE)) == 1


def test_promoting_what_is_there_changes_nothing(registry: Registry, three: list[str]) -> None:
    registry.promote(LINE, 1)
    entry = registry.promote(LINE, 2, expected=three[0])
    assert registry.promote(LINE, 2) == entry
    assert registry.promote(LINE, 2, expected=three[0]) == entry  # the reply was lost, once more
    assert len(registry.history(LINE)) == 2


def test_promote_takes_only_what_exists(registry: Registry, three: list[str]) -> None:
    with pytest.raises(AdapterNotFound):
        registry.promote(LINE, 4)
    with pytest.raises(RegistryError, match="cannot name an alias"):
        registry.promote(LINE, 1, alias="7")


def test_rollback_walks_back(registry: Registry, three: list[str]) -> None:
    for number in (1, 2, 3):
        registry.promote(LINE, number)
    entry = registry.rollback(LINE, reason="worse")
    assert (entry.action, entry.from_number, entry.to_number) == ("rollback", 3, 2)
    assert registry.rollback(LINE).to_number == 1
    with pytest.raises(RegistryError, match="nothing to roll back to"):
        registry.rollback(LINE)
    registry.promote(LINE, 3)
    assert registry.rollback(LINE).to_number == 1
    assert champion(registry) == 1
    assert [one.action for one in registry.history(LINE)].count("rollback") == 3
    assert registry.history(LINE)[-4].reason == "worse"


def test_rollback_of_an_alias_that_never_was(registry: Registry, three: list[str]) -> None:
    with pytest.raises(AdapterNotFound, match="no alias 'champion'"):
        registry.rollback(LINE)


def test_names_are_those_of_one_base(registry: Registry, make_adapter: MakeAdapter) -> None:
    registry.register(LINE, make_adapter(1))
    registry.register("arithmetic/dpo", make_adapter(2))
    registry.register("qwen/sft", make_adapter(3, base="Qwen/Qwen2.5-0.5B-Instruct"))
    registry.promote(LINE, 1)
    assert registry.names("tiny-random") == [f"{LINE}@champion", "arithmetic/dpo:1", f"{LINE}:1"]
    assert registry.names("Qwen/Qwen2.5-0.5B-Instruct") == ["qwen/sft:1"]
    assert registry.names("nothing") == []


def test_of_many_promotions_with_one_expectation_one_wins(
    registry: Registry, three: list[str]
) -> None:
    registry.promote(LINE, 1)

    def attempt(number: int) -> bool:
        try:
            registry.promote(LINE, number, expected=three[0], reason=str(number))
        except PromotionConflict:
            return False
        return True

    targets = [2, 3] * 6
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, targets))
    winners = {number for number, won in zip(targets, outcomes, strict=True) if won}
    assert winners == {champion(registry)}  # others with the same target found it done
    assert len(registry.history(LINE)) == 2


def test_of_many_first_promotions_one_wins(
    registry: Registry, database: Database, three: list[str]
) -> None:
    def attempt(number: int) -> bool:
        try:
            registry.promote(LINE, number, expected=None)
        except PromotionConflict:
            return False
        return True

    for _ in range(3):
        with database.session() as session:
            session.execute(delete(Alias))
        before = len(registry.history(LINE))
        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(attempt, [1, 2, 3])).count(True) == 1
        assert len(registry.history(LINE)) == before + 1


def test_threads_that_register_at_once_get_different_numbers(
    registry: Registry, make_adapter: MakeAdapter
) -> None:
    folders = [make_adapter(seed) for seed in range(8)] + [make_adapter(0), make_adapter(1)]
    with ThreadPoolExecutor(5) as pool:
        numbers = [one.number for one in pool.map(lambda f: registry.register(LINE, f), folders)]
    assert sorted(numbers[:8]) == list(range(1, 9))
    assert numbers[8:] == numbers[:2]


REGISTER = """
import sys, json
from pathlib import Path
from cluster.registry import open_registry
from cluster.settings import Settings
registry = open_registry(Settings())
print(json.dumps([registry.register("arithmetic/sft", Path(f)).number for f in sys.argv[1:]]))
"""


def test_processes_that_register_at_once_on_an_empty_home(
    settings: Settings, make_adapter: MakeAdapter
) -> None:
    environment = {
        "ALIGNERY_HOME": str(settings.home),
        "ALIGNERY_DATABASE_URL": settings.database_url,
    }
    numbers: list[int] = []
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", REGISTER, *(str(make_adapter(p * 10 + i)) for i in range(4))],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for p in range(2)
    ]
    for process in processes:
        out, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        numbers += json.loads(out)
    assert sorted(numbers) == list(range(1, 9))


def test_another_installation_on_the_same_home_sees_it_all(
    registry: Registry, settings: Settings, three: list[str]
) -> None:
    registry.promote(LINE, 2)
    other = open_registry(settings)
    assert other.resolve(LINE) == registry.resolve(LINE)
    assert [one.adapter_id for one in other.versions(LINE)] == three
    assert Storage(settings).keys("adapters/") == sorted(f"adapters/{one}" for one in three)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_installation_of_any_name_registers_and_hands_out_its_own_adapters(
    name: str, tmp_path: Path, make_adapter: MakeAdapter
) -> None:
    home = tmp_path / "homes" / name
    version = open_registry(Settings(home=home)).register(LINE, make_adapter(1))
    opened_again = open_registry(Settings(home=home))
    assert [found.name for found in opened_again.versions()] == [version.name]
    folder = opened_again.folder(opened_again.resolve(version.name))
    assert folder == home / "storage" / "adapters" / version.adapter_id
    assert [path.name for path in (tmp_path / "homes").iterdir()] == [name]

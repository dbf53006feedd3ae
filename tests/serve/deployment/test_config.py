"""What a Serve config of an endpoint may say."""

from __future__ import annotations

import copy
from datetime import date
from typing import Any

import pytest

from cluster.settings import Settings
from serve.deployment.config import check_config, read_config
from serve.errors import ServeError
from tests.serve.deploying import drafted


@pytest.fixture
def config(settings: Settings) -> dict[str, Any]:
    return drafted("--accelerator", "T4", "--replicas", "2", "--most-replicas", "4")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("http_optoins", {}, r"'http_optoins' means nothing to Ray Serve; did you mean http_opt"),
        ("http_options/prot", 8000, r"'http_options\.prot' .*did you mean port\?"),
        ("applications/0/import_pth", "x", r"'applications\[0\]\.import_pth' .*import_path"),
        ("applications/0/args/slot", 3, r"args\.slot: .*did you mean slots\?"),
        ("applications/0/args/slots", 0, r"args\.slots: .*greater than or equal to 1; got 0"),
        ("applications/0/args/most_replicas", 1, r"most_replicas is 1, and replicas 2"),
        ("applications/0/args/keys_asked", None, r"set args\.keys_asked to true .*key create"),
        ("applications/0/deployments", [{"name": "Engine"}], r"no deployment 'Engine'; expected E"),
        (
            "applications/0/deployments",
            [{"name": "EngineReplica", "num_replica": 2}],
            r"deployments\[0\]\.num_replica' .*did you mean num_replicas\?",
        ),
        ("applications/0/import_path", "else:app", "expected one application, 'alignery' with imp"),
        ("applications/0/name", "other", r"expected one application, 'alignery' .*got other"),
        ("applications", [], r"expected one application, 'alignery' .*got none"),
        ("http_options/port", "many", r"http_options\.port: .*got 'many'"),
        ("http_options/port", 99_999, r"http_options\.port: expected 1 to 65535; got 99999"),
        ("target_capacity", 50, r"target_capacity is for all .*set args\.replicas"),
        ("proxy_location", "Disabled", r"Disabled, nobody reaches it; expected EveryNode"),
        ("applications/0/route_prefix", None, r"route_prefix: nobody reaches .*expected /"),
        ("applications/0/args/accelerator", "T4x", r"args\.accelerator: .*did you mean 'T4'\?"),
        ("applications/0/args/gpus", 1.5, r"args\.gpus: beyond 1, .*whole GPUs; got 1\.5"),
        ("applications/0/args/drain_seconds", float("inf"), "Out of range float values"),
        (
            "applications/0/args/database_url",
            "postgresql://me:hunter2@db.example.com/x",
            r"database_url has a password, .*set ALIGNERY_DATABASE_URL on its machines$",
        ),
        ("applications/0/deployments", ["Ingress"], r"endpoint\.yaml: "),
        ("applications/0/runtime_env", {"py_modules": 3}, r"endpoint\.yaml: "),
        ("applications/0/runtime_env", {"env_vars": {"A": date(2026, 1, 1)}}, "JSON serializable"),
        (
            "applications/0/deployments",
            [{"name": "Tally"}, {"name": "Tally"}],
            "'Tally' stands there twice",
        ),
        (
            "applications/0/deployments",
            [{"name": "EngineReplica", "num_replicas": 2}],
            r"num_replicas is made from args\.replicas",
        ),
        (
            "applications/0/deployments",
            [{"name": "EngineReplica", "ray_actor_options": {"memory": 1}}],
            "name num_cpus and num_gpus there, too",
        ),
        (
            "applications/0/deployments",
            [{"name": "Ingress", "autoscaling_config": {"min_replicas": 5, "max_replicas": 2}}],
            r"deployment 'Ingress': autoscaling_config\.",
        ),
        ("proxy_location", "Everywhere", r"proxy_location: .*got 'Everywhere'"),
    ],
)
def test_what_ray_would_let_through_is_an_error(config, path, value, said):
    broken: Any = copy.deepcopy(config)
    *above, last = path.split("/")
    place = broken
    for part in above:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[last] = value
    with pytest.raises(ServeError, match=said):
        check_config(broken, "endpoint.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: [", "no YAML"), ("- 1\n", "expected a Serve config"), ("", "expected a Serve config")],
)
def test_a_file_that_is_no_config(tmp_path, text, said):
    file = tmp_path / "endpoint.yaml"
    file.write_text(text)
    with pytest.raises(ServeError, match=f"endpoint.yaml: {said}"):
        read_config(file)
    with pytest.raises(ServeError, match="no file"):
        read_config(tmp_path / "nothing.yaml")


def test_an_error_shows_no_arguments_that_may_be_secret(config):
    args = config["applications"][0]["args"]
    args.update(database_url="postgresql://me:hunter2@db.example.com/x", most_replicas=1)
    with pytest.raises(ServeError, match="most_replicas is 1") as error:
        check_config(config, "endpoint.yaml")
    assert "hunter2" not in str(error.value)

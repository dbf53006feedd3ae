"""An endpoint as a Serve config, and on a cluster that is asked from outside."""

from __future__ import annotations

import copy
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cluster.errors import ClusterError, SettingsError
from cluster.settings import Settings
from serve.commands import serve_app
from serve.deployment.config import check_config, read_config
from serve.errors import ServeError
from tests.fake_dashboard import fake_dashboard
from tests.serve.real_adapters import BASE

NOWHERE = "http://127.0.0.1:1"


def invoke(*arguments: str) -> Any:
    """A command's result, its failure as it is raised."""
    return CliRunner().invoke(serve_app, list(arguments), catch_exceptions=False)


def drafted(*options: str) -> dict[str, Any]:
    """The config that `deploy` would send."""
    result = invoke("deploy", "--base", BASE, *options, "--write", "-")
    assert result.exit_code == 0, result.output
    return dict(yaml.safe_load(result.stdout))


@pytest.fixture
def config(settings: Settings) -> dict[str, Any]:
    return drafted("--accelerator", "T4", "--replicas", "2", "--most-replicas", "4")


def test_a_config_says_what_is_served_and_holds_no_password(settings, monkeypatch):
    monkeypatch.setenv("ALIGNERY_DATABASE_URL", "postgresql://me:secret@db.example.com/alignery")
    made = drafted("--accelerator", "T4", "--slots", "32", "--port", "9000")
    (application,) = made["applications"]
    assert application["args"] == {
        "base": BASE, "gpus": 1, "accelerator": "T4", "slots": 32, "keys_asked": True
    }  # fmt: skip
    assert made["http_options"] == {"host": "0.0.0.0", "port": 9000}
    assert "secret" not in yaml.safe_dump(made)


def test_the_base_is_that_of_the_champions_unless_it_is_named(settings, adapters):
    result = invoke("deploy", "--write", "-")
    assert yaml.safe_load(result.stdout)["applications"][0]["args"]["base"] == BASE


def test_a_written_config_can_be_deployed(config, settings, tmp_path):
    file = tmp_path / "endpoint.yaml"
    invoke("deploy", "--base", BASE, "--write", str(file))
    assert read_config(file)["applications"][0]["args"]["base"] == BASE


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


def test_a_file_takes_no_options_that_say_the_same(config, tmp_path):
    file = tmp_path / "endpoint.yaml"
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(ServeError, match="--replicas, --port beside a file"):
        invoke("deploy", str(file), "--replicas", "2", "--port", "80", "--address", NOWHERE)


def test_options_that_make_no_endpoint(settings):
    with pytest.raises(ServeError, match="--most-replicas 1: expected at least --replicas, 2"):
        drafted("--replicas", "2", "--most-replicas", "1")
    with pytest.raises(ServeError, match="host nowhere: expected an IP address"):
        drafted("--host", "nowhere")
    with pytest.raises(ServeError, match=r"^--accelerator: .*'T44'; did you mean 'T4'\?"):
        drafted("--accelerator", "T44")
    with pytest.raises(ServeError, match=r"^--gpus: beyond 1, an engine takes whole GPUs; got 1.5"):
        drafted("--gpus", "1.5")
    with pytest.raises(ServeError, match=r"^--base: .*at least 1 character"):
        drafted("--base", "")
    with pytest.raises(ServeError, match=r"no champion is registered; name the base: .*deploy"):
        invoke("deploy", "--write", "-")
    with pytest.raises(ServeError, match=r"--write .*/none/x\.yaml: No such file"):
        invoke("deploy", "--base", BASE, "--write", f"{settings.home}/none/x.yaml")


@pytest.mark.parametrize("command", [["deploy", "--base", BASE], ["status"], ["down"]])
def test_a_cluster_that_is_not_named_or_not_there(settings, command, monkeypatch):
    monkeypatch.delenv("ALIGNERY_JOBS_ADDRESS", raising=False)
    with pytest.raises(SettingsError, match="which cluster\\? set ALIGNERY_JOBS_ADDRESS"):
        invoke(*command)
    with pytest.raises(ClusterError, match=r"no Ray takes jobs at http://127\.0\.0\.1:1"):
        invoke(*command, "--address", NOWHERE)


@pytest.mark.parametrize("by_file", [False, True])
def test_a_cluster_that_lets_everybody_in_gets_nothing_unless_its_network_is_trusted(
    by_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr("serve.deployment.remote.deploy", lambda _, config: sent.append(config))
    options = ["--base", BASE]
    if by_file:
        file = tmp_path / "endpoint.yaml"
        file.write_text(yaml.safe_dump(drafted()))
        options = [str(file)]
    with fake_dashboard() as cluster:
        cluster.ips = ["10.0.0.7"]
        options += ["--address", cluster.address, "--wait", "0"]
        with pytest.raises(ClusterError, match=r"can run code .* --trust-network"):
            invoke("deploy", *options)
        assert sent == []
        assert invoke("deploy", *options, "--trust-network").exit_code == 0
    assert sent[0]["applications"][0]["args"]["trust_network"] is True


def test_a_config_that_is_made_trusts_no_network_unless_it_is_told_to() -> None:
    assert "trust_network" not in drafted()["applications"][0]["args"]
    assert drafted("--trust-network")["applications"][0]["args"]["trust_network"] is True


@pytest.mark.parametrize(
    ("mode", "host", "trusted", "starts"),
    [
        ("token", "10.0.0.7", False, True),
        ("", "10.0.0.7", False, False),
        ("disabled", "10.0.0.7", False, False),
        ("", "127.0.0.1", False, True),
        ("", "10.0.0.7", True, True),
    ],
)
def test_an_endpoint_starts_on_a_closed_ray_alone(
    mode: str, host: str, trusted: bool, starts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serve.app import build

    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: host)
    args = {"base": BASE, "trust_network": trusted}
    if starts:
        build(args)
    else:
        with pytest.raises(ServeError, match=r"can run code .*trust_network to true"):
            build(args)

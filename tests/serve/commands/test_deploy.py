"""`alignery serve deploy`, `status` and `down`, as typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.errors import ClusterError, SettingsError
from cluster.settings import Settings
from serve.deployment.config import read_config
from serve.errors import ServeError
from tests.fake_dashboard import fake_dashboard
from tests.serve.deploying import NOWHERE, drafted, invoke
from tests.serve.real_adapters import BASE


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


def test_control_tokens_in_messages_are_read_only_where_the_config_says_so(settings):
    def arguments(*options):
        (application,) = drafted(*options)["applications"]
        return application["args"]

    assert "parse_control_tokens" not in arguments()
    assert arguments("--parse-control-tokens")["parse_control_tokens"] is True


def test_the_base_is_that_of_the_champions_unless_it_is_named(settings, adapters):
    result = invoke("deploy", "--write", "-")
    assert yaml.safe_load(result.stdout)["applications"][0]["args"]["base"] == BASE


def test_a_written_config_can_be_deployed(config, settings, tmp_path):
    file = tmp_path / "endpoint.yaml"
    invoke("deploy", "--base", BASE, "--write", str(file))
    assert read_config(file)["applications"][0]["args"]["base"] == BASE


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


def test_the_check_of_gpus_is_named_where_it_never_passed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.deployment.remote.deploy", lambda *_: None)

    def told(*options: str) -> bool:
        with fake_dashboard() as cluster:
            result = invoke(
                "deploy", "--base", BASE, "--address", cluster.address, "--wait", "0", *options
            )
        assert result.exit_code == 0
        return "alignery gpu check" in result.output

    assert told("--accelerator", "T4") and told()
    assert not told("--gpus", "0")
    file = settings.home / "gpu-check" / "T4.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"verdict": "PASS"}')
    assert not told("--accelerator", "T4") and not told()
    assert told("--accelerator", "L4")

"""A local Ray comes and goes without a trace. One start costs seconds, so tests share them."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from cluster.errors import ClusterError
from cluster.ray import _temp_dir, ray_session
from cluster.settings import Settings

#: Prints what a session is like from inside, in a process of its own and another folder.
INSIDE = """
import json, os, signal, sys, tempfile, psutil
from cluster.ray import ray_session
from cluster.settings import Settings

def families():
    return [p for p in psutil.Process().children(recursive=True)]

def state():
    names = {name: value for name, value in os.environ.items() if name == "OMP_NUM_THREADS"
             or name.startswith(("RAY_ENABLE", "RAY_USAGE", "RAY_AUTH"))}
    return names, signal.getsignal(signal.SIGTERM)

before = state()
with ray_session(Settings(), num_cpus=2) as address:
    import ray
    @ray.remote(num_cpus=2)
    def worker():
        import cluster.settings
        return os.environ["OMP_NUM_THREADS"]
    threads = ray.get(worker.remote(), timeout=60)
    with ray_session(Settings()) as inner:
        pass
    folder = ray._private.worker._global_node.get_temp_dir_path()
    import grpc
    def asked(call, token):
        with grpc.insecure_channel(address) as channel:
            sent = [("authorization", "Bearer " + token)] if token else None
            try:
                channel.unary_unary(call)(b"", timeout=30, metadata=sent)
                return "OK"
            except grpc.RpcError as error:
                return error.code().name
    from pathlib import Path
    file = Path(folder, "token")
    alive = "/ray.rpc.NodeInfoGcsService/CheckAlive"
    report = {
        "stranger": asked(alive, None), "guess": asked(alive, "x"),
        "owner": asked(alive, file.read_text()), "mode": oct(file.stat().st_mode & 0o777),
        "address": address, "inner": inner, "still": ray.is_initialized(), "threads": threads,
        "listening": sorted({c.laddr.ip for p in [psutil.Process(), *families()]
                             for c in p.net_connections() if c.status == "LISTEN"}),
        "processes": len(families()), "folder": folder, "cpus": ray.cluster_resources()["CPU"],
    }
report["left"] = [str(p) for p in families()]
report["restored"] = before == state()
print(json.dumps(report))
"""

#: Holds a session until it is told to end.
HOLD = """
import time
from cluster.ray import ray_session
from cluster.settings import Settings
with ray_session(Settings(), num_cpus=1) as address:
    import ray
    print(address, ray._private.worker._global_node.get_temp_dir_path(), flush=True)
    time.sleep(60)
"""


#: Joins another's Ray; Ray reads the mode once in a process, so this is one of its own.
JOIN = """
import sys
from cluster.ray import ray_session
from cluster.settings import Settings
with ray_session(Settings(ray_address=sys.argv[1])) as joined:
    import ray
    assert joined == sys.argv[1]
    print(ray.cluster_resources()["CPU"])
"""


def spawn(script: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env={
            "PATH": os.environ["PATH"],
            "ALIGNERY_HOME": os.environ["ALIGNERY_HOME"],
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes_of(folder: str) -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if folder in " ".join(process.info["cmdline"] or []):
            found.append(str(process))
    return found


def assert_gone(folder: str) -> None:
    assert processes_of(folder) == []
    assert not Path(folder).exists()


def test_a_local_session(tmp_path: Path) -> None:
    # What the user has set for a cluster of theirs is neither used nor lost.
    process = spawn(INSIDE, HOME=str(tmp_path), RAY_AUTH_MODE="disabled", RAY_AUTH_TOKEN="theirs")
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    report = json.loads(out)
    assert report["inner"] == report["address"] and report["still"]
    assert report["threads"] == "2" and report["cpus"] == 2
    assert report["processes"] > 2
    assert all("127.0.0.1" in one for one in report["listening"]), report["listening"]
    assert (report["stranger"], report["guess"]) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
    assert report["owner"] == "OK" and report["mode"] == "0o600"
    assert not (tmp_path / ".ray").exists()
    assert len(report["folder"]) <= 40
    assert report["left"] == [] and report["restored"]
    assert_gone(report["folder"])


def test_ctrl_c_leaves_nothing() -> None:
    process = spawn(HOLD)
    assert process.stdout is not None
    folder = process.stdout.readline().split()[1]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGINT
    assert_gone(folder)


def test_a_start_that_is_interrupted_leaves_nothing() -> None:
    process = spawn(HOLD)
    children: list[psutil.Process] = []
    until = time.monotonic() + 120
    while not children and time.monotonic() < until:
        children = psutil.Process(process.pid).children()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert out == "" and process.returncode != 0
    assert psutil.wait_procs(children, timeout=60)[1] == []


def test_joining_a_running_ray_leaves_it_running_until_its_owner_is_terminated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import ray

    host = spawn(HOLD)
    assert host.stdout is not None
    address, folder = host.stdout.readline().split()
    file = f"{folder}/token"
    monkeypatch.setenv("HOME", str(tmp_path))
    try:
        with_none = {"RAY_AUTH_MODE": "disabled"}
        for environment, said in (
            ({}, "wants a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"),
            (with_none, "wants a token, and RAY_AUTH_MODE=disabled here sends none"),
            ({"RAY_AUTH_TOKEN": "other"}, "does not accept the token of RAY_AUTH_TOKEN"),
        ):
            with monkeypatch.context() as changed:
                for name, value in environment.items():
                    changed.setenv(name, value)
                with pytest.raises(ClusterError, match=f"the Ray at {address} {said}"):
                    join(address)
        done = subprocess.run(
            [sys.executable, "-c", JOIN, address],
            env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": file},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.stdout == "1.0\n" and done.stderr == "", done.stderr
        assert not ray.is_initialized()
        assert processes_of(folder) != []
    finally:
        host.send_signal(signal.SIGTERM)
        host.communicate(timeout=120)
    assert host.returncode == 128 + signal.SIGTERM
    assert_gone(folder)


#: A Ray that somebody has started without a token.
HOLD_OPEN = """
import sys, time, ray
from ray._private import ray_constants
ray_constants.ENABLE_RAY_CLUSTER = False  # on loopback
context = ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False,
                   logging_level="ERROR", object_store_memory=10**8, _temp_dir=sys.argv[1])
print(context.address_info["address"], flush=True)
sys.stdin.readline()
ray.shutdown()
"""


def test_a_ray_without_tokens_is_joined_with_a_warning_that_names_what_follows(
    tmp_path: Path,
) -> None:
    environment = {
        **{name: os.environ[name] for name in ("PATH", "ALIGNERY_HOME")},
        "HOME": str(tmp_path),
        "RAY_AUTH_MODE": "disabled",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    with tempfile.TemporaryDirectory(prefix="al-", dir="/tmp") as folder:
        host = subprocess.Popen(
            [sys.executable, "-c", HOLD_OPEN, folder],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert host.stdin is not None and host.stdout is not None
        address = host.stdout.readline().strip()
        try:
            done = subprocess.run(
                [sys.executable, "-c", JOIN, address],
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
            )
        finally:
            host.stdin.close()
            host.wait(300)
    assert done.stdout == "1.0\n", done.stderr
    assert done.stderr.startswith(f"warning: the Ray at {address} asks nobody for a token: ")
    assert "can run code" in done.stderr and done.stderr.count("\n") == 1


def join(address: str) -> None:
    with ray_session(Settings(ray_address=address)):
        raise AssertionError("nobody should get in")


def test_an_address_where_no_ray_is() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"  # bound, but nobody listens
        with (
            pytest.raises(ClusterError, match=rf"no Ray cluster at {address}.*unset ALIGNERY_RAY"),
            ray_session(Settings(ray_address=address)),
        ):
            pass


def test_signals_to_the_process_group_do_not_reach_rays_processes() -> None:
    process = spawn(HOLD)
    assert process.stdout is not None
    folder = process.stdout.readline().split()[1]
    family = psutil.Process(process.pid).children(recursive=True)
    own = os.getpgid(process.pid)
    assert len(family) > 2 and own not in {os.getpgid(one.pid) for one in family}
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert_gone(folder)


def test_a_head_that_died_ends_the_session_with_what_to_do() -> None:
    process = spawn(HOLD)
    assert process.stdout is not None
    address, folder = process.stdout.readline().split()
    children = psutil.Process(process.pid).children()
    next(one for one in children if "gcs_server" in one.name()).kill()
    _, error = process.communicate(timeout=120)  # Ray itself would take a minute, and say less
    assert process.returncode == 2
    assert f"Ray's head at {address} does not answer any more" in error
    assert "`alignery sweep resume`" in error
    assert_gone(folder)


@pytest.mark.parametrize(
    ("name", "used"),
    [("a b", True), ("%s?#", True), ("é", False), ("a'b", False), ('a"b', False), ("a\\b", False)],
)
def test_a_temporary_folder_that_ray_cannot_name_is_not_used(
    name: str, used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as short:
        root = Path(short, name)
        root.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(root))
        folder = _temp_dir()
        folder.rmdir()
        assert folder.parent == (root if used else Path("/tmp"))

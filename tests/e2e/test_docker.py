# SPDX-License-Identifier: Apache-2.0
"""Containers where there is no machine, only when asked; a Docker daemon of the test's own."""

import contextlib
import http.server
import json
import os
import shutil
import signal
import socketserver
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from mvm import MVMCTL, SLOWNESS, free_port, wait_until
from test_build import project

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a Docker daemon is root's"),
    pytest.mark.skipif(shutil.which("dockerd") is None, reason="no dockerd: ./dev setup installs docker.io"),
]

MVM_DOCKER = Path(MVMCTL).resolve().parent.parent / "libexec/mvm/mvm-docker"
POSTURE = "mvm: backend docker, isolation container: shares the host kernel, no microVM boundary"
# In namespaces of its own: what it leaves ends with them. Not as their init, which takes all others along.
DAEMON = "ip link set lo up; dockerd -H unix://{0}/docker.sock --data-root {0}/root --exec-root {0}/exec -p {0}/pid >{0}/log 2>&1 & wait $!; exec sleep 100000"


class Daemon:
    def __init__(self):
        self.place = Path(tempfile.mkdtemp(prefix="mvm-docker-", dir="/tmp"))
        self.socket = self.place / "docker.sock"
        self.start()

    def start(self):
        flags = ["--net", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc", "--kill-child"]
        self.process = subprocess.Popen(["unshare", *flags, "sh", "-c", DAEMON.format(self.place)])
        try:
            wait_until(lambda: self.answers(), 30 * SLOWNESS, "the Docker daemon")
        except AssertionError:
            self.end()
            raise

    def answers(self):
        return self.socket.exists() and self.docker("version").returncode == 0

    def docker(self, *args):
        return subprocess.run(["docker", "-H", f"unix://{self.socket}", *args], capture_output=True, text=True)

    def pid(self):
        """Of dockerd, as we see it."""
        found = subprocess.run(["pgrep", "-f", f"^dockerd -H unix://{self.socket}"], stdout=subprocess.PIPE, text=True)
        return int(found.stdout.split()[0])

    def containers(self):
        listed = self.docker("ps", "-a", "--format", "{{.Names}}")
        assert listed.returncode == 0, listed
        return listed.stdout.split()

    def end(self):
        self.process.kill()
        self.process.wait()
        wait_until(lambda: subprocess.run(["pgrep", "-f", str(self.place)], stdout=subprocess.PIPE).returncode != 0, 20, "its end")
        for file in ("pid", "docker.sock", "exec"):
            path = self.place / file
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def daemon():
    daemon = Daemon()
    yield daemon
    daemon.end()
    shutil.rmtree(daemon.place, ignore_errors=True)


@pytest.fixture
def box(home, daemon, monkeypatch):
    """A home whose Docker is the test's."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{daemon.socket}")
    yield home
    assert daemon.containers() == []


def up(home, name, *args):
    return home.ok("up", "-q", "--backend", "docker", "--name", name, *args, "busybox")


def test_a_command_runs_in_a_container_and_says_what_that_is(box):
    done = box.run("run", "--backend", "docker", "--name", "c", "--", "sh", "-c", "echo out; echo err >&2; hostname; exit 7")
    assert done.code == 7 and done.text == "out\nc\n" and POSTURE in done.errors and "err\n" in done.errors
    told = box.json("run", "--json", "--backend", "docker", "--", "true")
    assert told["tier"] == "container" and told["backend"] == "docker"
    stdin = box.run("run", "-q", "-i", "--backend", "docker", "--", "cat", stdin="hello")
    assert stdin.text == "hello"


def test_it_is_never_taken_unasked_nor_where_more_is_wanted(box, tmp_path):
    more = box.run("run", "--backend", "docker", "--isolation", "microvm", "--", "true")
    assert more.code == 125 and "isolation is only container" in more.errors
    path = tmp_path / "bin"  # a host without QEMU
    path.mkdir()
    for tool in ("mkfs.erofs", "docker"):
        (path / tool).symlink_to(shutil.which(tool))
    none = box.run("run", "--", "true", env={"PATH": str(path)})
    assert none.code == 125 and POSTURE not in none.errors
    box.ok("config", "set", "allow_container_fallback", "true")
    taken = box.run("run", "--", "true", env={"PATH": str(path)})
    assert taken.code == 0 and POSTURE in taken.errors


def test_what_a_machine_does_it_does(box, daemon):
    port = free_port()
    up(box, "m", "-p", f"{port}:80", "--memory", "128M", "--cpus", "2")
    assert box.machines()["m"]["tier"] == "container"
    local = box.work / "file"
    local.write_bytes(os.urandom(1 << 20))
    box.ok("cp", local, "m:/tmp/file")
    box.ok("cp", "m:/tmp/file", box.work / "back")
    assert (box.work / "back").read_bytes() == local.read_bytes()
    assert box.ok("exec", "-u", "65534", "m", "--", "id", "-u").text == "65534\n"
    box.ok("exec", "m", "--", "sh", "-c", "mkdir /www; echo web >/www/index.html; httpd -p 80 -h /www")
    fetch = ["nsenter", "-t", str(daemon.pid()), "-n", "curl", "-sf", "--max-time", "10", f"http://127.0.0.1:{port}/"]
    assert subprocess.run(fetch, stdout=subprocess.PIPE).stdout == b"web\n"
    (limits,) = json.loads(daemon.docker("inspect", *daemon.containers()).stdout)
    assert limits["HostConfig"]["Memory"] == 128 << 20 and limits["HostConfig"]["NanoCpus"] == 2_000_000_000
    box.ok("pause", "m")
    held = box.run("exec", "m", "--", "true")
    assert held.code != 0 and "paused" in held.errors
    box.ok("resume", "m")
    box.ok("exec", "m", "--", "true")
    box.ok("pause", "m")
    box.ok("stop", "m")
    box.ok("rm", "m")


def test_a_main_process_its_log_its_end_and_its_restarts(box):
    root = project(box, 'name = "app"\nentrypoint = "echo up; exec sleep 0.2"\n[source]\nimage = "busybox"\n', "app")
    box.ok("build", root)
    box.ok("up", "-q", "--backend", "docker", "--name", "m", root)
    box.ok("wait", "--for", "stopped", "--timeout", "20s", "m")
    assert box.ok("logs", "m").text == "up\n" and box.machines()["m"]["exit_code"] == 0
    box.ok("rm", "m")
    box.ok("up", "-q", "--backend", "docker", "--name", "r", "--restart", "on-failure:2", "busybox", "--", "sh", "-c", "echo again; exit 3")
    box.run("wait", "--for", "stopped", "--timeout", "20s", "r")
    told = box.machines()["r"]
    assert told["restarts"] == 2 and told["exit_code"] == 3 and box.ok("logs", "r").text == "again\n" * 3
    box.ok("rm", "r")
    up(box, "t", "--ttl", "1s")
    box.ok("wait", "--for", "stopped", "--timeout", "20s", "t")
    assert "time to live" in box.machines()["t"]["message"]
    box.ok("rm", "t")


def test_what_it_lacks_is_refused_before_anything_starts(box):
    volume = box.run("run", "--backend", "docker", "--volume", "data:/srv", "--", "true")
    assert volume.code == 125 and "no volumes" in volume.errors and "mvm-vmm, qemu" in volume.errors
    kernel = box.run("run", "--backend", "docker", "--cmdline-extra", "quiet", "--", "true")
    assert kernel.code == 125 and "no kernel of its own" in kernel.errors
    told = {b["name"]: b for b in box.json("backend", "ls", "--json")["backends"]}["docker"]
    assert told["usable"] and told["tier"] == "container" and not told["can"]["volumes"] and told["version"]
    box.ok("key", "new", "me")
    root = project(box, 'seal = "sealed"\nentrypoint = "true"\n[source]\nimage = "busybox"\n')
    box.ok("build", root)
    seal = box.run("run", "--backend", "docker", root)
    assert seal.code == 125 and "seal" in seal.errors
    up(box, "m")
    snapshot = box.run("snapshot", "create", "m")
    assert snapshot.code == 125 and "no snapshots" in snapshot.errors
    box.ok("rm", "-f", "m")


@pytest.mark.parametrize("held", [False, True])
def test_a_killed_supervisor_leaves_no_container(box, daemon, held):
    up(box, "m")
    if held:
        box.ok("pause", "m")
    os.kill(box.inspect("m")["supervisor_pid"], signal.SIGKILL)
    if not held:
        wait_until(lambda: daemon.containers() == [], 10 * SLOWNESS, "the container's end")
    box.ok("rm", "m")
    assert daemon.containers() == []


def test_a_container_that_is_ended_from_outside_is_said(box, daemon):
    up(box, "m")
    (name,) = daemon.containers()
    assert name == "mvm-" + box.inspect("m")["id"]
    daemon.docker("rm", "-f", name)
    box.run("wait", "--for", "stopped", "--timeout", "10s", "m")
    told = box.machines()["m"]
    assert told["state"] == "failed" and "ended from outside" in told["message"]
    box.ok("rm", "m")


def test_its_image_is_made_once_and_again_when_it_is_gone(box, daemon):
    for tag in daemon.docker("images", "-q").stdout.split():
        daemon.docker("rmi", "-f", tag)
    runs = [box.popen("run", "-q", "--backend", "docker", "--", "echo", str(i)) for i in range(3)]
    assert sorted(run.communicate(timeout=60)[0] for run in runs) == [b"0\n", b"1\n", b"2\n"]
    assert len(daemon.docker("images", "-aq").stdout.split()) == 1
    daemon.docker("rmi", "-f", *daemon.docker("images", "-q").stdout.split())
    assert box.ok("run", "-q", "--backend", "docker", "--", "echo", "again").text == "again\n"
    box.ok("cache", "prune", "--dry-run")
    assert len(daemon.docker("images", "-q").stdout.split()) == 1


def test_cache_prune_removes_its_images(box, daemon, seed):
    box.ok("run", "-q", "--backend", "docker", "--", "true")
    (box.path / "cache").unlink()  # the seed's is shared
    (box.path / "cache/docker").mkdir(parents=True)
    gone = box.ok("cache", "prune", env={"DOCKER_HOST": "unix:///nowhere.sock"})
    assert "freed" in gone.text and "no Docker daemon answers" in gone.errors
    assert "freed" in box.ok("cache", "prune").text
    assert daemon.docker("images", "-q").stdout == ""


def test_a_port_that_is_taken_is_named(box, daemon):
    port = free_port()
    hold = f"import socket,sys; s=socket.socket(); s.bind(('127.0.0.1',{port})); s.listen(); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        ["nsenter", "-t", str(daemon.pid()), "-n", "python3", "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as taken:
        taken.stdout.readline()
        done = box.run("run", "--backend", "docker", "-p", f"{port}:80", "--", "true")
        assert done.code == 125 and str(port) in done.errors and "address already in use" in done.errors
        taken.stdin.close()


def test_a_daemon_that_cannot_be_used_says_the_next_step(box, daemon):
    for host, words in (
        ("unix:///nowhere.sock", ("no Docker daemon answers at /nowhere.sock", "DOCKER_HOST=")),
        ("tcp://127.0.0.1:1", ("DOCKER_HOST is tcp://127.0.0.1:1", "unix:///PATH")),
    ):
        done = box.run("run", "--backend", "docker", "--", "true", env={"DOCKER_HOST": host})
        assert done.code == 125 and all(word in done.errors for word in words), done
    nobody = subprocess.run(
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", MVM_DOCKER, "version"], capture_output=True, text=True
    )
    assert nobody.returncode == 1 and "may not use the Docker socket" in nobody.stderr


class Ancient(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Api-Version", "1.30")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

    def address_string(self):
        return "unix"


def test_an_api_that_is_too_old_is_named(box):
    socket = box.work / "old.sock"
    with socketserver.UnixStreamServer(str(socket), Ancient) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = box.run("run", "--backend", "docker", "--", "true", env={"DOCKER_HOST": f"unix://{socket}"})
        server.shutdown()
    assert done.code == 125 and "speaks version 1.30 of its API, 1.40 is needed" in done.errors
    socket.unlink()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_daemon_that_goes_away_takes_its_machines_and_the_next_one_runs_others(box, daemon, how):
    up(box, "m")
    os.kill(daemon.pid(), how)
    box.run("wait", "--for", "stopped", "--timeout", "20s", "m")
    told = box.machines()["m"]
    assert told["state"] == "failed" and ("gone away" in told["message"] or "from outside" in told["message"]), told
    refused = box.run("run", "--backend", "docker", "--", "true")
    assert refused.code == 125 and ("no Docker daemon answers" in refused.errors or "no Docker socket" in refused.errors)
    box.ok("rm", "m")
    daemon.end()
    daemon.start()
    assert box.ok("run", "-q", "--backend", "docker", "--", "echo", "back").text == "back\n"
    with contextlib.suppress(AssertionError):
        wait_until(lambda: daemon.containers() == [], 5, "what the other daemon had")

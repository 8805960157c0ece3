# SPDX-License-Identifier: Apache-2.0
"""The monitor's jail, looked at from the host while a machine runs.

Only the mvm-vmm backend has one; the lab runs this file as root and as nobody.
"""

import os
import signal
import socket
from pathlib import Path

import pytest
from mvm import BACKEND, processes_of, wait_until

pytestmark = pytest.mark.skipif(BACKEND != "mvm-vmm", reason="only mvm-vmm has a jail")

AS_ROOT = os.geteuid() == 0
DEVICES = {"/dev/kvm", "/dev/net/tun", "/dev/urandom", "/dev/userfaultfd"}


def monitor_of(home, name):
    """The jailed process, whose parent is the engine that `inspect` tells."""
    guard = home.inspect(name)["engine_pid"]
    (child,) = Path(f"/proc/{guard}/task/{guard}/children").read_text().split()
    return guard, int(child)


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}


def seen_by(pid):
    root = f"/proc/{pid}/root"
    found = set()
    for top, _, names in os.walk(root):
        found |= {os.path.join(top, name)[len(root) :] for name in names}
    return found


@pytest.fixture
def box(home):
    home.up("box", "--memory", "160M")
    yield home
    home.run("rm", "-f", "box")


@pytest.mark.skipif(not AS_ROOT, reason="the root of another's jail is root's to look into")
def test_the_monitor_sees_its_machines_files_and_no_others(box):
    guard, monitor = monitor_of(box, "box")
    machine = box.inspect("box")["id"]
    cache = box.path / "cache"
    own = str(box.path / f"run/vms/{machine}/vmm")
    shared = {str(path) for path in cache.glob("kernels/*/vmlinux")}
    shared |= {str(path) for path in cache.rglob("*.cpio")}
    shared |= {str(path) for path in (box.path / "data/images/blobs").iterdir()}
    allowed = shared | {str(box.path / f"data/vms/{machine}/scratch.img")} | DEVICES
    for pid in (guard, monitor):
        seen = {path for path in seen_by(pid) if os.path.dirname(path) != own}
        assert seen <= allowed, sorted(seen - allowed)
        assert "/dev/kvm" in seen
        assert len(seen - DEVICES) == 4, sorted(seen)
    assert not any("control.sock" in path or path.endswith("/lock") for path in seen_by(monitor))


def test_the_monitor_has_no_capability_and_namespaces_of_its_own(box):
    _, monitor = monitor_of(box, "box")
    status = status_of(monitor)
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind][0], 16) == 0, kind
    assert status["NoNewPrivs"] == ["1"]
    assert status["Seccomp"] == ["2"]
    assert len(status["NSpid"]) == 2 and status["NSpid"][1] == "1"
    if AS_ROOT:
        assert all(0x70000000 <= int(n) < 0x78000000 for n in status["Uid"] + status["Gid"])
        assert status["Groups"] == []
        for kind in ("net", "ipc", "uts", "mnt", "pid"):
            ours, its = (os.readlink(f"/proc/{p}/ns/{kind}") for p in ("self", monitor))
            assert ours != its, kind


def test_everything_works_through_the_jail(home):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    home.up("box", "--memory", "160M", "-p", f"{port}:8080")
    assert home.ok("exec", "box", "--", "uname", "-s").text == "Linux\n"
    (home.work / "in").write_text("there and back")
    home.ok("cp", "in", "box:/tmp/in")
    home.ok("cp", "box:/tmp/in", "out")
    assert (home.work / "out").read_text() == "there and back"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = f"10.0.2.2:{listener.getsockname()[1]}"
        client = home.popen("exec", "box", "--", "nc", *target.split(":"))
        listener.settimeout(60)
        connection, _ = listener.accept()
        connection.sendall(b"from the host\n")
        connection.close()
        assert client.communicate(timeout=60)[0] == b"from the host\n"
    server = home.popen("exec", "box", "--", "sh", "-c", "echo served | nc -l -p 8080")
    answer = wait_until(lambda: answer_of(port), 30, "an answer through the forwarded port")
    assert answer == b"served\n"
    server.communicate(timeout=60)
    home.ok("stop", "-t", "5", "box")
    assert "metrics: {" in home.ok("logs", "--engine", "box").text
    home.ok("rm", "box")


def answer_of(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            return connection.recv(100)
    except OSError:
        return b""


@pytest.mark.parametrize("which", ["guard", "monitor"])
def test_a_killed_process_of_the_pair_takes_the_other_along(home, which):
    home.up("box", "--memory", "160M")
    pair = dict(zip(("guard", "monitor"), monitor_of(home, "box"), strict=True))
    machine = home.inspect("box")["id"]
    os.kill(pair[which], signal.SIGKILL)
    wait_until(lambda: home.machines()["box"]["state"] == "failed", 20, "the machine's failure")
    wait_until(lambda: not processes_of(home.path), 20, "the end of every process")
    assert not (home.path / f"run/vms/{machine}/vmm").exists()
    home.ok("rm", "box")


def test_a_killed_supervisor_takes_the_jailed_monitor_along(home):
    home.up("box", "--memory", "160M")
    os.kill(home.inspect("box")["supervisor_pid"], signal.SIGKILL)
    wait_until(lambda: not processes_of(home.path), 20, "the end of every process")
    home.ok("rm", "-f", "box")


def test_the_guard_costs_little_memory(box):
    guard, _ = monitor_of(box, "box")
    if not AS_ROOT:
        pytest.skip("the memory of a process that left our user namespace is root's to look at")
    rollup = Path(f"/proc/{guard}/smaps_rollup").read_text().splitlines()
    private = sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))
    assert private <= 512, f"{private} KiB"


def test_a_start_without_the_jail_says_so(home):
    home.ok("config", "set", "jail", "off")
    done = home.ok("run", "--memory", "160M", "--", "true")
    assert "the monitor is not in a jail" in done.errors
    assert "without its jail" in home.run("doctor").text
    home.up("bare", "--memory", "160M")
    engine = home.inspect("bare")["engine_pid"]
    assert os.readlink(f"/proc/{engine}/ns/net") == os.readlink("/proc/self/ns/net")
    home.ok("rm", "-f", "bare")


@pytest.mark.skipif(not AS_ROOT, reason="for others the files of the image would change their owner")
def test_a_host_without_the_means_makes_the_start_fail_by_the_layers_name(home):
    # A user namespace in which no other can be made, and then no right that it gave us.
    limit = "echo 0 > /proc/sys/user/max_user_namespaces"
    drop = "setpriv --inh-caps -all --ambient-caps -all --bounding-set -all"
    limited = ("unshare", "--user", "--map-root-user", "sh", "-c", f'{limit}; exec {drop} "$@"', "sh")
    done = home.run("run", "--memory", "160M", "--", "true", prefix=limited)
    assert done.code == 125, done
    assert "jail layer 'user'" in done.errors
    assert "mvmctl config set jail off" in done.errors

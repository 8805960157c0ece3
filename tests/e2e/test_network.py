# SPDX-License-Identifier: Apache-2.0
"""Networks of machines: forwards of both kinds, DNS, and none at all."""

import concurrent.futures
import os
import signal
import socket
import subprocess
import urllib.request

import pytest
from mvm import free_port, wait_until

SITE = "mkdir -p /srv && echo hello from the guest > /srv/index.html && exec httpd -f -p 80 -h /srv"


def fetch(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return None


def test_published_port_reaches_the_guest_s_server(home):
    port = free_port()
    home.up("web", "-p", f"{port}:80", command=["sh", "-c", SITE])
    assert wait_until(lambda: fetch(port), 15) == "hello from the guest\n"
    home.ok("rm", "-f", "web")


def test_published_port_is_open_on_loopback_only(home):
    port = free_port()
    home.up("web", "-p", f"{port}:80")
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", port))  # a wildcard listener would hold this address too
    home.ok("rm", "-f", "web")


def test_port_that_is_taken_is_named_before_anything_is_made(home):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = home.run("up", "--name", "web", "-p", f"{port}:80")
    assert done.code == 125, done
    assert f"port 127.0.0.1:{port} is taken" in done.errors
    assert "hint:" in done.errors
    assert home.machines() == {}


def test_forward_reaches_a_machine_without_a_network_until_it_is_interrupted(home):
    home.up("web", "--network", "none", command=["sh", "-c", SITE])
    process = home.popen("forward", "web", "-p", "0:80")
    listen, _, target = process.stdout.readline().decode().strip().partition(" -> ")
    assert target == "web:80"
    port = int(listen.rpartition(":")[2])
    assert wait_until(lambda: fetch(port), 15) == "hello from the guest\n"
    assert [fetch(port) for _ in range(20)] == ["hello from the guest\n"] * 20
    process.send_signal(signal.SIGINT)
    assert process.wait(10) in (0, 130)
    process.communicate()
    assert fetch(port) is None
    home.ok("rm", "-f", "web")


def test_forward_to_a_closed_port_closes_the_connection_and_goes_on(home):
    home.up("web", "--network", "none")
    process = home.popen("forward", "web", "-p", "0:81")
    port = int(process.stdout.readline().split()[0].rpartition(b":")[2])
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            assert connection.recv(1) == b""
    process.terminate()
    process.communicate(timeout=10)
    home.ok("rm", "-f", "web")


def test_forward_ends_with_its_machine(home):
    home.up("web", "--network", "none")
    process = home.popen("forward", "web", "-p", "0:80")
    process.stdout.readline()
    home.ok("kill", "web")
    _, err = process.communicate(timeout=10)
    assert process.returncode == 125
    assert b"'web' has ended" in err
    home.ok("rm", "web")


def test_network_none_leaves_the_loopback_only(home):
    done = home.ok(
        "run", "-q", "--network", "none", "--", "sh", "-c", "ls /sys/class/net; ip route"
    )
    assert done.text.split() == ["lo"]


def test_network_user_has_an_address_a_route_and_a_name_server(home):
    done = home.ok(
        "run",
        "-q",
        "--",
        "sh",
        "-c",
        "ip -4 addr show eth0; ip route; cat /etc/resolv.conf; cat /etc/hosts",
    )
    assert "10.0.2.15/24" in done.text
    assert "default via 10.0.2.2" in done.text
    assert "nameserver 10.0.2.3" in done.text
    assert "127.0.0.1" in done.text


def test_guest_reaches_a_server_of_this_host_through_the_gateway(home):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        process = home.popen("run", "-q", "--", "sh", "-c", f"nc 10.0.2.2 {port} </dev/null")
        server.settimeout(30)
        peer, _ = server.accept()
        peer.sendall(b"from the host\n")
        peer.close()
        out, _ = process.communicate(timeout=30)
    assert out == b"from the host\n"


def test_guest_cannot_use_the_network_before_it_is_told_so_that_run_waits_for_it(home):
    done = home.ok("run", "-q", "--", "ip", "-4", "addr", "show", "eth0")
    assert "10.0.2.15" in done.text


@pytest.mark.skipif(
    subprocess.run(["getent", "hosts", "deb.debian.org"], capture_output=True).returncode != 0,
    reason="this host resolves no public name",
)
def test_guest_resolves_names_through_the_host(home):
    home.ok("run", "-q", "--", "nslookup", "deb.debian.org", "10.0.2.3")


def test_forward_carries_large_files_on_many_connections_unchanged(home):
    data = os.urandom(24 << 20)
    (home.work / "data").write_bytes(data)
    home.up("web", "--network", "none", command=["sh", "-c", SITE])
    home.ok("cp", home.work / "data", "web:/srv/data")
    process = home.popen("forward", "web", "-p", "0:80")
    port = int(process.stdout.readline().split()[0].rpartition(b":")[2])

    def load(_number):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/data", timeout=60) as answer:
            return answer.read() == data

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(load, range(4)))
    process.terminate()
    process.communicate(timeout=10)
    home.ok("rm", "-f", "web")


def test_connections_beyond_what_is_read_do_not_hold_the_others(home):
    home.up("web", "--network", "none", command=["sh", "-c", SITE])
    home.ok("exec", "web", "--", "sh", "-c", "head -c 20000000 /dev/zero > /srv/zeros")
    process = home.popen("forward", "web", "-p", "0:80")
    port = int(process.stdout.readline().split()[0].rpartition(b":")[2])
    with socket.create_connection(("127.0.0.1", port)) as lazy:
        lazy.sendall(b"GET /zeros HTTP/1.0\r\n\r\n")
        assert lazy.recv(5) == b"HTTP/"  # and no more
        assert fetch(port) == "hello from the guest\n"
    process.terminate()
    process.communicate(timeout=10)
    home.ok("rm", "-f", "web")

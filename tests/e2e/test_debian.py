# SPDX-License-Identifier: Apache-2.0
"""A Debian image made by mmdebstrap from the host's apt sources."""

import socket

import pytest
from conftest import close_home
from mvm import POSTURE, Home, free_port, wait_until

IMAGE = "debian:bookworm?include=python3"


@pytest.fixture(scope="module")
def debian(seed):
    home = Home(seed)
    home.ok("image", "pull", IMAGE, timeout=400)
    yield home
    close_home(home)


@pytest.mark.patience(450)
def test_debian_image_is_made_and_apt_get_runs_in_it(debian):
    done = debian.ok("run", IMAGE, "--", "apt-get", "--version")
    assert done.text.startswith("apt 2.6")
    assert done.errors.startswith(POSTURE)


def test_python_runs(debian):
    assert debian.ok("run", "-q", IMAGE, "--", "python3", "-c", "print(6*7)").text == "42\n"


def test_non_root_user_runs_and_may_not_write_where_it_should_not(debian):
    script = "id -un; touch /etc/x 2>&1; touch /tmp/ok && echo wrote"
    done = debian.run("run", "-q", "-u", "nobody", IMAGE, "--", "sh", "-c", script)
    lines = done.text.splitlines()
    assert lines[0] == "nobody"
    assert "Permission denied" in lines[1]
    assert lines[2] == "wrote"


def test_owners_and_set_user_id_survive(debian):
    done = debian.ok(
        "run",
        "-q",
        IMAGE,
        "--",
        "stat",
        "-c",
        "%U:%G %a",
        "/usr/bin/passwd",
        "/var/mail",
        "/usr/bin/chage",
    )
    assert done.text == "root:root 4755\nroot:mail 2775\nroot:shadow 2755\n"


def test_dpkg_installs_into_the_overlay(debian):
    script = "mkdir -p p/DEBIAN && printf 'Package: x\\nVersion: 1\\nArchitecture: all\\nMaintainer: t <t@t>\\nDescription: x\\n' > p/DEBIAN/control && dpkg-deb -b p x.deb && dpkg -i x.deb && dpkg -s x | grep Status"
    done = debian.ok("run", "-q", "-w", "/tmp", IMAGE, "--", "sh", "-c", script)
    assert "Status: install ok installed" in done.text


def test_unknown_suite_and_package_are_told(debian):
    for source, word in (
        ("debian:nosuchsuite", "nosuchsuite"),
        ("debian:bookworm?include=no-such-package-x", "no-such-package-x"),
    ):
        done = debian.run("image", "pull", source, timeout=100)
        assert done.code == 125, done
        assert word in done.errors


UDP_ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 9))
while True:
    data, peer = s.recvfrom(2000)
    s.sendto(data, peer)
"""


def test_published_udp_port_answers(debian):
    port = free_port(socket.SOCK_DGRAM)
    debian.up("echo", "-p", f"{port}:9/udp", image=IMAGE, command=["python3", "-c", UDP_ECHO])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.5)

        def ask():
            client.sendto(b"ping", ("127.0.0.1", port))
            try:
                return client.recv(100)
            except TimeoutError:
                return None

        assert wait_until(ask, 20) == b"ping"
    debian.ok("rm", "-f", "echo")


# Root in the guest may take any descriptor of pid 1.
GARBAGE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
pidfd = libc.syscall(434, 1, 0)  # pidfd_open
for name in os.listdir("/proc/1/fd"):
    if "vport" in os.readlink(f"/proc/1/fd/{name}"):
        port = libc.syscall(438, pidfd, int(name), 0)  # pidfd_getfd
        os.write(port, bytes.fromhex(sys.argv[1]) if len(sys.argv) > 1 else os.urandom(100000))
"""


@pytest.mark.parametrize(
    "garbage", [[], ["ff" * 12], ["00" * 4096]], ids=["random", "ones", "zeros"]
)
def test_garbage_on_the_agent_s_channel_ends_the_machine_with_its_cause(debian, garbage):
    debian.up("g", image=IMAGE)
    try:
        done = debian.run(
            "exec", "--timeout", "10s", "g", "--", "python3", "-c", GARBAGE, *garbage, timeout=30
        )
        assert done.code in (124, 125), done
        debian.run("wait", "--for", "stopped", "--timeout", "20s", "g")
        seen = debian.inspect("g")
        assert seen["state"] == "failed", (seen, done)
        assert any(word in seen["message"] for word in ("agent", "frame", "protocol")), seen
    finally:
        debian.ok("rm", "-f", "g")

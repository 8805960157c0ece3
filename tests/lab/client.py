# SPDX-License-Identifier: Apache-2.0
"""Runs a command in the lab: streams, signals, exit code, and a terminal when one is wanted."""

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import termios
import threading
import tty as terminal
import uuid

import protocol
from place import LabError


class NotStarted(LabError):
    pass


class GoneAway(LabError):
    """The lab has ended while a command ran in it."""


def connect(endpoint, **request):
    sock = socket.create_connection(("127.0.0.1", endpoint["port"]), timeout=20)
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(json.dumps({"token": endpoint["token"], **request}).encode() + b"\n")
    return sock


def answers(endpoint, timeout):
    """Whether the machine says anything within `timeout` seconds, be it that its runner is just starting again."""
    try:
        with connect(endpoint, ping=True) as sock:
            sock.settimeout(timeout)
            protocol.receive(sock)
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def follow(sock, out, err):
    """Hands on output until the command is over; returns its exit code."""
    while True:
        try:
            kind, data = protocol.receive(sock)
        except ConnectionError:
            kind, data = None, b""
        if kind == protocol.STDOUT:
            write_all(out, data)
        elif kind == protocol.STDERR:
            write_all(err, data)
        elif kind == protocol.EXIT:
            return int(data)
        elif kind == protocol.FAILED:
            raise NotStarted(f"the command did not start: {data.decode(errors='replace')}")
        else:
            why = "build/lab/run/keeper.log says why, or previous-keeper.log after the next start"
            raise GoneAway(f"the lab has gone away while the command ran; {why}")


def feed(sock, fd):
    with contextlib.suppress(OSError):
        while data := os.read(fd, protocol.CHUNK):
            protocol.send(sock, protocol.STDIN, data)
        protocol.send(sock, protocol.STDIN)


def run(endpoint, argv, *, stdin=None, out=1, err=2, forward=(), timeout=None, **request):
    """stdin: a descriptor, or None for an empty one. The signals in `forward` reach the command; the third kills it.
    timeout: of every wait for the lab, in seconds; TimeoutError. The rest of the request may have cwd and env."""
    name = uuid.uuid4().hex
    seen = []

    def pass_on(number, _frame):
        seen.append(number)
        with contextlib.suppress(OSError):
            wanted = number if len(seen) < 3 else signal.SIGKILL
            connect(endpoint, name=name, signal=wanted).close()

    with connect(endpoint, name=name, argv=argv, **request) as sock:
        sock.settimeout(timeout)
        if stdin is None:
            protocol.send(sock, protocol.STDIN)
        else:
            threading.Thread(target=feed, args=(sock, stdin), daemon=True).start()
        with handled(dict.fromkeys(forward, pass_on)):
            return follow(sock, out, err)


@contextlib.contextmanager
def handled(handlers):
    old = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def output(endpoint, argv, **options):
    """(exit code, stdout and stderr together), for our own small commands."""
    with os.fdopen(os.memfd_create("output"), "w+b") as file:
        code = run(endpoint, argv, out=file.fileno(), err=file.fileno(), **options)
        file.seek(0)
        return code, file.read().decode(errors="replace")


def interact(endpoint, argv, env=None, **request):
    """On a terminal of the lab, shown on ours."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise LabError("a shell needs a terminal; use './dev lab run'")

    def size():
        columns, rows = shutil.get_terminal_size()
        return [rows, columns]

    env = {"TERM": os.environ.get("TERM", "dumb"), **(env or {})}
    sock = connect(endpoint, argv=argv, env=env, tty=size(), **request)

    def resized(_number, _frame):
        protocol.send(sock, protocol.SIZE, b"%d %d" % tuple(size()))

    old = termios.tcgetattr(0)
    with sock, handled({signal.SIGWINCH: resized}):
        try:
            terminal.setraw(0)
            threading.Thread(target=feed, args=(sock, 0), daemon=True).start()
            return follow(sock, 1, 2)
        finally:
            termios.tcsetattr(0, termios.TCSADRAIN, old)

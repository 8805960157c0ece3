#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the commands that are sent into the lab: one connection, one command (see protocol.py)."""

import contextlib
import fcntl
import hmac
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import termios
import threading

import protocol

ENVIRONMENT = {
    "PATH": "/mvm/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "MVM_HOME": "/mvm/home",
    "MVM_LAB": "1",
}


def token():
    with open("/usr/lib/lab/token") as file:
        return file.read().strip()


def set_size(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Command:
    """A command of one connection: its process, and the descriptors that lead to it. Its process group is its own."""

    def __init__(self, request):
        options = {
            "env": {**ENVIRONMENT, **request.get("env", {})},
            "cwd": request.get("cwd") or "/mvm",
            "bufsize": 0,
        }
        argv, size = request["argv"], request.get("tty")
        self.tty = bool(size)
        if self.tty:
            self.stdin, slave = pty.openpty()
            set_size(self.stdin, *size)
            with os.fdopen(slave, "r+b", buffering=0) as end:
                # setsid makes the terminal the controlling one; it keeps the process id.
                options.update(stdin=end, stdout=end, stderr=end)
                self.process = subprocess.Popen(["setsid", "--ctty", *argv], **options)
            self.outputs = {os.dup(self.stdin): protocol.STDOUT}
        else:
            options.update(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.process = subprocess.Popen(argv, start_new_session=True, **options)
            self.stdin = os.dup(self.process.stdin.fileno())
            self.process.stdin.close()
            self.outputs = {
                os.dup(self.process.stdout.fileno()): protocol.STDOUT,
                os.dup(self.process.stderr.fileno()): protocol.STDERR,
            }
            self.process.stdout.close()
            self.process.stderr.close()

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def write(self, data):
        """What the command no longer reads is dropped."""
        with contextlib.suppress(OSError):
            view = memoryview(data)
            while view and self.stdin is not None:
                view = view[os.write(self.stdin, view) :]

    def close_stdin(self):
        if self.stdin is not None:
            fd, self.stdin = self.stdin, None
            os.close(fd)

    def hang_up(self):
        if self.process.poll() is not None:
            return
        self.signal(signal.SIGHUP)
        self.signal(signal.SIGCONT)
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)


class Running:
    """The commands that run, by the name their clients gave them; signals come on connections of their own, so that they
    do not wait behind input that nobody reads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.commands = {}

    @contextlib.contextmanager
    def holding(self, name, command):
        with self.lock:
            self.commands[name] = command
        try:
            yield
        finally:
            with self.lock:
                del self.commands[name]

    def signal(self, name, number):
        with self.lock:  # so that the process group is still its own
            if name in self.commands:
                self.commands[name].signal(number)


def feed(sock, command):
    """The client's frames, until it is gone; what it left running then ends."""
    with contextlib.suppress(OSError):
        while True:
            kind, data = protocol.receive(sock)
            if kind is None:
                break
            if kind == protocol.STDIN and data:
                command.write(data)
            elif kind == protocol.STDIN and not command.tty:
                command.close_stdin()
            elif kind == protocol.SIZE and command.tty:
                set_size(command.stdin, *map(int, data.split()))
    command.hang_up()
    command.close_stdin()


def drain(sock, command):
    """Sends output until its end, or until the command is over and only its background children still hold the pipes."""
    over = os.pidfd_open(command.process.pid)
    poller = select.poll()
    for fd in (*command.outputs, over):
        poller.register(fd, select.POLLIN)
    left = dict(command.outputs)
    timeout = None
    try:
        while left and (events := poller.poll(timeout)):
            for fd, _ in events:
                if fd == over:
                    poller.unregister(over)
                    timeout = 100
                    continue
                data = b""
                with contextlib.suppress(OSError):  # a terminal whose other end is closed
                    data = os.read(fd, protocol.CHUNK)
                if data:
                    protocol.send(sock, left[fd], data)
                else:
                    poller.unregister(fd)
                    del left[fd]
    finally:
        for fd in (*command.outputs, over):
            os.close(fd)


def run(sock, request, running):
    command = Command(request)
    with running.holding(request.get("name"), command):
        threading.Thread(target=feed, args=(sock, command), daemon=True).start()
        try:
            drain(sock, command)
            code = command.process.wait()
            protocol.send(sock, protocol.EXIT, str(code if code >= 0 else 128 - code).encode())
        except OSError:  # the client is gone; feed() ends the command
            command.process.wait()
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)  # wakes feed()


def serve(sock, expected, running):
    with sock:
        try:
            request = json.loads(sock.makefile("rb", buffering=0).readline(1 << 20))
            if not hmac.compare_digest(request["token"], expected):
                raise PermissionError("a foreign token")
            if "signal" in request:
                running.signal(request["name"], int(request["signal"]))
            elif "ping" in request:
                protocol.send(sock, protocol.EXIT, b"0")
            else:
                run(sock, request, running)
        except Exception as error:  # whatever it is, the client must hear of it
            with contextlib.suppress(OSError):
                protocol.send(sock, protocol.FAILED, str(error).encode())


def hold_a_machine():
    """Opens a KVM machine that never runs, and leaves it open.

    The first machine of a kernel and the end of the last one make it patch its own code (the static keys of preempt
    notifiers and of switched-off local APICs). Now and then the emulated processors go on with the code as it was in the
    middle of that, a breakpoint, which brings them back to itself for ever with the lock of the scheduler held. With one
    machine that is always there nothing is patched any more.
    """
    create_vm, create_irqchip, create_vcpu = 0xAE01, 0xAE60, 0xAE41
    device = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    machine = fcntl.ioctl(device, create_vm, 0)
    fcntl.ioctl(machine, create_irqchip, 0)
    fcntl.ioctl(machine, create_vcpu, 0)


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    expected, running = token(), Running()
    with contextlib.suppress(OSError):  # attach says what is wrong with /dev/kvm
        hold_a_machine()
    with socket.create_server(("0.0.0.0", protocol.GUEST_PORT), backlog=64) as server:
        with open("/dev/console", "w") as console:
            console.write("\nlab: ready\n")
        while True:
            sock, _ = server.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(sock, expected, running), daemon=True).start()


if __name__ == "__main__":
    main()

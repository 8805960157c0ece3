# SPDX-License-Identifier: Apache-2.0
"""Terminals: `console`, `exec -it` and `run -it` under a real pty."""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time

import pytest
from mvm import MVMCTL, POSTURE


class Terminal:
    """A program on the other side of a pty, as a terminal emulator has it."""

    def __init__(self, home, *args, rows=24, columns=80):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns, tell=False)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            [MVMCTL, *args],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=home.env(TERM="xterm", PS1=None),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.seen = b""

    def resize(self, rows, columns, tell=True):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, text, seconds=30):
        """Reads until `text` has come; returns what came before it and forgets both."""
        wanted, deadline = text.encode(), time.monotonic() + seconds
        while wanted not in self.seen:
            assert select.select([self.master], [], [], max(0, deadline - time.monotonic()))[
                0
            ], f"no {text!r} in {self.seen!r}"
            try:
                self.seen += os.read(self.master, 65536)
            except OSError:
                raise AssertionError(f"ended without {text!r}: {self.seen!r}") from None
        before, _, self.seen = self.seen.partition(wanted)
        return before.decode(errors="replace")

    def wait(self, seconds=30):
        """The exit code; the terminal must be as it was."""
        code = self.process.wait(seconds)
        after = termios.tcgetattr(self.slave)
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 65536)
        assert after == self.before, "the terminal was not restored"
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master), os.close(self.slave)


@pytest.fixture
def terminal(request):
    open_ones = []

    def start(home, *args, **options):
        open_ones.append(Terminal(home, *args, **options))
        return open_ones[-1]

    yield start
    for one in open_ones:
        one.close()


def test_console_gives_a_prompt_runs_what_is_typed_and_ends_with_ctrl_d(shared, terminal):
    console = terminal(shared, "console", "box")
    console.expect("# ")
    console.type("echo $((40+2))\r")
    console.expect("\n42\r\n")
    console.type("tty; echo $TERM\r")
    console.expect("/dev/pts/")
    console.expect("xterm")
    console.expect("# ")
    console.type("\x04")
    assert console.wait() == 0


def test_exit_code_of_the_shell_is_the_console_s(shared, terminal):
    console = terminal(shared, "console", "box")
    console.expect("# ")
    console.type("exit 5\r")
    assert console.wait() == 5


def test_ctrl_c_interrupts_the_command_and_not_the_console(shared, terminal):
    console = terminal(shared, "console", "box")
    console.expect("# ")
    console.type("sleep 4713; echo after=$?\r")
    console.expect("\n")
    time.sleep(0.3)
    began = time.monotonic()
    console.type("\x03")
    console.expect("# ")
    assert time.monotonic() - began < 5
    console.type("echo still here\r")
    console.expect("\nstill here\r\n")
    console.type("exit\r")
    assert console.wait() in (0, 130)


def test_size_is_ours_from_the_start_and_follows_a_resize(shared, terminal):
    console = terminal(shared, "console", "box", rows=33, columns=101)
    console.expect("# ")
    console.type("stty size\r")
    console.expect("\n33 101\r\n")
    console.resize(44, 140)
    console.expect("# ")
    console.type("sleep 0.3; stty size\r")
    console.expect("\n44 140\r\n")
    console.expect("# ")
    console.type("\x04")
    assert console.wait() == 0


def test_exec_with_a_terminal_passes_the_exit_code(shared, terminal):
    session = terminal(
        shared,
        "exec",
        "-it",
        "box",
        "--",
        "sh",
        "-c",
        "test -t 0 && test -t 1 && echo both; exit 11",
    )
    session.expect("both")
    assert session.wait() == 11


def test_large_output_to_a_terminal_is_complete(shared, terminal):
    session = terminal(shared, "exec", "-it", "box", "--", "seq", "1", "20000")
    text = session.expect("20000\r\n")
    assert text.split()[:3] == ["1", "2", "3"]
    assert len(text.split()) == 19999
    assert session.wait() == 0


def test_run_with_a_terminal_is_a_shell_in_a_fresh_machine(home, terminal):
    session = terminal(home, "run", "-it")
    session.expect(POSTURE)
    session.expect("# ")
    session.type("uname -s; exit 6\r")
    session.expect("\nLinux\r\n")
    assert session.wait() == 6


def test_terminal_is_restored_when_the_machine_dies(home, terminal):
    home.up("mortal")
    console = terminal(home, "console", "mortal")
    console.expect("# ")
    home.ok("kill", "mortal")
    assert console.wait() == 125
    assert b"mvmctl: " in console.seen
    home.ok("rm", "mortal")


def test_terminal_is_restored_when_the_client_is_told_to_end(shared, terminal):
    console = terminal(shared, "console", "box")
    console.expect("# ")
    console.process.send_signal(signal.SIGHUP)
    assert console.wait() > 0


def test_terminal_wanted_where_there_is_none_is_refused(shared):
    done = shared.run("exec", "-it", "box", "--", "sh")
    assert done.code == 64, done
    assert "-t needs a terminal" in done.errors


def test_progress_is_shown_on_a_terminal_only(shared, terminal):
    (shared.work / "payload").write_bytes(bytes(64 << 20))
    session = terminal(shared, "cp", str(shared.work / "payload"), "box:/tmp/payload")
    assert session.wait(60) == 0
    piped = shared.ok("cp", shared.work / "payload", "box:/tmp/payload")
    assert (piped.out, piped.err) == (b"", b"")


@pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="mmdebstrap is not installed")
def test_a_step_of_more_than_a_second_shows_its_time_on_a_terminal(home, terminal):
    session = terminal(home, "image", "pull", "debian:bookworm")
    session.expect("fetching debian:bookworm")
    assert re.search(r"  [1-9]\.\ds$", session.expect("\x1b[K", 10).rstrip("\r")), session.seen
    session.process.send_signal(signal.SIGINT)
    session.wait(30)
    home.ok("image", "pull", "--force", "busybox")

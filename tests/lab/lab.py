#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The KVM lab: a machine with a true /dev/kvm on a host that has none. docs/howto/lab.md explains; ./dev lab calls this."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import client
import place
import start
import sync
from place import LabError, say

sys.path.append(str(place.TREE / "tests/bench"))
import vmm_table  # noqa: E402

TEXT = """\
./dev lab COMMAND [ARGUMENT...]

  run [-t] [-C DIR] [-e NAME=VALUE]... COMMAND...   run a command in the lab; its exit code is ours
  shell                      a shell in the lab
  test [PATTERN...]          run the steps of tests/lab/suite, or those whose names match; on a host whose own KVM works,
                             they run on the host (MVM_LAB_ALWAYS=1: in the lab all the same)
  bench [SECTION...]         bench_vmm, or some of its sections, as a table; where `test` would run. ./dev bench --lab
                             builds first
  push [-C DIR] FILE...      copy files or directories into DIR of the lab (/mvm)
  pull [-C DIR] PATH...      copy PATHs of the lab into DIR (.)
  start, stop, status        a lab that was started stays up until it is stopped or unused for 30 minutes
"""


# As in tests/lab/suite: a step was not over in time.
MACHINE_HUNG = 75
USAGE = 64
# Of vmm_table.py.
NOT_MEASURED = 2
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def in_lab(action):
    """action(endpoint), in the lab, with the built tree in it."""
    with start.in_use():
        endpoint = start.ensure()
        sync.send(endpoint)
        return action(endpoint)


def stdin_or_none():
    """A terminal is not read: nobody types into `run`, and a job in the background must not stop for it."""
    try:
        return None if os.isatty(0) else 0
    except OSError:
        return None


def run(arguments):
    parser = argparse.ArgumentParser(prog="./dev lab run")
    parser.add_argument("-t", "--tty", action="store_true", help="on a terminal of its own")
    parser.add_argument("-C", "--directory", help="run it there instead of in /mvm")
    parser.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("a command is missing")
    env = dict(word.partition("=")[::2] for word in options.env)
    where = {"cwd": options.directory, "env": env}
    if options.tty:
        return in_lab(lambda endpoint: client.interact(endpoint, command, **where))
    return in_lab(lambda endpoint: client.run(endpoint, command, stdin=stdin_or_none(), forward=SIGNALS, **where))


def shell(_arguments):
    return in_lab(lambda endpoint: client.interact(endpoint, ["/bin/bash", "-l"], cwd="/mvm"))


def host_kvm_works():
    """As mvmctl itself judges it."""
    program = sync.BUILD / "bin/mvmctl"
    if not program.exists():
        raise LabError(f"{program} is not built: run ./dev build")
    done = subprocess.run([program, "doctor", "--json"], capture_output=True, stdin=subprocess.DEVNULL)
    try:
        return json.loads(done.stdout)["kvm"]["state"] == "works"
    except (ValueError, KeyError):
        raise LabError(f"mvmctl doctor --json gives no verdict on KVM: {done.stderr.decode().strip()}") from None


def ours(*names):
    """Those of our own environment's settings that mean something in the lab."""
    return {name: os.environ[name] for name in names if name in os.environ}


def test(arguments):
    if not os.environ.get("MVM_LAB_ALWAYS") and host_kvm_works():
        say("KVM works on this host: the tests run here")
        env = {**os.environ, "MVM_LAB_BUILD": str(sync.BUILD)}
        return subprocess.run([place.SOURCE / "suite", *arguments], env=env).returncode

    def suite():
        command = ["/mvm/tests/lab/suite", *arguments]
        env = ours("MVM_E2E_SCALE")
        return in_lab(lambda endpoint: client.run(endpoint, command, env=env, forward=SIGNALS))

    def failed(code):
        return code == MACHINE_HUNG or (code not in (0, USAGE) and "MVM_LAB_TWICE" in os.environ)

    return twice(suite, failed)


def twice(action, failed):
    """What action() gives; where the lab went away, or that says failed(), what it gives in a new machine.

    The emulated machine itself can hang (see hold_a_machine in guest/runner.py for one reason). That says nothing of mvm,
    so there is a second machine; a third there is not."""
    try:
        result = action()
        if not failed(result):
            return result
        say("it hung or failed; once more, in a new machine")
    except client.GoneAway as error:
        say(f"{error}; once more, in a new machine")
    start.stop()
    return action()


def host_facts():
    cpuinfo = open("/proc/cpuinfo", encoding="ascii", errors="replace").read()
    model = next((line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")), "?")
    return f"{os.cpu_count()} × {model}, load {os.getloadavg()[0]:.1f} at the start"


def bench(arguments):
    script = "tests/bench/vmm_table.py"
    if not os.environ.get("MVM_LAB_ALWAYS") and host_kvm_works():
        say("KVM works on this host: the benchmarks run here")
        return subprocess.run([place.TREE / script, sync.BUILD, *arguments]).returncode
    env = {"MVM_BENCH_HOST": host_facts(), **ours("MVM_BENCH_ROUNDS", "MVM_BENCH_VERBOSE")}
    code = 0
    for number, section in enumerate(arguments or vmm_table.SECTIONS):
        command = [f"/mvm/{script}", "/mvm", section]
        section_code, table = twice(
            lambda command=command: bench_section(command, env), lambda result: result[0] == NOT_MEASURED
        )
        code = max(code, section_code)
        rows = [line for line in table.splitlines() if line.startswith("|")]
        print("\n".join(table.splitlines() if number == 0 else rows[2:]), flush=True)
    return code


def bench_section(command, env):
    """Exit code and table of a section."""
    with tempfile.TemporaryFile() as out:
        code = in_lab(lambda endpoint: client.run(endpoint, command, env=env, out=out.fileno(), forward=SIGNALS))
        out.seek(0)
        return code, out.read().decode()


def push(arguments):
    parser = argparse.ArgumentParser(prog="./dev lab push")
    parser.add_argument("-C", "--directory", default="/mvm")
    parser.add_argument("file", nargs="+")
    options = parser.parse_args(arguments)
    files = [(os.path.basename(os.path.abspath(path)), path) for path in options.file]
    with start.in_use():
        sync.copy_in(start.ensure(), files, options.directory)
    return 0


def pull(arguments):
    parser = argparse.ArgumentParser(prog="./dev lab pull")
    parser.add_argument("-C", "--directory", default=".")
    parser.add_argument("path", nargs="+")
    options = parser.parse_args(arguments)
    with start.in_use():
        return sync.copy_out(start.ensure(), options.path, options.directory)


def start_it(_arguments):
    began = time.monotonic()
    in_lab(lambda endpoint: say(f"up after {time.monotonic() - began:.1f} s, keeper {endpoint['pid']}"))
    return 0


def stop_it(_arguments):
    say("stopped" if start.stop() else "was not running")
    return 0


def status(_arguments):
    endpoint = place.endpoint()
    if endpoint is None:
        print("stopped")
        return 1
    print(f"running: keeper {endpoint['pid']}, port {endpoint['port']}, serial log {place.SERIAL_LOG}")
    return 0


def main():
    commands = {
        "run": run,
        "shell": shell,
        "test": test,
        "bench": bench,
        "push": push,
        "pull": pull,
        "start": start_it,
        "stop": stop_it,
        "status": status,
    }
    name, *arguments = sys.argv[1:] or ["help"]
    if name in ("help", "-h", "--help"):
        print(TEXT, end="")
        return 0
    if name not in commands:
        say(f"no command called {name}")
        print(TEXT, end="", file=sys.stderr)
        return 64
    try:
        return commands[name](arguments)
    except LabError as error:
        say(str(error))
        return 127 if isinstance(error, client.NotStarted) else 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

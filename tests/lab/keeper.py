#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The process that keeps a lab: starts its machine from IMAGE, SNAPSHOT and SEED, and ends it when told to or when
nobody has used it for long. start.py runs it, with a pipe as its stdout on which it says `ready`, or why not. What it
starts ends with it.
"""

import fcntl
import json
import os
import select
import signal
import sys
import time
import uuid
from pathlib import Path

import client
import machine
import place

IDLE_SECONDS = float(os.environ.get("MVM_LAB_IDLE_SECONDS") or 1800)
# The runner answers in milliseconds, under the load of twenty machines in seconds.
ANSWER_SECONDS = 60
SNAPSHOT_IS_BAD = 3


class Stopped(Exception):
    pass


def attach(running, token):
    """Gives the machine the time and a disk of its own; returns its endpoint."""
    endpoint = {"port": running.port(), "token": token, "boot": uuid.uuid4().hex, "pid": os.getpid()}
    command = ["/usr/lib/lab/attach", f"{time.time():.3f}"]
    try:
        code, text = client.output(endpoint, command, cwd="/", timeout=machine.RESTORE_SECONDS)
    except TimeoutError:
        code, text = 1, f"its runner does not answer within {machine.RESTORE_SECONDS} s"
    if code != 0:
        raise place.LabError(
            f"the machine could not be set up: {text.strip()};"
            f" the end of {place.SERIAL_LOG}:\n{machine.tail(place.SERIAL_LOG)}"
        )
    return endpoint


def unused(used):
    """True with the lock held until we end, so that nobody comes in while we go."""
    try:
        fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    if time.time() - os.fstat(used.fileno()).st_mtime > IDLE_SECONDS:
        return True
    fcntl.flock(used, fcntl.LOCK_UN)
    return False


def keep(running, endpoint, used):
    """Returns why it is over. A machine that hangs is ended, so that its clients do not wait for it."""
    over = select.poll()
    over.register(os.pidfd_open(running.process.pid), select.POLLIN)
    while True:
        if over.poll(min(IDLE_SECONDS / 4, 10) * 1000):
            return f"QEMU ended with code {running.process.wait()}"
        if unused(used):
            return f"nobody has used it for {IDLE_SECONDS:.0f} s"
        if not client.answers(endpoint, ANSWER_SECONDS):
            return f"its runner has not answered for {ANSWER_SECONDS} s; its processors:\n{running.processors()}"


def stop(_number, _frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped


def answer(text):
    """To start.py, once."""
    print(text, flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def main():
    image, snapshot, seed = map(Path, sys.argv[1:])
    lock = open(place.KEEPER_LOCK, "a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        answer("another keeper holds the lab")
        return 1
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    signal.signal(signal.SIGTERM, stop)
    running, why = None, "stopped"
    try:
        place.copy_sparse(seed / "scratch.img", place.SCRATCH)
        running, token = machine.restore(image, snapshot)
        endpoint = attach(running, token)
        sent = {"boot": endpoint["boot"], "files": json.loads((seed / "sent.json").read_text())}
        place.write_atomic(place.SENT, json.dumps(sent))
        place.write_atomic(place.ENDPOINT, json.dumps(endpoint))
        answer("ready")
        with open(place.USED, "a") as used:
            why = keep(running, endpoint, used)
    except Stopped:
        pass
    except (place.LabError, OSError) as error:
        answer(str(error))
        return SNAPSHOT_IS_BAD if running is None else 1
    finally:
        place.ENDPOINT.unlink(missing_ok=True)
        if running is not None:
            running.end()
        place.SCRATCH.unlink(missing_ok=True)
        print(time.strftime("%F %T"), why, file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

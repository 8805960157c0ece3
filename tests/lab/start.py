# SPDX-License-Identifier: Apache-2.0
"""Starts and stops the lab: image, snapshot and keeper, each made only when it is not there."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time

import keeper
import machine
import place
import sync
from place import LabError, say

KEEPER_LOG = place.RUN / "keeper.log"


@contextlib.contextmanager
def in_use():
    """While a command runs in the lab, its keeper does not take it for idle."""
    place.prepare()
    with place.locked(place.USED, fcntl.LOCK_SH):
        os.utime(place.USED)
        try:
            yield
        finally:
            os.utime(place.USED)


def image_and_snapshot():
    def noted(text, fill):
        def make(directory):
            began = time.monotonic()
            say(text)
            fill(directory)
            say(f"that took {time.monotonic() - began:.0f} s")

        return make

    image = place.make_directory(
        "image", machine.image_key(), noted("making the image from Debian packages", machine.make_image)
    )
    snapshot = place.make_directory(
        "snapshot",
        machine.snapshot_key(image),
        noted("booting once, for the snapshot", lambda directory: machine.make_snapshot(image, directory)),
    )
    return image, snapshot


def seed():
    key, files = sync.seed_key()
    return place.make_directory("seed", key, lambda directory: sync.fill_seed(directory, files))


def keep_last_logs():
    """What a lab that went away has left, under the names of the previous one."""
    for log in (KEEPER_LOG, place.SERIAL_LOG, place.RUN / "qemu.log"):
        if log.exists():
            log.replace(log.with_name("previous-" + log.name))


def start_keeper(*directories):
    """0 when it is ready; else its exit code and what it said."""
    keep_last_logs()
    with open(KEEPER_LOG, "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-B", place.SOURCE / "keeper.py", *directories],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd="/",
            start_new_session=True,
        )
    said = process.stdout.readline()
    if said == "ready\n":
        process.stdout.close()
        return 0, ""
    said += process.stdout.read()
    return process.wait() or 1, said.strip() or f"the keeper said nothing:\n{machine.tail(KEEPER_LOG)}"


def ensure():
    """The endpoint of the running lab, started if need be. Call it inside in_use()."""
    if (found := place.endpoint()) is not None:
        return found
    with place.locked(place.START_LOCK):
        if (found := place.endpoint()) is not None:
            return found
        for tool, package in ((machine.QEMU, "qemu-system-x86"), ("setpriv", "util-linux"), ("mke2fs", "e2fsprogs")):
            if shutil.which(tool) is None:
                raise LabError(f"{tool} is not installed (package {package}): run ./dev setup")
        image, snapshot = image_and_snapshot()
        code, said = start_keeper(image, snapshot, seed())
        if code == keeper.SNAPSHOT_IS_BAD:
            say(f"the snapshot does not load, making it anew: {said}")
            shutil.rmtree(snapshot)
            image, snapshot = image_and_snapshot()
            code, said = start_keeper(image, snapshot, seed())
        if code != 0:
            raise LabError(said)
    if (found := place.endpoint()) is None:
        raise LabError(f"the lab ended as soon as it was ready:\n{machine.tail(KEEPER_LOG)}")
    return found


def stop():
    """True if one ran."""
    pid = place.keeper_pid()
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    with place.locked(place.KEEPER_LOCK):
        return True

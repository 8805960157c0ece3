# SPDX-License-Identifier: Apache-2.0
"""Where the lab keeps its files: build/lab/ of this tree, one lab per tree.

    image-KEY/       root.img, vmlinuz, initrd; KEY is the digest of the recipe
    snapshot-KEY/    memory and devices of a machine that has just started; KEY also covers QEMU and the processor
    seed-KEY/        the scratch disk with the built tree and mvm's kernels on it; KEY is the digest of their names and times
    run/             of the lab that runs: lock, endpoint, scratch disk, logs
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
TREE = SOURCE.parent.parent
HOME = Path(os.environ.get("MVM_LAB_DIR") or TREE / "build/lab")
RUN = HOME / "run"

KEEPER_LOCK = RUN / "keeper.lock"  # held, and filled with its process id, while a keeper lives
START_LOCK = RUN / "start.lock"  # held by whoever makes images or starts a keeper
USED = RUN / "used"  # every command holds it shared; its time is that of the last use
ENDPOINT = RUN / "endpoint.json"
SERIAL_LOG = RUN / "serial.log"
QEMU_LOG = RUN / "qemu.log"
SCRATCH = RUN / "scratch.img"
SENT = RUN / "sent.json"  # what sync.py has sent to this machine


SCRATCH_BYTES = 40 << 30  # of address space; the file is sparse


class LabError(Exception):
    """What the user is told, and nothing else."""


def say(text):
    print(f"lab: {text}", file=sys.stderr, flush=True)


def prepare():
    RUN.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def locked(path, mode=fcntl.LOCK_EX):
    """Raises BlockingIOError with LOCK_NB."""
    with open(path, "a") as file:
        fcntl.flock(file, mode)
        yield file


def is_free(path):
    try:
        with locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return True
    except BlockingIOError:
        return False


def endpoint():
    """Of the lab that runs, or None. The lock is the truth: a file left by a crash counts for nothing."""
    if not KEEPER_LOCK.exists() or is_free(KEEPER_LOCK):
        return None
    with contextlib.suppress(FileNotFoundError, ValueError):
        return json.loads(ENDPOINT.read_text())
    return None


def keeper_pid():
    """Of the keeper that lives, also while it is still starting the machine; or None."""
    if not KEEPER_LOCK.exists() or is_free(KEEPER_LOCK):
        return None
    text = KEEPER_LOCK.read_text().strip()
    return int(text) if text.isdigit() else None


def write_atomic(path, text):
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.chmod(0o600)
    temporary.rename(path)


def make_directory(kind, key, fill):
    """HOME/KIND-KEY, made by fill(directory) if it is not there; others of its kind then go. All or nothing."""
    wanted = HOME / f"{kind}-{key}"
    if wanted.is_dir():
        return wanted
    for old in HOME.glob(f"{kind}-*"):
        shutil.rmtree(old)
    for left in HOME.glob(f".{kind}-*"):
        shutil.rmtree(left)
    temporary = HOME / f".{kind}-{key}"
    temporary.mkdir(mode=0o700)  # memory and token of the machine are nobody else's
    try:
        fill(temporary)
        temporary.rename(wanted)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return wanted


def make_disk(path, tree=None):
    """A file with an ext4 of SCRATCH_BYTES, with what `tree` holds."""
    with open(path, "w") as file:
        file.truncate(SCRATCH_BYTES)
    content = ["-d", tree] if tree else []
    options = ["-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-E", "nodiscard", *content]
    done = subprocess.run(["mke2fs", *options, path], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"mke2fs {path} failed: {done.stderr.strip()}")


def copy_sparse(source, target):
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, target], check=True)

# SPDX-License-Identifier: Apache-2.0
"""Keeps /mvm in the lab as the tree is outside: only what has changed since the last command is sent, as a tar stream."""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading

import client
import place
import protocol
from place import LabError

BUILD = place.Path(os.environ.get("MVM_LAB_BUILD") or place.TREE / "build/release").absolute()
TARGET = "/mvm"


def cache_home():
    given = os.environ.get("MVM_HOME")
    if given:
        return place.Path(given) / "cache"
    return place.Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "mvm"


def tree(outside, inside, wanted=lambda path: True):
    """(path inside, path outside) of every file below a directory."""
    for top, folders, names in os.walk(outside):
        folders[:] = sorted(name for name in folders if name not in ("__pycache__", ".pytest_cache"))
        for name in sorted(names):
            path = os.path.join(top, name)
            if wanted(path):
                yield os.path.join(inside, os.path.relpath(path, outside)), path


def kernels_of_guests():
    """Where the host's cache has them; the lab has no way to fetch one itself."""
    kernels = cache_home() / "kernels"
    if not any(kernels.glob("linux-image-*/vmlinux")):
        print("lab: fetching a kernel for its guests", file=sys.stderr)
        subprocess.run([BUILD / "bin/mvmctl", "kernel", "fetch"], check=True, stdout=sys.stderr)
    return kernels


def what_belongs_there():
    files = dict(tree(BUILD / "bin", "bin"))
    files.update(tree(BUILD / "libexec", "libexec"))
    for folder in ("src", "tests"):  # test programs, flat: their names are unique
        found = tree(BUILD / folder, folder, lambda path: path.endswith("_test") and os.access(path, os.X_OK))
        files.update((f"programs/{os.path.basename(path)}", path) for _, path in found)
    files.update(tree(place.TREE / "tests", "tests", lambda path: "/corpus/" not in path))
    kernels = kernels_of_guests()
    files.update(
        (inside, path) for inside, path in tree(kernels, "home/cache/kernels") if "/.fetch-" not in path and "/.compile-" not in path
    )
    return files


def stamp(path):
    info = os.lstat(path)
    return [info.st_size, info.st_mtime_ns, info.st_mode]


def with_stamps(files):
    """What makes a file the same as before, for those that are still there."""
    now = {}
    for inside, path in files.items():
        with contextlib.suppress(FileNotFoundError):
            now[inside] = [path, *stamp(path)]
    return now


def seed_key():
    """Of what a fresh scratch disk holds, and that."""
    now = with_stamps(what_belongs_there())
    text = json.dumps(now, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16], now


def fill_seed(directory, files):
    """A disk that has it all already costs less than to send it. Writes scratch.img and sent.json."""
    below = directory / "tree" / TARGET.strip("/")
    below.mkdir(parents=True)
    for inside, (path, *_) in files.items():
        target = below / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target, follow_symlinks=False)
    place.make_disk(directory / "scratch.img", directory / "tree")
    shutil.rmtree(directory / "tree")
    (directory / "sent.json").write_text(json.dumps(files))


def read_sent(boot):
    """What this very machine has; another one has nothing."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        sent = json.loads(place.SENT.read_text())
        if sent["boot"] == boot:
            return sent["files"]
    return {}


def send(endpoint):
    with place.locked(place.RUN / "sync.lock"):
        sent = read_sent(endpoint["boot"])
        now = with_stamps(what_belongs_there())
        changed = [name for name in now if sent.get(name) != now[name]]
        gone = [name for name in sent if name not in now]
        if gone:
            client.output(endpoint, ["rm", "-f", "--", *gone], cwd=TARGET)
        if changed:
            copy_in(endpoint, [(name, now[name][0]) for name in changed], TARGET)
        if changed or gone:
            place.write_atomic(place.SENT, json.dumps({"boot": endpoint["boot"], "files": now}))


class _Stream:
    """What tarfile writes to: frames of stdin."""

    def __init__(self, sock):
        self.sock = sock

    def write(self, data):
        protocol.send(self.sock, protocol.STDIN, data)
        return len(data)


def copy_in(endpoint, files, directory):
    """files: (name in the directory, path outside); directories with all that is in them."""
    script = 'mkdir -p -- "$1" && exec tar -x -C "$1" --no-same-owner --unlink-first --warning=no-timestamp'
    sock = client.connect(endpoint, argv=["sh", "-c", script, "sh", directory], cwd="/")
    failed = []

    def write():
        try:
            with tarfile.open(fileobj=_Stream(sock), mode="w|", bufsize=protocol.CHUNK, format=tarfile.GNU_FORMAT) as tar:
                for name, path in files:
                    tar.add(path, arcname=name)
            protocol.send(sock, protocol.STDIN)
        except OSError as error:
            failed.append(error)
            with contextlib.suppress(OSError):
                sock.shutdown(1)

    writer = threading.Thread(target=write, daemon=True)
    with sock:
        writer.start()
        code = client.follow(sock, 2, 2)
        writer.join()
    if failed or code != 0:
        raise LabError(f"copying into {directory} failed: {failed[0] if failed else f'tar ended with {code}'}")


def copy_out(endpoint, paths, directory):
    os.makedirs(directory, exist_ok=True)
    tar = subprocess.Popen(["tar", "-x", "--no-same-owner", "-C", directory], stdin=subprocess.PIPE)
    script = 'for path; do set -- "$@" -C "$(dirname -- "$path")" "$(basename -- "$path")"; shift; done; exec tar -c "$@"'
    with tar.stdin:
        code = client.run(endpoint, ["sh", "-c", script, "sh", *paths], out=tar.stdin.fileno())
    return tar.wait() or code

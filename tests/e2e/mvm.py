# SPDX-License-Identifier: Apache-2.0
"""Driving mvmctl as a user does, and looking at what it leaves behind.

A Home is one MVM_HOME: its machines, images and sockets belong to one test (or to one module that
shares a machine). Everything that mvm starts inherits MVM_HOME, so the processes of a home can be
found, and told apart from everybody else's, by their environment.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

MVMCTL = os.environ.get("MVMCTL", "mvmctl")
# Scales the counts and sizes of the stress tests: 1 is what the specification promises.
SCALE = float(os.environ.get("MVM_E2E_SCALE", "1"))

# On a host whose KVM works (the lab) another backend is chosen: MVM_E2E_POSTURE says which line to expect.
POSTURE = os.environ.get("MVM_E2E_POSTURE", "mvm: backend qemu (tcg), isolation emulated")
BACKEND = POSTURE.split()[2]
ISOLATION = POSTURE.rsplit("isolation ", 1)[1].split(":")[0]

# What the engine's process is called.
ENGINE = {"qemu": "qemu-system"}.get(BACKEND, BACKEND)

# How many times longer than on a quiet machine something may take: in the lab every instruction is emulated.
SLOWNESS = float(os.environ.get("MVM_E2E_SLOWNESS") or 1)


def scaled(count, least=1):
    return max(least, int(count * SCALE))


@dataclasses.dataclass
class Output:
    argv: list
    code: int
    out: bytes
    err: bytes
    seconds: float

    @property
    def text(self):
        return self.out.decode(errors="replace")

    @property
    def errors(self):
        return self.err.decode(errors="replace")

    def __str__(self):
        return (
            f"{' '.join(map(str, self.argv))}\n  exit code {self.code} after {self.seconds:.2f} s\n"
            f"  stdout: {self.text[-2000:]!r}\n  stderr: {self.errors[-2000:]!r}"
        )


def processes_of(home):
    """pid -> command line of every living process whose environment names this home.

    In a jail the environment is empty; the command line names the jail's files, or, in firecracker's
    jailer, does not either: there the parent tells. A monitor and its guard are one: the child is not
    told while its guard lives.
    """
    wanted = f"MVM_HOME={home}".encode()
    jailed = f"{home}/run/".encode()
    found = {}
    parents = {}
    strangers = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            ours = b"--jail" in words and any(word.startswith(jailed) for word in words)
            ours = ours or wanted in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
            state, parent = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:2]
            if state not in "ZX":
                line = b" ".join(words).decode(errors="replace")[:200]
                (found if ours else strangers)[int(entry)] = line
                parents[int(entry)] = int(parent)
    while children := {p: line for p, line in strangers.items() if p not in found and parents[p] in found}:
        found |= children
    return {p: line for p, line in found.items() if found.get(parents[p]) != line}


def wait_until(condition, seconds=10, what="condition"):
    """Returns the first true value; for things outside mvm that have no event to wait for."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)


class Home:
    def __init__(self, seed=None):
        self.root = Path(tempfile.mkdtemp(prefix="mvm-e2e-", dir="/tmp"))
        self.path = self.root / "home"
        self.tmp = self.root / "tmp"  # TMPDIR of everything that runs here
        self.work = self.root / "work"  # for the test's own files
        for folder in (self.path, self.tmp, self.work):
            folder.mkdir()
        if seed:
            self.plant(seed)

    def plant(self, seed):
        """Starts from what the seed has: its kernel, its initramfs, its images."""
        (self.path / "cache").symlink_to(Path(seed) / "cache")
        blobs = self.path / "data/images/blobs"
        blobs.mkdir(parents=True, mode=0o700)
        for blob in (Path(seed) / "data/images/blobs").glob("*.erofs"):
            os.link(blob, blobs / blob.name)
        with (
            contextlib.closing(sqlite3.connect(Path(seed) / "data/catalog.db")) as old,
            contextlib.closing(sqlite3.connect(self.path / "data/catalog.db")) as new,
        ):
            old.backup(new)

    def env(self, **extra):
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("MVM_", "XDG_"))}
        keep.update(MVM_HOME=str(self.path), TMPDIR=str(self.tmp))
        keep.update(extra)
        return {k: v for k, v in keep.items() if v is not None}

    def run(self, *args, stdin=b"", timeout=90, env=None, cwd=None, prefix=()):
        argv = [*prefix, MVMCTL, *map(str, args)]
        data = stdin.encode() if isinstance(stdin, str) else stdin
        began = time.monotonic()
        done = subprocess.run(
            argv,
            input=data,
            capture_output=True,
            timeout=timeout,
            env=self.env(**(env or {})),
            cwd=cwd or self.work,
        )
        return Output(
            argv[len(prefix) :], done.returncode, done.stdout, done.stderr, time.monotonic() - began
        )

    def ok(self, *args, **options):
        done = self.run(*args, **options)
        assert done.code == 0, done
        return done

    def json(self, *args, code=0, **options):
        done = self.run(*args, **options)
        assert done.code == code, done
        document = json.loads(done.text)
        assert document["schema"] == 1, done
        return document

    def popen(self, *args, prefix=(), **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        options.setdefault("cwd", self.work)
        options["env"] = self.env(**options.pop("env", {}))
        return subprocess.Popen([*prefix, MVMCTL, *map(str, args)], **options)

    def up(self, name, *args, image="busybox", command=(), memory="160M", **options):
        tail = ["--", *command] if command else []
        return self.ok(
            "up", "-q", "--name", name, "--memory", memory, *args, image, *tail, **options
        )

    def machines(self):
        return {m["name"]: m for m in self.json("ls", "--json")["machines"]}

    def inspect(self, name):
        return self.json("inspect", name, "--json")

    def vm_dir(self, name):
        return self.path / "data/vms" / self.inspect(name)["id"]

    def blob(self, ref):
        return Path(self.json("image", "inspect", ref, "--json")["path"])

    # --- what is left -------------------------------------------------------------------------

    def leaks(self, patience=5.0):
        """What is still there although nothing should be, in words."""
        deadline = time.monotonic() + patience
        while (found := self._leaks_now()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def _leaks_now(self):
        found = [f"process {pid}: {line}" for pid, line in processes_of(self.path).items()]
        found += [
            f"mount {line.split()[4]}"
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if str(self.root) in line
        ]
        for folder in ("data/vms", "data/snapshots", "run/vms", "data/images/tmp"):
            place = self.path / folder
            if place.is_dir():
                found += [
                    f"{folder}/{p.name}: {sorted(f.name for f in p.glob('*'))}"
                    for p in place.iterdir()
                ]
        found += [f"temporary file {p}" for p in self.tmp.rglob("*")]
        for top, _, names in os.walk(self.path):
            for name in names:
                path = os.path.join(top, name)
                with contextlib.suppress(OSError):
                    if (os.lstat(path).st_mode & 0o170000) == 0o140000:
                        found.append(f"socket {path}")
        return found

    def records(self):
        catalog = self.path / "data/catalog.db"
        if not catalog.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{catalog}?mode=ro", uri=True)) as db:
            return [row[0] for row in db.execute("select name from vms")]

    def destroy(self):
        """Ends what is left of this home, for the sake of the next test."""
        for _ in range(20):
            left = processes_of(self.path)
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not left:
                break
            time.sleep(0.05)
        shutil.rmtree(self.root, ignore_errors=True)


def sha256_of(path):
    with open(path, "rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else _sha256(file)
        )


def _sha256(file):
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def in_own_mounts(home, script, timeout=60):
    """Runs a script whose mounts nobody else sees; without root in a user namespace, as the same user."""
    own = ["-m"] if os.geteuid() == 0 else ["-Um", "--map-current-user", "--keep-caps"]
    env = home.env(MVMCTL=os.path.abspath(MVMCTL))
    return subprocess.run(
        ["unshare", *own, "sh", "-c", script], env=env, capture_output=True, text=True, timeout=timeout
    )


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def status_field(pid, field):
    """A kB value of /proc/PID/status, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)

# SPDX-License-Identifier: Apache-2.0
"""A monitor under test: its process, its API, and raw connections to it."""

import http.client
import io
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

# The monitor under test: Firecracker itself, or mvm-vmm.
IS_FIRECRACKER = "FIRECRACKER" in os.environ
BINARY = os.environ.get("FIRECRACKER") or os.environ.get("MVM_VMM") or ""

PATIENCE = 30.0  # seconds for anything that should take milliseconds; hosts of CI are slow


def eventually(condition, what, patience=PATIENCE):
    """The first true value of the condition."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {patience} s"
        time.sleep(0.005)
    return value


def connected(path):
    """A socket that has waited for its turn to connect, which one with a timeout would not."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    sock.settimeout(PATIENCE)
    return sock


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = connected(self.path)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()

    @property
    def json(self):
        # Firecracker's answers to what is not HTTP hold a line end inside of a string.
        return json.loads(self.text, strict=False)

    @property
    def fault(self):
        assert set(self.json) == {"fault_message"}, self.text
        return self.json["fault_message"]

    def __repr__(self):
        return f"{self.status} {self.text}"


class Vmm:
    """A running monitor with an API socket in a directory of its own."""

    def __init__(self, *arguments, api=True):
        self.place = Path(tempfile.mkdtemp(prefix="mvm-vmm-", dir="/tmp"))
        self.socket = str(self.place / "api.sock")
        self.output = self.place / "output"
        if api:
            arguments = ("--api-sock", self.socket, *arguments)
        self.messages = self.place / "messages"
        # Apart: a line of the log must not fall between two letters of the guest's.
        with open(self.output, "wb") as output, open(self.messages, "wb") as messages:
            self.process = subprocess.Popen(
                [BINARY, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=messages,
                cwd=self.place,
            )
        self.kept = None
        if api:
            eventually(self.listens, "the API socket's opening")

    def listens(self):
        assert self.process.poll() is None, self.printed()
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.socket) == 0

    def said(self):
        """What its guest's serial port has printed, and itself on stdout."""
        return self.output.read_bytes().decode(errors="replace")

    def printed(self):
        """The same and its messages on stderr."""
        return self.said() + self.messages.read_bytes().decode(errors="replace")

    def ends(self):
        """Waits for its end. The exit code."""
        return self.process.wait(timeout=PATIENCE)

    def destroy(self):
        if self.kept:
            self.kept.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        shutil.rmtree(self.place)

    def path(self, name, content=b""):
        """A file of this content."""
        path = self.place / name
        path.write_bytes(content)
        return str(path)

    # Requests. Each but `fresh` goes over one connection that is kept.

    def request(self, method, path, body=None, headers=None, fresh=False):
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        connection = None if fresh else self.kept
        connection = connection or UnixConnection(self.socket)
        connection.request(method, path, body, headers or {})
        answer = Answer(connection.getresponse())
        if fresh:
            connection.close()
        else:
            self.kept = connection
        return answer

    def get(self, path):
        return self.request("GET", path)

    def put(self, path, body):
        return self.request("PUT", path, body)

    def patch(self, path, body):
        return self.request("PATCH", path, body)

    def ok(self, method, path, body=None):
        """A request that must succeed. Its JSON, where it has one."""
        answer = self.request(method, path, body)
        assert answer.status in (200, 204), f"{method} {path}: {answer}"
        assert (answer.status == 204) == (not answer.text), answer
        return answer.json if answer.text else None

    def refuses(self, method, path, body=None, *mentions):
        """A request that must be refused with a fault message that mentions these texts."""
        answer = self.request(method, path, body)
        assert answer.status == 400, f"{method} {path} {body}: {answer}"
        for text in mentions:
            assert text.lower() in answer.fault.lower(), answer
        return answer.fault

    def raw(self):
        """A connection for bytes."""
        return connected(self.socket)

    # A guest.

    def state(self):
        return self.ok("GET", "/")["state"]

    def set_kernel(self, image):
        body = {"kernel_image_path": self.path("kernel", image), "boot_args": "console=ttyS0"}
        self.ok("PUT", "/boot-source", body)

    def start(self):
        self.ok("PUT", "/actions", {"action_type": "InstanceStart"})

    def says(self, text):
        try:
            eventually(lambda: text in self.said(), f"the guest's saying {text!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it said {self.said()!r}") from None

    def dots(self):
        return self.said().count(".")


class Responses:
    """The responses of a raw connection, one after the other."""

    def __init__(self, raw):
        self.file = raw.makefile("rb")

    def makefile(self, _mode):
        return io.BufferedReader(_Unclosed(self.file))

    def next(self):
        response = http.client.HTTPResponse(self)
        response.begin()
        return Answer(response)


class _Unclosed(io.RawIOBase):
    """Reads byte by byte, so that a response's reader takes nothing of the next one's."""

    def __init__(self, file):
        self.file = file

    def readable(self):
        return True

    def readinto(self, into):
        byte = self.file.read(1)
        into[: len(byte)] = byte
        return len(byte)


def read_response(raw):
    """The only response of a raw connection."""
    response = http.client.HTTPResponse(raw)
    response.begin()
    return Answer(response)

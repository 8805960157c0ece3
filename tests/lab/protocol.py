# SPDX-License-Identifier: Apache-2.0
"""What the client outside and the runner inside the lab say to each other, over one TCP connection per command.

The client sends one line of JSON, the request: {"token", "name", "argv", "cwd", "env", "tty": [rows, columns]
or null}. Then both sides send frames: a kind (one byte), a length (four bytes, big endian), that many bytes.
A client that goes away ends its command. The request {"token", "name", "signal"} on another connection
signals the process group of the command of that name. The request {"token", "ping"} is answered by EXIT.
"""

import struct

# client -> runner
STDIN = b"I"  # bytes for the command; empty: end of file
SIZE = b"W"  # "ROWS COLUMNS" of the terminal
# runner -> client
STDOUT = b"O"
STDERR = b"E"
EXIT = b"X"  # the exit code in decimal; the last frame
FAILED = b"F"  # why the command did not start; the last frame

GUEST_PORT = 5000
CHUNK = 256 * 1024
MAX_FRAME = 1 << 24
_HEADER = struct.Struct(">cI")


def send(sock, kind, data=b""):
    header = _HEADER.pack(kind, len(data))
    if len(data) < 4096:
        sock.sendall(header + data)
    else:
        sock.sendall(header)
        sock.sendall(data)


def receive_exactly(sock, count):
    """None when the peer closes first."""
    buffer = bytearray(count)
    view = memoryview(buffer)
    got = 0
    while got < count:
        n = sock.recv_into(view[got:])
        if n == 0:
            return None
        got += n
    return bytes(buffer)


def receive(sock):
    """(kind, data), or (None, b"") at the end."""
    header = receive_exactly(sock, _HEADER.size)
    if header is None:
        return None, b""
    kind, length = _HEADER.unpack(header)
    if length > MAX_FRAME:
        raise ValueError(f"a frame of {length} bytes")
    data = receive_exactly(sock, length) if length else b""
    return (None, b"") if data is None else (kind, data)

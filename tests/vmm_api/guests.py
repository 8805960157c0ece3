# SPDX-License-Identifier: Apache-2.0
"""Kernels of a few instructions: enough of a guest for the API's rules, on any host that has a KVM.

Each is an ELF file with one segment, entered in 64-bit mode as the Linux boot protocol says.
"""

import struct

LOAD_ADDRESS = 0x100_0000
COM1 = 0x3F8


def elf(code):
    """A static x86-64 ELF executable of this code."""
    header_size, segment_size, page = 64, 56, 0x1000
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01" + bytes(9),
        2,  # executable
        62,  # x86-64
        1,
        LOAD_ADDRESS,
        header_size,
        0,
        0,
        header_size,
        segment_size,
        1,
        0,
        0,
        0,
    )
    segment = struct.pack(
        "<IIQQQQQQ",
        1,  # PT_LOAD
        5,  # read, execute
        page,
        LOAD_ADDRESS,
        LOAD_ADDRESS,
        len(code),
        len(code),
        page,
    )
    return (header + segment).ljust(page, b"\0") + code


def outb(port, value):
    """mov dx, port; mov al, value; out dx, al"""
    return b"\x66\xba" + struct.pack("<H", port) + b"\xb0" + bytes([value]) + b"\xee"


def say(text):
    return b"".join(outb(COM1, byte) for byte in text)


CLI = b"\xfa"
HALT = b"\xf4\xeb\xfd"  # hlt; jmp to it


def idle():
    """Says "up" on the serial port and halts for good."""
    return elf(CLI + say(b"up\n") + HALT)


def ticking():
    """Says "up", then a dot after every 200,000 turns of a loop."""
    wait = b"\xb9" + struct.pack("<I", 200_000) + b"\xff\xc9\x75\xfc"  # mov ecx; dec ecx; jnz
    dot = outb(COM1, ord("."))
    back = -(len(wait) + len(dot) + 2)
    return elf(CLI + say(b"up\n") + wait + dot + b"\xeb" + struct.pack("b", back))


def resetting():
    """Says "up" and resets the machine through the keyboard controller."""
    return elf(CLI + say(b"up\n") + outb(0x64, 0xFE) + HALT)

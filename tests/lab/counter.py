# SPDX-License-Identifier: Apache-2.0
"""The rate of this machine's time stamp counter, measured: it is the emulated processors' too."""

import ctypes
import mmap
import time

# rdtsc; shl rdx, 32; or rax, rdx; ret
CODE = b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3"


def khz(attempts=5, seconds=0.02):
    """Of several measurements the one that was interrupted least between its two clocks."""
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(CODE)
    anchor = ctypes.c_char.from_buffer(memory)
    ticks = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(anchor))

    def reading():
        before = time.monotonic_ns()
        counter = ticks()
        return before, counter, time.monotonic_ns() - before

    best = None
    for _ in range(attempts):
        first = reading()
        time.sleep(seconds)
        last = reading()
        candidate = (first[2] + last[2], (last[1] - first[1]) * 1_000_000 // (last[0] - first[0]))
        best = candidate if best is None or candidate < best else best
    return best[1]

# SPDX-License-Identifier: Apache-2.0
"""Stock Debian kernels in machines of every size; the guest itself counts what it was given.

MVM_VMM_KERNEL is an uncompressed kernel, MVM_VMM_BZIMAGE one as distributions ship it.
"""

import io
import os
import re
import shutil

import pytest

from conftest import hardware_problem
from vmm import eventually

INIT = """#!/bin/sh
mount -t proc proc /proc
grep MemTotal /proc/meminfo
echo "processors: $(nproc)"
reboot -f
"""

BOOT_SECONDS = 240  # the generic kernel with four processors, emulated on a loaded host


def cpio(files):
    """A newc archive of (name, mode, content)."""
    out = io.BytesIO()
    for number, (name, mode, content) in enumerate([*files, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        out.write(b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0")
        out.write(bytes(-out.tell() % 4) + content)
        out.write(bytes(-out.tell() % 4))
    return out.getvalue()


@pytest.fixture(scope="session")
def initramfs(tmp_path_factory):
    busybox = shutil.which("busybox")
    if not busybox:
        pytest.skip("busybox is not installed")
    with open(busybox, "rb") as file:
        program = file.read()
    folders = [(name, 0o40755, b"") for name in ("bin", "proc", "dev")]
    links = [(f"bin/{name}", 0o120777, b"busybox") for name in ("sh", "mount", "grep", "nproc", "reboot")]
    files = [("bin/busybox", 0o100755, program), ("init", 0o100755, INIT.encode())]
    path = tmp_path_factory.mktemp("initramfs") / "initramfs"
    path.write_bytes(cpio([*folders, *files, *links]))
    return str(path)


def named(variable):
    path = os.environ.get(variable)
    if not path:
        pytest.skip(f"{variable} names no kernel")
    problem = hardware_problem()
    if problem:
        pytest.skip(problem)
    return path


@pytest.mark.parametrize("memory, processors", [(128, 1), (128, 4), (4096, 1), (4096, 4), (1024, 32)])
@pytest.mark.parametrize("variable", ["MVM_VMM_KERNEL", "MVM_VMM_BZIMAGE"])
def test_a_stock_kernel_sees_its_processors_and_memory_and_ends(launch, initramfs, variable, memory, processors):
    vmm = launch()
    vmm.ok("PUT", "/machine-config", {"vcpu_count": processors, "mem_size_mib": memory})
    source = {
        "kernel_image_path": named(variable),
        "initrd_path": initramfs,
        "boot_args": "console=ttyS0 quiet reboot=k panic=-1",
    }
    vmm.ok("PUT", "/boot-source", source)
    vmm.start()

    eventually(lambda: vmm.process.poll() is not None, f"the guest's reboot (it said {vmm.said()!r})", BOOT_SECONDS)

    said = vmm.said()
    total = int(re.search(r"MemTotal:\s+(\d+) kB", said)[1]) >> 10
    # The kernel keeps some of it for itself: itself, and a structure for each page.
    assert memory * 0.90 - 72 < total < memory, said
    assert f"processors: {processors}\n" in said.replace("\r", ""), said
    assert vmm.ends() == 0

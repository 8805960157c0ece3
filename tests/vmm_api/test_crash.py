# SPDX-License-Identifier: Apache-2.0
"""kill -9 and a full disk: what a monitor leaves behind is whole or refused.

MVM_VMM_SEED repeats a run whose seed a failure has printed; MVM_VMM_KILLS is the number of kills of each kind.
"""

import contextlib
import hashlib
import http.client
import os
import random
import subprocess
import threading
import time

import pytest

import guests
from test_snapshot import backend, files
from vmm import eventually

KILLS = int(os.environ.get("MVM_VMM_KILLS", 25))
SEED = int(os.environ.get("MVM_VMM_SEED", time.time_ns() % 1_000_000))


@pytest.fixture
def dice():
    print(f"MVM_VMM_SEED={SEED}")
    return random.Random(SEED)


def kill_within(vmm, seconds, request):
    """Kills the monitor up to so many seconds after the request has been sent."""
    ended = threading.Timer(seconds, vmm.process.kill)
    ended.start()
    with contextlib.suppress(OSError, http.client.HTTPException):
        request()
    ended.join()
    vmm.process.wait()


def end(vmm):
    vmm.process.kill()
    vmm.process.wait()


def duration(request):
    began = time.monotonic()
    request()
    return time.monotonic() - began


def digest(path):
    whole = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            whole.update(chunk)
    return whole.hexdigest()


def boot(launch, disk):
    vmm = launch()
    vmm.set_kernel(guests.ticking())
    body = {"drive_id": "d", "path_on_host": disk, "is_root_device": False, "is_read_only": False}
    vmm.ok("PUT", "/drives/d", body)
    return vmm


def goes_on(vmm):
    seen = vmm.dots()
    eventually(lambda: vmm.dots() > seen, "the guest's ticking")


def test_a_kill_in_the_middle_of_a_boot_leaves_nothing_that_hinders_the_next(kvm, launch, dice, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    first = boot(launch, str(disk))
    whole = duration(first.start)
    end(first)
    for _ in range(KILLS):
        vmm = boot(launch, str(disk))
        kill_within(vmm, dice.uniform(0, whole), vmm.start)
        assert sorted(os.listdir(vmm.place)) == ["api.sock", "kernel", "messages", "output"]
    last = boot(launch, str(disk))
    last.start()
    goes_on(last)


def test_a_kill_in_the_middle_of_a_snapshot_leaves_the_old_one_or_the_new_one(kvm, launch, dice, tmp_path):
    paths = {"snapshot_path": str(tmp_path / "state"), "mem_file_path": str(tmp_path / "memory")}
    accepted = refused = 0

    def paused():
        vmm = launch()
        vmm.set_kernel(guests.ticking())
        vmm.start()
        goes_on(vmm)
        vmm.ok("PATCH", "/vm", {"state": "Paused"})
        return vmm

    first = paused()
    whole = duration(lambda: first.ok("PUT", "/snapshot/create", paths))
    end(first)
    for turn in range(KILLS):
        if turn % 2 == 0:  # half of them over files that are there, half into nothing
            for path in paths.values():
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
        vmm = paused()
        kill_within(vmm, dice.uniform(0, 1.5 * whole), lambda: vmm.put("/snapshot/create", paths))
        assert set(os.listdir(tmp_path)) <= {"state", "memory"}, "a file of the writer's own is left"
        restored = launch()
        answer = restored.put("/snapshot/load", backend(paths, resume_vm=True))
        if answer.status == 204:
            accepted += 1
            goes_on(restored)
        else:
            refused += 1
            assert answer.status == 400
            assert "state" in answer.fault or "memory" in answer.fault, answer
            assert restored.dots() == 0, "a guest ran from files that were refused"
        end(restored)
    print(f"{accepted} accepted, {refused} refused")
    assert accepted + refused == KILLS


def test_a_kill_in_the_middle_of_a_load_leaves_the_snapshot_as_it_was(kvm, launch, dice):
    first = launch()
    first.set_kernel(guests.ticking())
    first.start()
    goes_on(first)
    first.ok("PATCH", "/vm", {"state": "Paused"})
    paths = files(first)
    first.ok("PUT", "/snapshot/create", paths)
    before = [digest(path) for path in paths.values()]
    load = backend(paths, resume_vm=True)
    end(first)
    second = launch()
    whole = duration(lambda: second.ok("PUT", "/snapshot/load", load))
    end(second)
    for _ in range(KILLS):
        vmm = launch()
        kill_within(vmm, dice.uniform(0, 2 * whole), lambda: vmm.put("/snapshot/load", load))
    assert [digest(path) for path in paths.values()] == before
    last = launch()
    last.ok("PUT", "/snapshot/load", load)
    goes_on(last)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "small", place], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.parametrize("full", ["snapshot_path", "mem_file_path"])
def test_a_full_disk_fails_the_snapshot_and_not_the_machine(kvm, launch, small_disk, full):
    vmm = launch()
    vmm.set_kernel(guests.ticking())
    vmm.start()
    goes_on(vmm)
    vmm.ok("PATCH", "/vm", {"state": "Paused"})
    paths = files(vmm)
    (small_disk / "ballast").write_bytes(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize))
    paths[full] = str(small_disk / "file")

    fault = vmm.refuses("PUT", "/snapshot/create", paths)

    assert "No space left" in fault
    assert os.listdir(small_disk) == ["ballast"], "half a snapshot is left"
    assert vmm.state() == "Paused"
    vmm.ok("PATCH", "/vm", {"state": "Resumed"})
    goes_on(vmm)
    (small_disk / "ballast").unlink()
    vmm.ok("PATCH", "/vm", {"state": "Paused"})
    vmm.ok("PUT", "/snapshot/create", files(vmm, "elsewhere"))

# SPDX-License-Identifier: Apache-2.0
"""Saving machines and loading them, as far as the API has rules for it."""

import os

import pytest

import guests
from vmm import eventually

mvm_only = pytest.mark.mvm_only


def files(vmm, name="full"):
    return {
        "snapshot_path": str(vmm.place / f"{name}.state"),
        "mem_file_path": str(vmm.place / f"{name}.memory"),
    }


def backend(paths, **more):
    return {
        "snapshot_path": paths["snapshot_path"],
        "mem_backend": {"backend_type": "File", "backend_path": paths["mem_file_path"]},
        **more,
    }


@pytest.fixture
def paused(ticking):
    ticking.start()
    eventually(lambda: ticking.dots() > 2, "the guest's ticking")
    ticking.ok("PATCH", "/vm", {"state": "Paused"})
    return ticking


@pytest.fixture
def saved(paused):
    """The files of a saved machine that prints dots."""
    paths = files(paused)
    paused.ok("PUT", "/snapshot/create", paths)
    return paths


class TestCreate:
    def test_needs_a_paused_machine(self, running):
        paths = files(running)
        running.refuses("PUT", "/snapshot/create", paths)
        assert not os.path.exists(paths["snapshot_path"])
        assert running.state() == "Running"

    def test_writes_state_and_memory(self, saved):
        assert os.path.getsize(saved["snapshot_path"]) > 0
        assert os.path.getsize(saved["mem_file_path"]) >= 128 << 20

    def test_leaves_the_machine_paused_and_whole(self, paused):
        paused.ok("PUT", "/snapshot/create", files(paused))
        assert paused.state() == "Paused"
        seen = paused.dots()
        paused.ok("PATCH", "/vm", {"state": "Resumed"})
        eventually(lambda: paused.dots() > seen, "the guest's going on")

    def test_may_be_repeated_into_the_same_files(self, paused):
        paused.ok("PUT", "/snapshot/create", files(paused))
        paused.ok("PUT", "/snapshot/create", files(paused))

    def test_refuses_a_directory_that_is_not_there(self, paused):
        body = {"snapshot_path": "/nowhere/s", "mem_file_path": "/nowhere/m"}
        paused.refuses("PUT", "/snapshot/create", body)
        assert paused.state() == "Paused"

    def test_refuses_an_unknown_type(self, paused):
        body = {**files(paused), "snapshot_type": "Half"}
        paused.refuses("PUT", "/snapshot/create", body, "Half")

    def test_a_diff_follows_a_full_one(self, ticking):
        machine = {"vcpu_count": 1, "mem_size_mib": 128, "track_dirty_pages": True}
        ticking.ok("PUT", "/machine-config", machine)
        ticking.start()
        eventually(lambda: ticking.dots() > 2, "the guest's ticking")
        ticking.ok("PATCH", "/vm", {"state": "Paused"})
        ticking.ok("PUT", "/snapshot/create", {**files(ticking), "snapshot_type": "Full"})
        paths = files(ticking, "diff")
        ticking.ok("PUT", "/snapshot/create", {**paths, "snapshot_type": "Diff"})
        # Sparse: a paused guest has changed next to nothing.
        assert os.stat(paths["mem_file_path"]).st_blocks * 512 < 32 << 20

    @mvm_only
    def test_a_diff_needs_dirty_pages_to_be_tracked(self, paused):
        body = {**files(paused, "diff"), "snapshot_type": "Diff"}
        paused.refuses("PUT", "/snapshot/create", body, "track_dirty_pages")


class TestLoad:
    def test_brings_a_paused_machine(self, saved, launch):
        vmm = launch()
        vmm.ok("PUT", "/snapshot/load", backend(saved))
        assert vmm.state() == "Paused"
        assert vmm.ok("GET", "/machine-config")["mem_size_mib"] == 128
        before = vmm.dots()
        vmm.ok("PATCH", "/vm", {"state": "Resumed"})
        eventually(lambda: vmm.dots() > before, "the restored guest's ticking")

    def test_may_resume_at_once(self, saved, launch):
        vmm = launch()
        vmm.ok("PUT", "/snapshot/load", backend(saved, resume_vm=True))
        assert vmm.state() == "Running"
        eventually(lambda: vmm.dots() > 0, "the restored guest's ticking")

    def test_takes_the_deprecated_fields(self, saved, launch):
        vmm = launch()
        body = {**saved, "enable_diff_snapshots": True}
        answer = vmm.put("/snapshot/load", body)
        assert answer.status == 204, answer
        assert answer.headers["Deprecation"] == "true"
        assert vmm.state() == "Paused"

    def test_may_be_repeated_in_other_monitors(self, saved, launch):
        for _ in range(3):
            launch().ok("PUT", "/snapshot/load", backend(saved, resume_vm=True))

    def test_a_loaded_machine_may_be_saved_again(self, saved, launch):
        first = launch()
        first.ok("PUT", "/snapshot/load", backend(saved))
        paths = files(first, "again")
        first.ok("PUT", "/snapshot/create", paths)
        second = launch()
        second.ok("PUT", "/snapshot/load", backend(paths, resume_vm=True))
        eventually(lambda: second.dots() > 0, "the guest's ticking")

    def test_comes_once(self, saved, launch):
        vmm = launch()
        vmm.ok("PUT", "/snapshot/load", backend(saved))
        vmm.refuses("PUT", "/snapshot/load", backend(saved), "after starting")

    def test_comes_before_any_configuration(self, saved, launch):
        vmm = launch()
        vmm.ok("PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": 128})
        vmm.refuses("PUT", "/snapshot/load", backend(saved))
        assert vmm.state() == "Not started"

    def test_a_logger_is_no_such_configuration(self, saved, launch):
        vmm = launch()
        vmm.ok("PUT", "/logger", {"level": "Info"})
        vmm.ok("PUT", "/snapshot/load", backend(saved))

    @pytest.mark.parametrize("key", ["snapshot_path", "mem_file_path"])
    def test_refuses_files_that_are_cut_short(self, saved, launch, key):
        os.truncate(saved[key], os.path.getsize(saved[key]) // 2)
        launch().refuses("PUT", "/snapshot/load", backend(saved))

    def test_refuses_a_state_that_was_changed(self, saved, launch):
        with open(saved["snapshot_path"], "r+b") as file:
            file.seek(os.path.getsize(saved["snapshot_path"]) // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 0x10]))
        launch().refuses("PUT", "/snapshot/load", backend(saved))

    def test_overrides_name_what_the_snapshot_has(self, saved, launch):
        change = [{"iface_id": "eth0", "host_dev_name": "tap0"}]
        launch().refuses("PUT", "/snapshot/load", backend(saved, network_overrides=change))


class TestLoadWithoutFiles:
    """Refusals that need no KVM."""

    def test_files_that_are_not_there(self, vmm):
        paths = {"snapshot_path": "/nowhere/s", "mem_file_path": "/nowhere/m"}
        vmm.refuses("PUT", "/snapshot/load", backend(paths))

    def test_a_file_of_something_else(self, vmm):
        paths = {"snapshot_path": vmm.path("s", b"x" * 8192), "mem_file_path": vmm.path("m")}
        vmm.refuses("PUT", "/snapshot/load", backend(paths))

    def test_no_memory(self, vmm):
        body = {"snapshot_path": "/s"}
        vmm.refuses("PUT", "/snapshot/load", body, "mem_backend", "mem_file_path")

    def test_two_memories(self, vmm):
        body = {
            "snapshot_path": "/s",
            "mem_file_path": "/m",
            "mem_backend": {"backend_type": "File", "backend_path": "/m"},
        }
        vmm.refuses("PUT", "/snapshot/load", body, "too many fields")

    def test_an_unknown_backend(self, vmm):
        memory = {"backend_type": "Tape", "backend_path": "/m"}
        vmm.refuses("PUT", "/snapshot/load", {"snapshot_path": "/s", "mem_backend": memory}, "Tape")

    def test_a_backend_with_an_unknown_field(self, vmm):
        memory = {"backend_type": "File", "backend_path": "/m", "colour": "red"}
        body = {"snapshot_path": "/s", "mem_backend": memory}
        vmm.refuses("PUT", "/snapshot/load", body, "colour")

    @mvm_only
    def test_an_override_with_an_unknown_field(self, vmm):
        change = {"iface_id": "e", "host_dev_name": "t", "colour": "red"}
        body = {"snapshot_path": "/s", "mem_file_path": "/m", "network_overrides": [change]}
        vmm.refuses("PUT", "/snapshot/load", body, "colour")

    @pytest.mark.parametrize("name", ["create", "load"])
    def test_no_paths(self, vmm, name):
        vmm.refuses("PUT", f"/snapshot/{name}", {}, "missing field")


@mvm_only
def test_a_drive_may_be_another_file_when_loaded(kvm, launch):
    first = launch()
    first.set_kernel(guests.ticking())
    disk = {
        "drive_id": "scratch",
        "path_on_host": first.path("disk", bytes(1 << 20)),
        "is_root_device": False,
        "is_read_only": False,
    }
    first.ok("PUT", "/drives/scratch", disk)
    first.start()
    first.ok("PATCH", "/vm", {"state": "Paused"})
    first.ok("PUT", "/snapshot/create", files(first))
    second = launch()
    other = second.path("copy", bytes(1 << 20))
    change = [{"drive_id": "scratch", "path_on_host": other}]
    second.ok("PUT", "/snapshot/load", backend(files(first), drive_overrides=change))
    (told,) = second.ok("GET", "/vm/config")["drives"]
    assert told["path_on_host"] == other

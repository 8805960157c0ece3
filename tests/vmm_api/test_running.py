# SPDX-License-Identifier: Apache-2.0
"""The rules of a machine that has started. The guests are a few instructions, for any KVM."""

import json
import time

import pytest

import guests
from vmm import eventually

mvm_only = pytest.mark.mvm_only
BUCKET = {"size": 1000, "one_time_burst": None, "refill_time": 100}


class TestStates:
    def test_a_started_machine_runs(self, running):
        assert running.state() == "Running"

    def test_starts_once(self, running):
        running.refuses("PUT", "/actions", {"action_type": "InstanceStart"}, "after starting")
        assert running.state() == "Running"

    def test_pauses_and_resumes(self, running):
        running.ok("PATCH", "/vm", {"state": "Paused"})
        assert running.state() == "Paused"
        running.ok("PATCH", "/vm", {"state": "Resumed"})
        assert running.state() == "Running"

    def test_pausing_twice_is_pausing(self, running):
        running.ok("PATCH", "/vm", {"state": "Paused"})
        running.ok("PATCH", "/vm", {"state": "Paused"})
        running.ok("PATCH", "/vm", {"state": "Resumed"})
        running.ok("PATCH", "/vm", {"state": "Resumed"})
        assert running.state() == "Running"

    def test_a_paused_guest_stands_still(self, ticking):
        ticking.start()
        eventually(lambda: ticking.dots() > 2, "the guest's ticking")
        ticking.ok("PATCH", "/vm", {"state": "Paused"})
        seen = ticking.dots()
        time.sleep(1.5)
        assert ticking.dots() == seen
        ticking.ok("PATCH", "/vm", {"state": "Resumed"})
        eventually(lambda: ticking.dots() > seen, "the guest's going on")

    def test_four_vcpus_pause_and_resume(self, idle):
        idle.ok("PUT", "/machine-config", {"vcpu_count": 4, "mem_size_mib": 128})
        idle.start()
        idle.says("up\n")
        for state in ("Paused", "Resumed", "Paused", "Resumed"):
            idle.ok("PATCH", "/vm", {"state": state})

    def test_the_monitor_ends_with_its_guest(self, idle):
        idle.set_kernel(guests.resetting())
        idle.start()
        assert idle.ends() == 0
        assert "up\n" in idle.said()

    def test_a_kernel_that_is_none_is_refused(self, idle):
        idle.set_kernel(b"this is not a kernel" * 100)
        idle.refuses("PUT", "/actions", {"action_type": "InstanceStart"})

    @mvm_only
    def test_a_machine_that_did_not_start_may_be_corrected(self, idle):
        idle.set_kernel(b"this is not a kernel" * 100)
        idle.refuses("PUT", "/actions", {"action_type": "InstanceStart"})
        assert idle.state() == "Not started"
        idle.set_kernel(guests.idle())
        idle.start()
        idle.says("up\n")


class TestAfterTheStart:
    @pytest.mark.parametrize(
        "method, path, body",
        [
            ("PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": 128}),
            ("PATCH", "/machine-config", {"vcpu_count": 1}),
            ("PUT", "/boot-source", {"kernel_image_path": "/dev/null"}),
            ("PUT", "/vsock", {"guest_cid": 3, "uds_path": "./v.sock"}),
            ("PUT", "/entropy", {}),
            ("PUT", "/serial", {}),
            ("PUT", "/balloon", {"amount_mib": 1, "deflate_on_oom": False}),
            ("PUT", "/logger", {"level": "Info"}),
            ("PUT", "/metrics", {"metrics_path": "/dev/null"}),
            ("PUT", "/mmds/config", {"network_interfaces": ["eth0"]}),
            ("PUT", "/snapshot/load", {"snapshot_path": "/s", "mem_file_path": "/m"}),
            pytest.param(
                "PUT",
                "/drives/a",
                {"drive_id": "a", "path_on_host": "/dev/null", "is_root_device": False},
                marks=mvm_only,  # newer Firecrackers plug it in
            ),
            pytest.param(
                "PUT",
                "/network-interfaces/e",
                {"iface_id": "e", "host_dev_name": "tap0"},
                marks=mvm_only,
            ),
        ],
    )
    def test_configuration_is_refused(self, running, method, path, body):
        running.refuses(method, path, body, "not supported after starting")

    def test_configuration_is_told(self, idle):
        machine = {"vcpu_count": 2, "mem_size_mib": 64}
        idle.ok("PUT", "/machine-config", machine)
        before = idle.ok("GET", "/vm/config")
        idle.start()
        assert idle.ok("GET", "/machine-config").items() >= machine.items()
        after = idle.ok("GET", "/vm/config")
        assert after["machine-config"] == before["machine-config"]
        assert after["boot-source"] == before["boot-source"]

    def test_devices_that_are_not_there_cannot_be_changed(self, running):
        running.refuses("PATCH", "/drives/a", {"drive_id": "a", "path_on_host": "/dev/null"})
        limits = {"iface_id": "e", "rx_rate_limiter": {"ops": BUCKET}}
        running.refuses("PATCH", "/network-interfaces/e", limits)
        running.refuses("PATCH", "/balloon", {"amount_mib": 1})
        running.refuses("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 1})
        running.refuses("GET", "/balloon")
        running.refuses("GET", "/balloon/statistics")
        running.refuses("GET", "/balloon/hinting/status")

    def test_ctrl_alt_del_is_pressed(self, running):
        running.ok("PUT", "/actions", {"action_type": "SendCtrlAltDel"})

    def test_a_reset_of_other_connections_does_not_disturb(self, running):
        for _ in range(20):
            running.raw().close()
        assert running.state() == "Running"


class TestSerial:
    def test_the_guest_writes_on_our_output(self, running):
        assert "up\n" in running.said()

    def test_the_guest_writes_into_a_file(self, idle):
        path = idle.path("serial")
        idle.ok("PUT", "/serial", {"serial_out_path": path})
        idle.start()
        eventually(lambda: (idle.place / "serial").read_bytes() == b"up\n", "the guest's output")


class TestMetrics:
    def test_are_written_when_asked_for(self, idle):
        idle.ok("PUT", "/metrics", {"metrics_path": idle.path("metrics")})
        idle.start()
        idle.ok("PUT", "/actions", {"action_type": "FlushMetrics"})
        lines = eventually(
            lambda: (idle.place / "metrics").read_text().splitlines(), "metrics to be written"
        )
        assert all(isinstance(json.loads(line), dict) for line in lines)

    def test_without_a_file_go_nowhere(self, running):
        running.ok("PUT", "/actions", {"action_type": "FlushMetrics"})


class TestDrives:
    @pytest.fixture
    def with_drive(self, idle):
        body = {
            "drive_id": "scratch",
            "path_on_host": idle.path("disk", bytes(1 << 20)),
            "is_root_device": False,
            "is_read_only": False,
        }
        idle.ok("PUT", "/drives/scratch", body)
        idle.start()
        idle.says("up\n")
        return idle

    def told(self, vmm):
        return vmm.ok("GET", "/vm/config")["drives"][0]

    def test_get_another_file(self, with_drive):
        other = with_drive.path("other", bytes(2 << 20))
        with_drive.ok("PATCH", "/drives/scratch", {"drive_id": "scratch", "path_on_host": other})
        assert self.told(with_drive)["path_on_host"] == other

    def test_keep_their_file_when_another_is_not_there(self, with_drive):
        before = self.told(with_drive)
        body = {"drive_id": "scratch", "path_on_host": "/nowhere/disk"}
        with_drive.refuses("PATCH", "/drives/scratch", body)
        assert self.told(with_drive) == before

    def test_get_another_rate_limiter(self, with_drive):
        body = {"drive_id": "scratch", "rate_limiter": {"bandwidth": BUCKET}}
        with_drive.ok("PATCH", "/drives/scratch", body)
        assert self.told(with_drive)["rate_limiter"]["bandwidth"] == BUCKET

    def test_lose_a_bucket_that_does_not_limit(self, with_drive):
        for bucket in (BUCKET, {"size": 0, "refill_time": 0}):
            body = {"drive_id": "scratch", "rate_limiter": {"ops": bucket}}
            with_drive.ok("PATCH", "/drives/scratch", body)
        assert not (self.told(with_drive)["rate_limiter"] or {}).get("ops")


class TestBalloon:
    @pytest.fixture
    def with_balloon(self, idle):
        body = {"amount_mib": 0, "deflate_on_oom": True, "stats_polling_interval_s": 1}
        idle.ok("PUT", "/balloon", body)
        idle.start()
        idle.says("up\n")
        return idle

    def test_is_told(self, with_balloon):
        assert with_balloon.ok("GET", "/balloon")["deflate_on_oom"] is True

    def test_statistics_are_not_turned_off(self, with_balloon):
        with_balloon.refuses("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 0})

    def test_is_not_larger_than_the_machine(self, with_balloon):
        with_balloon.refuses("PATCH", "/balloon", {"amount_mib": 129})


class TestMmds:
    def test_changes_while_the_machine_runs(self, idle, network, request):
        if "host_dev_name" in network:
            network["host_dev_name"] = request.getfixturevalue("tap")
        idle.ok("PUT", "/network-interfaces/eth0", network)
        idle.ok("PUT", "/mmds/config", {"version": "V2", "network_interfaces": ["eth0"]})
        idle.start()
        idle.ok("PUT", "/mmds", {"a": 1})
        idle.ok("PATCH", "/mmds", {"b": 2})
        assert idle.ok("GET", "/mmds") == {"a": 1, "b": 2}


class TestStockKernel:
    @pytest.fixture
    def booted(self, launch, stock_kernel):
        kernel, initrd = stock_kernel
        vmm = launch()
        source = {"kernel_image_path": kernel, "boot_args": "console=ttyS0 reboot=k panic=-1"}
        if initrd:
            source["initrd_path"] = initrd
        vmm.ok("PUT", "/machine-config", {"vcpu_count": 2, "mem_size_mib": 256})
        vmm.ok("PUT", "/boot-source", source)
        balloon = {"amount_mib": 0, "deflate_on_oom": True, "stats_polling_interval_s": 1}
        vmm.ok("PUT", "/balloon", balloon)
        vmm.start()
        return vmm

    def test_boots(self, booted):
        eventually(lambda: "Linux version" in booted.said(), "the kernel's greeting", 120)

    def test_goes_on_after_pauses(self, booted):
        for _ in range(5):
            booted.ok("PATCH", "/vm", {"state": "Paused"})
            booted.ok("PATCH", "/vm", {"state": "Resumed"})
        eventually(lambda: "Linux version" in booted.said(), "the kernel's greeting", 120)

# SPDX-License-Identifier: Apache-2.0
"""What can be configured before the start, and what is told of it. No KVM is needed."""

import os

import pytest

from vmm import IS_FIRECRACKER

mvm_only = pytest.mark.mvm_only
BUCKET = {"size": 1000, "one_time_burst": 2000, "refill_time": 100}


def config(vmm, section):
    return vmm.ok("GET", "/vm/config")[section]


class TestInstance:
    def test_tells_its_name_and_state(self, launch):
        info = launch("--id", "machine-7").ok("GET", "/")
        assert info["id"] == "machine-7"
        assert info["state"] == "Not started"
        assert info["app_name"] and info["vmm_version"]

    def test_has_a_name_without_being_given_one(self, vmm):
        assert vmm.ok("GET", "/")["id"] == "anonymous-instance"

    def test_tells_its_version(self, vmm):
        version = vmm.ok("GET", "/version")["firecracker_version"]
        assert version == vmm.ok("GET", "/")["vmm_version"]


class TestMachine:
    def put(self, vmm, **fields):
        return vmm.put("/machine-config", {"vcpu_count": 1, "mem_size_mib": 128, **fields})

    def test_has_defaults(self, vmm):
        machine = vmm.ok("GET", "/machine-config")
        assert machine["vcpu_count"] == 1
        assert machine["mem_size_mib"] == 128
        assert machine["smt"] is False
        assert machine["track_dirty_pages"] is False
        assert machine["huge_pages"] == "None"
        assert machine.get("cpu_template", "None") == "None"

    @pytest.mark.parametrize("vcpus", [1, 2, 3, 31, 32])
    def test_takes_one_to_thirty_two_vcpus(self, vmm, vcpus):
        assert self.put(vmm, vcpu_count=vcpus).status == 204
        assert vmm.ok("GET", "/machine-config")["vcpu_count"] == vcpus

    @pytest.mark.parametrize("vcpus", [0, 33, 255, 256, -1, 1.5, "1", True, None, 2**64])
    def test_refuses_other_numbers_of_vcpus(self, vmm, vcpus):
        assert self.put(vmm, vcpu_count=vcpus).status == 400
        assert vmm.ok("GET", "/machine-config")["vcpu_count"] == 1

    def test_with_smt_vcpus_are_one_or_even(self, vmm):
        assert self.put(vmm, vcpu_count=1, smt=True).status == 204
        assert self.put(vmm, vcpu_count=4, smt=True).status == 204
        assert self.put(vmm, vcpu_count=3, smt=True).status == 400

    @pytest.mark.parametrize("memory", [0, -1, 1.5, "128", None, 2**64])
    def test_refuses_sizes_of_memory(self, vmm, memory):
        assert self.put(vmm, mem_size_mib=memory).status == 400

    @mvm_only
    def test_refuses_more_memory_than_any_host_has(self, vmm):
        assert self.put(vmm, mem_size_mib=2**40).status == 400

    @pytest.mark.parametrize("pages", ["Transparent", "2M"])
    def test_huge_pages_need_an_even_size(self, vmm, pages):
        assert self.put(vmm, mem_size_mib=129, huge_pages=pages).status == 400
        assert self.put(vmm, mem_size_mib=130, huge_pages=pages).status == 204

    def test_refuses_unknown_huge_pages(self, vmm):
        vmm.refuses(
            "PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": 2, "huge_pages": "7M"}, "7M"
        )

    def test_what_a_put_leaves_out_gets_its_default(self, vmm):
        assert self.put(vmm, smt=True, track_dirty_pages=True).status == 204
        assert self.put(vmm).status == 204
        machine = vmm.ok("GET", "/machine-config")
        assert machine["smt"] is False and machine["track_dirty_pages"] is False

    def test_a_patch_changes_only_what_it_names(self, vmm):
        assert self.put(vmm, vcpu_count=2, smt=True).status == 204
        vmm.ok("PATCH", "/machine-config", {"mem_size_mib": 256})
        machine = vmm.ok("GET", "/machine-config")
        assert (machine["vcpu_count"], machine["mem_size_mib"], machine["smt"]) == (2, 256, True)

    def test_a_patch_is_checked_with_what_stays(self, vmm):
        assert self.put(vmm, vcpu_count=3).status == 204
        vmm.refuses("PATCH", "/machine-config", {"smt": True})
        assert vmm.ok("GET", "/machine-config")["smt"] is False

    def test_an_empty_patch_is_refused(self, vmm):
        vmm.refuses("PATCH", "/machine-config", {}, "empty")

    def test_refuses_an_unknown_cpu_template(self, vmm):
        assert self.put(vmm, cpu_template="Z80").status == 400

    @mvm_only
    def test_cpu_templates_are_not_supported(self, vmm):
        assert "not supported" in self.put(vmm, cpu_template="T2").fault


class TestBootSource:
    def test_is_told(self, vmm):
        kernel, initrd = vmm.path("kernel", b"k"), vmm.path("initrd", b"i")
        body = {"kernel_image_path": kernel, "initrd_path": initrd, "boot_args": "quiet"}
        vmm.ok("PUT", "/boot-source", body)
        assert config(vmm, "boot-source") == body

    def test_may_be_replaced(self, vmm):
        vmm.ok("PUT", "/boot-source", {"kernel_image_path": vmm.path("a")})
        vmm.ok("PUT", "/boot-source", {"kernel_image_path": vmm.path("b")})
        assert config(vmm, "boot-source")["kernel_image_path"].endswith("/b")

    def test_a_file_that_is_not_there_is_refused(self, vmm):
        vmm.refuses("PUT", "/boot-source", {"kernel_image_path": "/nowhere/kernel"})
        body = {"kernel_image_path": vmm.path("k"), "initrd_path": "/nowhere/initrd"}
        vmm.refuses("PUT", "/boot-source", body)

    def test_a_command_line_longer_than_a_kernel_takes_is_refused(self, vmm):
        body = {"kernel_image_path": vmm.path("k"), "boot_args": "a" * 2048}
        vmm.refuses("PUT", "/boot-source", body, "command line")


class TestDrives:
    def ids(self, vmm):
        return [drive["drive_id"] for drive in config(vmm, "drives")]

    def test_are_told_with_their_defaults(self, vmm, drive):
        vmm.ok("PUT", "/drives/scratch", drive)
        (told,) = config(vmm, "drives")
        assert told.items() >= drive.items()
        assert told["cache_type"] == "Unsafe"
        assert told["io_engine"] == "Sync"
        assert told["rate_limiter"] is None

    def test_take_everything(self, vmm, drive):
        ops = {"size": 1, "one_time_burst": None, "refill_time": 1}
        limiter = {"bandwidth": BUCKET, "ops": ops}
        body = {**drive, "cache_type": "Writeback", "rate_limiter": limiter, "is_read_only": True}
        vmm.ok("PUT", "/drives/scratch", body)
        (told,) = config(vmm, "drives")
        assert told["cache_type"] == "Writeback"
        assert told["is_read_only"] is True
        assert told["rate_limiter"] == limiter

    def test_a_rate_limiter_may_be_empty(self, vmm, drive):
        vmm.ok("PUT", "/drives/scratch", {**drive, "rate_limiter": {}})

    @pytest.mark.parametrize(
        "limiter",
        [
            {"bandwidth": {"size": 1}},
            {"bandwidth": {"refill_time": 1}},
            {"bandwidth": {"size": -1, "refill_time": 1}},
            {"ops": {"size": 1, "refill_time": "1"}},
            {"speed": BUCKET},
            [],
        ],
    )
    def test_a_malformed_rate_limiter_is_refused(self, vmm, drive, limiter):
        if limiter == [] and IS_FIRECRACKER:
            pytest.skip("Firecracker takes the fields from an array too")
        vmm.refuses("PUT", "/drives/scratch", {**drive, "rate_limiter": limiter})

    def test_the_root_device_comes_first(self, vmm, drive):
        vmm.ok("PUT", "/drives/scratch", drive)
        vmm.ok("PUT", "/drives/root", {**drive, "drive_id": "root", "is_root_device": True})
        assert self.ids(vmm) == ["root", "scratch"]

    def test_there_is_one_root_device(self, vmm, drive):
        vmm.ok("PUT", "/drives/root", {**drive, "drive_id": "root", "is_root_device": True})
        vmm.refuses("PUT", "/drives/b", {**drive, "drive_id": "b", "is_root_device": True}, "root")
        assert self.ids(vmm) == ["root"]

    def test_the_same_id_replaces(self, vmm, drive):
        vmm.ok("PUT", "/drives/scratch", drive)
        vmm.ok("PUT", "/drives/scratch", {**drive, "is_read_only": True})
        (told,) = config(vmm, "drives")
        assert told["is_read_only"] is True

    def test_a_file_that_is_not_there_is_refused(self, vmm, drive):
        vmm.refuses("PUT", "/drives/scratch", {**drive, "path_on_host": "/nowhere/disk"})
        assert self.ids(vmm) == []

    @pytest.mark.parametrize(
        "field, value", [("cache_type", "writeback"), ("io_engine", "Turbo"), ("is_read_only", 1)]
    )
    def test_refuse_unknown_values(self, vmm, drive, field, value):
        vmm.refuses("PUT", "/drives/scratch", {**drive, field: value})

    @mvm_only
    def test_of_another_process_are_not_supported(self, vmm):
        body = {"drive_id": "a", "is_root_device": False, "socket": "/s"}
        vmm.refuses("PUT", "/drives/a", body, "not supported")


class TestNetwork:
    MAC = "06:00:ac:10:00:02"

    def test_is_told(self, vmm, network):
        vmm.ok("PUT", "/network-interfaces/eth0", {**network, "guest_mac": self.MAC})
        (told,) = config(vmm, "network-interfaces")
        assert told["iface_id"] == "eth0"
        assert told["host_dev_name"] == network["host_dev_name"]
        assert told["guest_mac"] == self.MAC

    def test_takes_rate_limiters(self, vmm, network):
        limiters = {"rx_rate_limiter": {"ops": BUCKET}, "tx_rate_limiter": {"bandwidth": BUCKET}}
        body = {**network, **limiters}
        vmm.ok("PUT", "/network-interfaces/eth0", body)
        (told,) = config(vmm, "network-interfaces")
        assert told["rx_rate_limiter"]["ops"] == BUCKET
        assert told["tx_rate_limiter"]["bandwidth"] == BUCKET

    @pytest.mark.parametrize(
        "mac", ["", "06:00:ac:10:00", "06-00-ac-10-00-02", "gg:00:ac:10:00:02", 6]
    )
    def test_refuses_a_malformed_mac(self, vmm, network, mac):
        vmm.refuses("PUT", "/network-interfaces/eth0", {**network, "guest_mac": mac})

    @pytest.mark.parametrize("mtu", [-1, 65536, "1500"])
    def test_refuses_an_mtu_out_of_range(self, vmm, network, mtu):
        vmm.refuses("PUT", "/network-interfaces/eth0", {**network, "mtu": mtu})

    @mvm_only
    def test_a_mac_is_used_once(self, vmm, network):
        vmm.ok("PUT", "/network-interfaces/eth0", {**network, "guest_mac": self.MAC})
        other = {"iface_id": "eth1", "host_dev_name": "tap1", "guest_mac": self.MAC}
        vmm.refuses("PUT", "/network-interfaces/eth1", other, self.MAC)

    @mvm_only
    def test_may_be_a_stream_of_a_user_mode_network(self, vmm):
        body = {"iface_id": "eth0", "socket_path": "/run/net.sock"}
        vmm.ok("PUT", "/network-interfaces/eth0", body)
        (told,) = config(vmm, "network-interfaces")
        assert told["socket_path"] == "/run/net.sock"
        assert "host_dev_name" not in told

    @mvm_only
    def test_has_one_host_side(self, vmm, network):
        vmm.refuses(
            "PUT", "/network-interfaces/eth0", {**network, "socket_path": "/n"}, "exactly one"
        )


class TestVsock:
    def test_is_told(self, vmm):
        body = {"guest_cid": 3, "uds_path": str(vmm.place / "v.sock")}
        vmm.ok("PUT", "/vsock", body)
        assert config(vmm, "vsock") == body

    @pytest.mark.parametrize("cid", [-1, 2**32, "3", None, 3.5])
    def test_refuses_what_is_no_context_id(self, vmm, cid):
        vmm.refuses("PUT", "/vsock", {"guest_cid": cid, "uds_path": "./v.sock"})

    @mvm_only
    @pytest.mark.parametrize("cid", [0, 1, 2, 2**32 - 1])
    def test_refuses_reserved_context_ids(self, vmm, cid):
        vmm.refuses("PUT", "/vsock", {"guest_cid": cid, "uds_path": "./v.sock"}, "guest_cid")

    def test_refuses_a_path_that_no_socket_has(self, vmm):
        vmm.refuses("PUT", "/vsock", {"guest_cid": 3, "uds_path": "/tmp/" + "v" * 200})


class TestBalloon:
    BODY = {
        "amount_mib": 64,
        "deflate_on_oom": True,
        "stats_polling_interval_s": 1,
        "free_page_hinting": False,
        "free_page_reporting": True,
    }

    def test_is_not_there_at_first(self, vmm):
        vmm.refuses("GET", "/balloon")
        assert config(vmm, "balloon") is None

    def test_is_told(self, vmm):
        vmm.ok("PUT", "/balloon", self.BODY)
        assert vmm.ok("GET", "/balloon") == self.BODY
        assert config(vmm, "balloon") == self.BODY

    def test_has_defaults(self, vmm):
        vmm.ok("PUT", "/balloon", {"amount_mib": 0, "deflate_on_oom": False})
        told = vmm.ok("GET", "/balloon")
        assert told["stats_polling_interval_s"] == 0
        assert told["free_page_reporting"] is False

    def test_is_not_larger_than_the_machine(self, vmm):
        vmm.refuses("PUT", "/balloon", {**self.BODY, "amount_mib": 129})
        vmm.ok("PUT", "/balloon", {**self.BODY, "amount_mib": 128})
        vmm.refuses("PATCH", "/machine-config", {"mem_size_mib": 64})

    @pytest.mark.parametrize("interval", [-1, 65536, "1", 0.5])
    def test_refuses_an_interval_out_of_range(self, vmm, interval):
        vmm.refuses("PUT", "/balloon", {**self.BODY, "stats_polling_interval_s": interval})


class TestSmallDevices:
    def test_entropy_is_told(self, vmm):
        assert config(vmm, "entropy") is None
        vmm.ok("PUT", "/entropy", {"rate_limiter": {"bandwidth": BUCKET}})
        assert config(vmm, "entropy")["rate_limiter"]["bandwidth"] == BUCKET

    def test_serial_takes_a_file_and_a_rate(self, vmm):
        body = {"serial_out_path": vmm.path("serial"), "rate_limiter": BUCKET}
        vmm.ok("PUT", "/serial", body)


class TestLogger:
    def test_writes_into_its_file(self, vmm):
        log = vmm.path("log")
        vmm.ok("PUT", "/logger", {"log_path": log, "level": "Info", "show_level": True})
        vmm.ok("GET", "/version")
        assert os.path.getsize(log) > 0

    @pytest.mark.parametrize("level", ["Error", "WARNING", "info", "Debug", "trace", "Off"])
    def test_levels_have_no_case(self, vmm, level):
        vmm.ok("PUT", "/logger", {"level": level})

    def test_refuses_an_unknown_level(self, vmm):
        vmm.refuses("PUT", "/logger", {"level": "loud"})

    def test_refuses_a_file_that_cannot_be_opened(self, vmm):
        vmm.refuses("PUT", "/logger", {"log_path": "/nowhere/log"})

    def test_does_not_repeat_metadata(self, vmm):
        log = vmm.path("log")
        vmm.ok("PUT", "/logger", {"log_path": log, "level": "Debug"})
        vmm.ok("PUT", "/mmds", {"password": "hunter2"})
        vmm.put("/mmds", '{"password": hunter3}')
        text = (vmm.place / "log").read_text() + vmm.printed()
        assert "hunter2" not in text
        if not IS_FIRECRACKER:
            assert "hunter3" not in text


class TestMetrics:
    def test_have_one_file(self, vmm):
        body = {"metrics_path": vmm.path("metrics")}
        vmm.ok("PUT", "/metrics", body)
        vmm.refuses("PUT", "/metrics", body)

    def test_refuse_a_file_that_cannot_be_opened(self, vmm):
        vmm.refuses("PUT", "/metrics", {"metrics_path": "/nowhere/metrics"})


class TestMmds:
    DATA = {"latest": {"meta-data": {"ami-id": "ami-12", "n": 1, "list": [1, None, "x"]}}}

    def test_is_empty_at_first(self, vmm):
        assert vmm.ok("GET", "/mmds") == {}

    def test_is_told_as_it_was_given(self, vmm):
        vmm.ok("PUT", "/mmds", self.DATA)
        assert vmm.ok("GET", "/mmds") == self.DATA
        vmm.ok("PUT", "/mmds", {})
        assert vmm.ok("GET", "/mmds") == {}

    def test_is_merged_by_a_patch(self, vmm):
        vmm.ok("PUT", "/mmds", self.DATA)
        vmm.ok("PATCH", "/mmds", {"latest": {"meta-data": {"n": None, "m": 2}}, "new": "y"})
        assert vmm.ok("GET", "/mmds") == {
            "latest": {"meta-data": {"ami-id": "ami-12", "list": [1, None, "x"], "m": 2}},
            "new": "y",
        }

    def test_a_patch_needs_something_to_change(self, vmm):
        vmm.refuses("PATCH", "/mmds", {"a": 1})

    def test_has_a_limit_of_its_own(self, launch):
        vmm = launch("--mmds-size-limit", 60)
        vmm.ok("PUT", "/mmds", {"a": "x" * 20})
        too_large = vmm.put("/mmds", {"a": "x" * 100})
        assert too_large.status == 413 and too_large.fault
        grown = vmm.patch("/mmds", {"b": "x" * 40})
        assert grown.status == 413 and grown.fault
        assert vmm.ok("GET", "/mmds") == {"a": "x" * 20}

    def test_may_be_given_with_the_start(self, launch, tmp_path):
        (tmp_path / "metadata.json").write_text('{"from": "file"}')
        vmm = launch("--metadata", tmp_path / "metadata.json")
        assert vmm.ok("GET", "/mmds") == {"from": "file"}

    def test_its_configuration_is_told(self, vmm, network):
        vmm.ok("PUT", "/network-interfaces/eth0", network)
        body = {"version": "V2", "network_interfaces": ["eth0"], "ipv4_address": "169.254.170.2"}
        vmm.ok("PUT", "/mmds/config", body)
        assert config(vmm, "mmds-config").items() >= body.items()

    def test_its_first_version_is_deprecated(self, vmm, network):
        vmm.ok("PUT", "/network-interfaces/eth0", network)
        answer = vmm.put("/mmds/config", {"network_interfaces": ["eth0"]})
        assert answer.status == 204
        assert answer.headers["Deprecation"] == "true"

    def test_answers_on_interfaces_that_there_are(self, vmm):
        vmm.refuses("PUT", "/mmds/config", {"network_interfaces": ["eth7"]})
        vmm.refuses("PUT", "/mmds/config", {"network_interfaces": []})

    @pytest.mark.parametrize(
        "address", ["10.0.0.1", "169.254.0.1", "169.254.255.1", "x", "169.254.1", 7]
    )
    def test_answers_on_a_link_local_address(self, vmm, network, address):
        vmm.ok("PUT", "/network-interfaces/eth0", network)
        body = {"network_interfaces": ["eth0"], "ipv4_address": address}
        vmm.refuses("PUT", "/mmds/config", body)

    def test_has_two_versions(self, vmm):
        vmm.refuses("PUT", "/mmds/config", {"version": "V3", "network_interfaces": ["eth0"]}, "V3")


class TestBeforeTheStart:
    @pytest.mark.parametrize(
        "method, path, body",
        [
            ("PATCH", "/vm", {"state": "Paused"}),
            ("PATCH", "/vm", {"state": "Resumed"}),
            ("PUT", "/actions", {"action_type": "FlushMetrics"}),
            ("PUT", "/actions", {"action_type": "SendCtrlAltDel"}),
            ("PUT", "/snapshot/create", {"snapshot_path": "./s", "mem_file_path": "./m"}),
            ("PATCH", "/drives/a", {"drive_id": "a", "path_on_host": "/nowhere"}),
            ("PATCH", "/network-interfaces/e", {"iface_id": "e"}),
            ("PATCH", "/balloon", {"amount_mib": 1}),
            ("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 1}),
            ("PATCH", "/balloon/hinting/start", None),
            ("PATCH", "/balloon/hinting/stop", None),
            ("GET", "/balloon/hinting/status", None),
            ("GET", "/balloon/statistics", None),
        ],
    )
    def test_what_needs_a_machine_is_refused(self, vmm, method, path, body):
        vmm.refuses(method, path, body, "not supported before starting")

    def test_a_machine_without_a_kernel_does_not_start(self, vmm):
        vmm.refuses("PUT", "/actions", {"action_type": "InstanceStart"})
        assert vmm.state() == "Not started"

    def test_an_unknown_action_is_refused(self, vmm):
        vmm.refuses("PUT", "/actions", {"action_type": "Explode"}, "Explode")

    def test_an_unknown_state_is_refused(self, vmm):
        vmm.refuses("PATCH", "/vm", {"state": "Running"}, "Running")


class TestEmptyConfiguration:
    def test_has_every_section(self, vmm):
        told = vmm.ok("GET", "/vm/config")
        assert told["drives"] == []
        assert told["network-interfaces"] == []
        assert told["machine-config"] == vmm.ok("GET", "/machine-config")
        for section in ("vsock", "entropy", "balloon", "mmds-config"):
            assert told[section] is None

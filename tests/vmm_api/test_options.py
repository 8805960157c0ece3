# SPDX-License-Identifier: Apache-2.0
"""The command line, as far as the API meets it."""

import json
import subprocess

import pytest

import guests
from vmm import BINARY, PATIENCE, eventually


def run(*arguments):
    return subprocess.run(
        [BINARY, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )


def test_tells_its_version():
    done = run("--version")
    assert done.returncode == 0
    assert any(character.isdigit() for character in done.stdout.decode())


def test_an_unknown_option_is_refused(tmp_path):
    assert run("--api-sock", tmp_path / "s", "--colour", "red").returncode != 0


@pytest.mark.parametrize("name", ["a_b", "../x", "x" * 65, ""])
def test_a_malformed_id_is_refused(tmp_path, name):
    assert run("--api-sock", tmp_path / "s", "--id", name).returncode != 0


def test_a_socket_that_is_there_is_not_taken(vmm):
    assert run("--api-sock", vmm.socket).returncode != 0
    assert vmm.get("/version").status == 200


def test_metadata_that_is_not_json_is_refused(vmm):
    path = vmm.path("metadata", b"not json")
    assert run("--api-sock", vmm.place / "other.sock", "--metadata", path).returncode != 0


class TestConfigFile:
    def write(self, place, kernel, **sections):
        (place / "kernel").write_bytes(kernel)
        source = {"kernel_image_path": str(place / "kernel"), "boot_args": "console=ttyS0"}
        path = place / "config.json"
        path.write_text(json.dumps({"boot-source": source, "drives": [], **sections}))
        return path

    def test_starts_a_machine_without_an_api(self, kvm, launch, tmp_path):
        path = self.write(tmp_path, guests.resetting())
        vmm = launch("--no-api", "--config-file", path, api=False)
        assert vmm.ends() == 0
        assert "up\n" in vmm.said()

    def test_starts_a_machine_with_an_api(self, kvm, launch, tmp_path):
        machine = {"vcpu_count": 2, "mem_size_mib": 64}
        path = self.write(tmp_path, guests.idle(), **{"machine-config": machine})
        vmm = launch("--config-file", path)
        vmm.says("up\n")
        eventually(lambda: vmm.state() == "Running", "the machine's start")
        assert vmm.ok("GET", "/machine-config").items() >= machine.items()
        vmm.refuses("PUT", "/actions", {"action_type": "InstanceStart"}, "after starting")

    @pytest.mark.parametrize(
        "text",
        ["", "{", "[]", "{}", '{"boot-source": {"kernel_image_path": "/nowhere"}, "drives": []}'],
        ids=["empty", "half", "array", "no-kernel", "no-file"],
    )
    def test_that_describes_no_machine_is_refused(self, tmp_path, text):
        path = tmp_path / "config.json"
        path.write_text(text)
        assert run("--no-api", "--config-file", path).returncode != 0

    def test_with_an_unknown_field_is_refused(self, tmp_path):
        machine = {"vcpu_count": 1, "mem_size_mib": 64, "colour": "red"}
        path = self.write(tmp_path, guests.idle(), **{"machine-config": machine})
        assert run("--no-api", "--config-file", path).returncode != 0


@pytest.mark.mvm_only
class TestTermination:
    def test_by_a_signal_ends_with_the_last_metrics(self, launch):
        vmm = launch("--metrics-path", "metrics")
        assert vmm.get("/version").status == 200
        vmm.process.terminate()
        assert vmm.ends() == 128 + 15
        assert len((vmm.place / "metrics").read_text().splitlines()) == 1
        assert not (vmm.place / "api.sock").exists()

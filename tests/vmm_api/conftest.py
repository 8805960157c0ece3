# SPDX-License-Identifier: Apache-2.0
"""Conformance of a monitor with Firecracker's API.

MVM_VMM=PATH or FIRECRACKER=PATH names the binary; with FIRECRACKER the tests of what only mvm-vmm
does are skipped. MVM_VMM_KERNEL and MVM_VMM_INITRD name a stock kernel and its initramfs for the
tests that need a real guest.
"""

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

import guests
from vmm import BINARY, IS_FIRECRACKER, Vmm

KVM_GET_API_VERSION = 0xAE00
KVM_CREATE_VM = 0xAE01


def pytest_configure(config):
    config.addinivalue_line("markers", "mvm_only: what Firecracker does not do, or does not refuse")


def pytest_collection_modifyitems(items):
    for item in items:
        if IS_FIRECRACKER and item.get_closest_marker("mvm_only"):
            item.add_marker(pytest.mark.skip(reason="only mvm-vmm does this"))


def pytest_sessionstart():
    if not os.access(BINARY, os.X_OK):
        pytest.exit("MVM_VMM or FIRECRACKER must name the monitor to be tested", returncode=2)


def kvm_problem():
    """Why no machine can be made here, if so."""
    try:
        device = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    try:
        if fcntl.ioctl(device, KVM_GET_API_VERSION) != 12:
            return "/dev/kvm has another API"
        os.close(fcntl.ioctl(device, KVM_CREATE_VM, 0))
    except OSError as error:
        return f"/dev/kvm makes no machine: {error.strerror}"
    finally:
        os.close(device)
    return None


def hardware_problem():
    """Why no stock kernel can run here, if so."""
    flags = Path("/proc/cpuinfo").read_text().split()
    if not {"vmx", "svm"} & set(flags):
        return "the processor has no virtualisation; its KVM interprets"
    return kvm_problem()


@pytest.fixture
def launch():
    """Starts monitors, which end with the test."""
    running = []

    def start(*arguments, **options):
        running.append(Vmm(*arguments, **options))
        return running[-1]

    yield start
    for vmm in running:
        vmm.destroy()


@pytest.fixture
def vmm(launch):
    """A fresh monitor, with nothing configured."""
    return launch()


@pytest.fixture(scope="session")
def kvm():
    problem = kvm_problem()
    if problem:
        pytest.skip(problem)


@pytest.fixture
def idle(kvm, launch):
    """A monitor whose machine is ready to be started and then halts."""
    vmm = launch()
    vmm.set_kernel(guests.idle())
    return vmm


@pytest.fixture
def running(idle):
    """A monitor whose machine has started and halted."""
    idle.start()
    idle.says("up\n")
    return idle


@pytest.fixture
def ticking(kvm, launch):
    """A monitor whose machine is ready to be started and then prints dots."""
    vmm = launch()
    vmm.set_kernel(guests.ticking())
    return vmm


@pytest.fixture(scope="session")
def stock_kernel():
    """(kernel, initramfs) of a real guest."""
    kernel = os.environ.get("MVM_VMM_KERNEL")
    if not kernel:
        pytest.skip("MVM_VMM_KERNEL names no kernel")
    problem = hardware_problem()
    if problem:
        pytest.skip(problem)
    return kernel, os.environ.get("MVM_VMM_INITRD")


@pytest.fixture
def drive(vmm):
    """The body of a drive on a file of 1 MiB."""
    path = vmm.path("disk", bytes(1 << 20))
    return {
        "drive_id": "scratch",
        "path_on_host": path,
        "is_root_device": False,
        "is_read_only": False,
    }


@pytest.fixture(scope="session")
def tap():
    """The name of a tap device."""
    name = f"mvmtest{os.getpid() % 10000}"
    made = subprocess.run(
        ["ip", "tuntap", "add", name, "mode", "tap"], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"no tap device can be made here: {made.stderr.strip()}")
    yield name
    subprocess.run(["ip", "tuntap", "del", name, "mode", "tap"], check=True)


@pytest.fixture
def network(request):
    """The body of a network interface eth0 that the monitor takes before the start."""
    if IS_FIRECRACKER:
        return {"iface_id": "eth0", "host_dev_name": request.getfixturevalue("tap")}
    return {"iface_id": "eth0", "host_dev_name": "tap0"}

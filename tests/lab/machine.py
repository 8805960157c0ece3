# SPDX-License-Identifier: Apache-2.0
"""The lab's machine: QEMU emulating an AMD processor with SVM and nested paging, cold or from a snapshot.

A snapshot is the machine's memory as a file, which QEMU maps privately, and the state of its devices. The root disk is never
written to, and the scratch disk is not yet mounted, so no disk belongs to a snapshot.
"""

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import counter
import protocol
from place import QEMU_LOG, SCRATCH, SERIAL_LOG, SOURCE, LabError, make_disk, write_atomic

QEMU = "qemu-system-x86_64"
CPUS = int(os.environ.get("MVM_LAB_CPUS") or min(max(os.cpu_count() or 2, 2), 8))
MEMORY = os.environ.get("MVM_LAB_MEMORY") or "8G"
BOOT_SECONDS = float(os.environ.get("MVM_LAB_BOOT_SECONDS") or 120)
RESTORE_SECONDS = 30
READY = "lab: ready"


def digest(*parts):
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def texts(*paths):
    return "".join(f"{path.name}\n{path.read_text()}" for path in paths)


def image_key():
    return digest(texts(SOURCE / "make_image", SOURCE / "packages.txt"))


def make_image(directory):
    # In namespaces of its own, so that it ends with us wherever it is, and leaves no mount.
    alone = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount-proc", "--pid", "--fork", "--kill-child"]
    if os.geteuid() != 0:
        raise LabError("the lab's image can only be made by root")
    done = subprocess.run([*alone, SOURCE / "make_image", directory], stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise LabError("the image could not be made; see the messages above")


def host_processor():
    """The emulated processor counts time by the host's, and emulates what the host's can do."""
    text = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    return re.sub(r"(?m)^(cpu MHz|bogomips)\s*:.*\n?", "", text)


def snapshot_key(image):
    version = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout
    words = arguments(image, Path("SNAPSHOT"), shared=False)
    guest = texts(SOURCE / "make_initrd", SOURCE / "protocol.py", *sorted((SOURCE / "guest").glob("[!_]*")))
    return digest(image.name, version, " ".join(map(str, words)), host_processor(), guest)


def arguments(image, snapshot, *, shared, more_kernel=""):
    share = "on" if shared else "off"
    kernel = "console=ttyS0 loglevel=5 panic=-1 mitigations=off tsc=reliable init_on_alloc=0 kvm.halt_poll_ns=0"
    forward = f"hostfwd=tcp:127.0.0.1:0-:{protocol.GUEST_PORT}"
    return [
        *(QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-M", "q35,usb=off,memory-backend=ram", "-cpu", "max,+svm,+npt,-vgif,-v-vmsave-vmload,-erms", "-smp", str(CPUS), "-m", MEMORY),
        *("-accel", "tcg,thread=multi,tb-size=512"),
        *("-object", f"memory-backend-file,id=ram,size={MEMORY},mem-path={snapshot / 'ram'},share={share}"),
        *("-kernel", image / "vmlinuz", "-initrd", snapshot / "initrd", "-append", kernel + more_kernel),
        *("-drive", f"if=none,id=root,file={image / 'root.img'},format=raw,readonly=on"),
        *("-device", "virtio-blk-pci,drive=root"),
        *("-drive", f"if=none,id=scratch,file={SCRATCH},format=raw,cache=unsafe,discard=unmap"),
        *("-device", "virtio-blk-pci,drive=scratch"),
        *("-netdev", f"user,id=net,{forward}", "-device", "virtio-net-pci,netdev=net,romfile="),
        *("-device", "virtio-rng-pci", "-serial", "stdio"),
    ]


def tail(path, lines=25):
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join("  | " + line.rstrip() for line in text.splitlines()[-lines:])


class Machine:
    def __init__(self, argv):
        ours, theirs = socket.socketpair()
        ours.settimeout(BOOT_SECONDS)
        monitor = ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control"]
        self.ready = threading.Event()
        with theirs, open(QEMU_LOG, "w") as log:
            self.process = subprocess.Popen(
                # QEMU ends with us, whatever ends us.
                ["setpriv", "--pdeathsig", "KILL", *map(str, argv), *monitor],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[theirs.fileno()],
            )
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()
        self.socket = ours
        self.monitor = ours.makefile("rwb")
        self._line()  # the greeting
        self.command("qmp_capabilities")

    def _listen(self):
        """Keeps the serial log; the guest says on its console when it takes commands."""
        with open(SERIAL_LOG, "wb", buffering=0) as log:
            for line in self.process.stdout:
                log.write(line)
                if READY.encode() in line:
                    self.ready.set()
        self.ready.set()  # QEMU is gone: nobody shall wait for it

    def _line(self):
        try:
            line = self.monitor.readline()
        except TimeoutError:
            raise LabError("QEMU does not answer on its monitor") from None
        except OSError:
            line = b""
        return json.loads(line) if line else self._ended()

    def _ended(self):
        self.process.wait(10)
        raise LabError(f"QEMU ended with code {self.process.returncode}:\n{tail(QEMU_LOG)}")

    def command(self, name, **parameters):
        request = {"execute": name, "arguments": parameters}
        try:
            self.monitor.write(json.dumps(request).encode() + b"\n")
            self.monitor.flush()
        except OSError:
            self._ended()
        while True:
            answer = self._line()
            if "error" in answer:
                raise LabError(f"QEMU refuses {name}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def _migration_end(self, seconds):
        deadline = time.monotonic() + seconds
        while (status := self.command("query-migrate").get("status")) != "completed":
            if status == "failed":
                raise LabError(f"the machine's state could not be moved:\n{tail(QEMU_LOG)}")
            if time.monotonic() > deadline:
                raise LabError(f"the machine's state is not moved after {seconds:.0f} s (status {status})")
            time.sleep(0.01)

    def _only_devices(self):
        """The memory is a file already: a migration stream need not hold it."""
        wanted = [{"capability": "x-ignore-shared", "state": True}]
        self.command("migrate-set-capabilities", capabilities=wanted)

    def wait_until_ready(self, seconds):
        if not self.ready.wait(seconds):
            raise LabError(
                f"the guest did not say '{READY}' within {seconds:.0f} s (MVM_LAB_BOOT_SECONDS);"
                f" the end of {SERIAL_LOG}:\n{tail(SERIAL_LOG)}"
            )
        if self.process.poll() is not None:
            raise LabError(
                f"QEMU ended with code {self.process.returncode} before the guest was up:\n"
                f"{tail(QEMU_LOG)}\nthe end of {SERIAL_LOG}:\n{tail(SERIAL_LOG)}"
            )

    def save(self, path):
        self.command("stop")
        self._only_devices()
        self.command("migrate", uri=f"exec:cat > {shlex.quote(str(path))}")
        self._migration_end(60)

    def load(self, path):
        self._only_devices()
        self.command("migrate-incoming", uri=f"exec:cat {shlex.quote(str(path))}")
        self._migration_end(RESTORE_SECONDS)
        self.command("cont")  # it was frozen while it stood still

    def port(self):
        """Of the runner, on the loopback address."""
        text = self.command("human-monitor-command", **{"command-line": "info usernet"})
        found = re.search(r"HOST_FORWARD\S*\s+\d+\s+127\.0\.0\.1\s+(\d+)", text)
        if not found:
            raise LabError(f"QEMU has no port for the runner:\n{text}")
        return int(found[1])

    def processors(self):
        """What each of them does: twice, to tell one that stands from one that turns in circles."""
        self.socket.settimeout(10)
        command = {"command-line": "info registers -a"}
        with contextlib.suppress(LabError):
            text = "\n".join(self.command("human-monitor-command", **command) for _ in range(2))
            return "\n".join(re.findall(r"(?m)^(?:CPU#|R|CR|EFER).*$", text))
        return "QEMU does not answer on its monitor"

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self.listener.join()
        self.socket.close()


def make_snapshot(image, directory):
    """Boots a machine, and freezes it as soon as it takes commands."""
    make_disk(SCRATCH)  # of the same size as every later one, and never looked into
    write_atomic(directory / "token", os.urandom(16).hex())
    command = [SOURCE / "make_initrd", image, directory / "token", directory / "initrd"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    # What the kernel measures itself against an emulated clock may be wrong by a factor of 30 on a busy host, and the
    # snapshot would keep it: seconds in the lab would pass in milliseconds. Not part of the key, and a start does not need it.
    rate = f" tsc_early_khz={counter.khz()}"
    machine = Machine(arguments(image, directory, shared=True, more_kernel=rate))
    try:
        machine.wait_until_ready(BOOT_SECONDS)
        machine.save(directory / "devices")
    finally:
        machine.end()
        SCRATCH.unlink()
    shutil.copy(SERIAL_LOG, directory / "serial.log")


def restore(image, snapshot):
    """A running machine, and the token of its runner."""
    token = (snapshot / "token").read_text()
    machine = Machine(
        [*arguments(image, snapshot, shared=False), "-incoming", "defer"]
    )
    try:
        machine.load(snapshot / "devices")
    except BaseException:
        machine.end()
        raise
    return machine, token

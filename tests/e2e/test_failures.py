# SPDX-License-Identifier: Apache-2.0
"""Machines that cannot start, guests that break, hosts that lack something: each says what and what to do."""

import os
import shutil
import subprocess
import time

import pytest
from mvm import MVMCTL, Home, processes_of

MIB = 1 << 20


def failed(done, *words, code=125):
    assert done.code == code, done
    for word in words:
        assert word.lower() in done.errors.lower(), done
    return done


def test_unknown_image_is_named(home):
    failed(home.run("run", "dir:/no/such/tree", "--", "true"), "/no/such/tree", "hint:")


def test_guest_that_panics_during_run_is_told_with_the_kernel_s_words(home):
    done = home.run("run", "--", "sh", "-c", "echo c > /proc/sysrq-trigger; sleep 60")
    failed(done, "guest kernel panic", "sysrq")
    assert done.seconds < 15


def test_guest_that_panics_in_the_background_is_shown_by_ls_inspect_and_exec(home):
    home.up("p")
    home.run("exec", "p", "--", "sh", "-c", "echo c > /proc/sysrq-trigger; sleep 60")
    home.run("wait", "--for", "stopped", "--timeout", "20s", "p")
    seen = home.inspect("p")
    assert seen["state"] == "failed"
    assert "guest kernel panic" in seen["message"]
    assert "panic" in home.ok("ls").text
    failed(home.run("exec", "p", "--", "true"), "'p' is failed", "panic")
    assert "sysrq" in home.ok("logs", "--console", "p").text
    home.ok("rm", "p")


def test_kernel_without_an_init_is_a_panic_with_its_reason(home):
    done = home.run(
        "run", "--cmdline-extra", "rdinit=/bin/nonexistent", "--boot-timeout", "15s", "--", "true"
    )
    failed(done, "panic")


def test_guest_that_never_gets_ready_is_given_up_after_the_boot_timeout(home):
    # The kernel boots and waits for a root device that does not come.
    done = home.run(
        "run",
        "--cmdline-extra",
        "rdinit=/nothing root=/dev/nothing rootwait",
        "--boot-timeout",
        "3s",
        "--",
        "true",
    )
    failed(done, "not ready within 3s")
    assert 2.5 < done.seconds < 10


def test_up_that_times_out_leaves_a_failed_machine_to_look_at(home):
    args = ["--cmdline-extra", "rdinit=/nothing root=/dev/nothing rootwait", "--boot-timeout", "2s"]
    failed(home.run("up", "--name", "slow", *args), "not ready within 2s", "hint:")
    assert home.machines()["slow"]["state"] == "failed"
    home.ok("rm", "slow")


def test_missing_kernel_file_is_named(home):
    failed(home.run("run", "--kernel", "/no/vmlinux", "--", "true"), "/no/vmlinux")


def test_file_that_is_no_kernel_is_refused(home):
    (home.work / "text").write_text("not a kernel\n" * 1000)
    failed(home.run("run", "--kernel", home.work / "text", "--", "true"), "text", "kernel")


def test_truncated_kernel_is_refused_or_given_up(home):
    kernel = home.json("kernel", "ls", "--json")["kernels"][0]["path"]
    with open(kernel, "rb") as whole:
        (home.work / "half").write_bytes(whole.read(10 * MIB))
    failed(
        home.run("run", "--kernel", home.work / "half", "--boot-timeout", "5s", "--", "true"),
        "mvmctl:",
    )


def test_given_kernel_file_boots(home):
    kernel = home.json("kernel", "ls", "--json")["kernels"][0]["path"]
    shutil.copy(kernel, home.work / "vmlinux")
    done = home.run("run", "-q", "--kernel", home.work / "vmlinux", "--", "uname", "-s", timeout=60)
    assert (done.code, done.text) == (0, "Linux\n"), done


def test_memory_below_what_boots_is_refused_with_the_bound(home):
    failed(home.run("run", "--memory", "32M", "--", "true"), "32", "96", "--memory", code=64)


def test_least_memory_that_is_accepted_boots(home):
    assert home.ok("run", "-q", "--memory", "96M", "--", "echo", "fits").text == "fits\n"


def test_memory_beyond_the_host_s_is_an_error_of_the_engine_or_refused(home):
    done = home.run("run", "--memory", "1000G", "--", "true")
    failed(done, "memory")


def test_guest_that_runs_out_of_memory_loses_the_process_and_not_the_machine(home):
    home.up("small", "--ephemeral", memory="128M")
    done = home.run("exec", "small", "--", "sh", "-c", "x=a; while :; do x=$x$x; done", timeout=60)
    assert done.code in (1, 2, 137), done
    assert home.ok("exec", "small", "--", "echo", "alive").text == "alive\n"
    home.ok("rm", "-f", "small")


def test_other_architecture_is_refused(home):
    done = home.run("run", "--arch", "aarch64", "--", "true")
    assert done.code == 125, done
    assert "aarch64" in done.errors
    assert "hint:" in done.errors


def test_unknown_backend_is_named(home):
    done = home.run("run", "--backend", "hyperv", "--", "true")
    assert done.code in (64, 125), done
    assert "hyperv" in done.errors


@pytest.fixture
def tools(home):
    """A PATH with what the host has, less what the test takes away; /sbin and /usr/sbin stay the host's."""
    folder = home.work / "bin"
    folder.mkdir()
    for source in ("/bin", "/usr/bin"):
        for name in os.listdir(source):
            if not (folder / name).is_symlink():
                (folder / name).symlink_to(f"{source}/{name}")

    def without(*names):
        for path in list(folder.iterdir()):
            if path.name.startswith(names):
                path.unlink()
        return {"PATH": str(folder)}

    return without


def test_host_without_qemu_is_told_what_to_install(home, tools):
    env = tools("qemu-system")
    done = home.run("run", "--", "true", env=env)
    failed(done, "qemu", "apt", "hint:")
    assert "qemu" in home.run("doctor", env=env).text


def test_host_without_skopeo_is_told_what_to_install(home, tools):
    failed(
        home.run("image", "pull", "127.0.0.1:1/x:1", env=tools("skopeo")),
        "skopeo",
        "apt-get install",
    )


def test_host_without_erofs_tools_is_told_what_to_install(home, tools):
    (home.work / "tree").mkdir()
    failed(
        home.run("image", "pull", "dir:tree", env=tools("mkfs.erofs")), "mkfs.erofs", "erofs-utils"
    )


def test_flood_of_the_console_is_bounded_and_the_machine_stays_responsive(home):
    home.up("flood", "--cpus", "2")
    home.ok(
        "exec",
        "flood",
        "--",
        "sh",
        "-c",
        "(while :; do cat /proc/kallsyms > /dev/ttyS0; done) >/dev/null 2>&1 &",
    )
    folder = home.vm_dir("flood")
    for _ in range(5):
        assert home.ok("exec", "flood", "--", "echo", "here", timeout=30).text == "here\n"
        time.sleep(0.5)
    assert sum(p.stat().st_size for p in folder.glob("console.log*")) < 34 * MIB
    done = home.ok("stop", "--time", "1s", "flood")
    assert done.seconds < 8, done
    home.ok("rm", "flood")


def test_console_escape_sequences_are_not_printed_by_ls_or_errors(home):
    home.up("esc")
    home.run(
        "exec",
        "esc",
        "--",
        "sh",
        "-c",
        "printf '\\033]0;owned\\007\\033[31m\\n' > /dev/kmsg; echo c > /proc/sysrq-trigger",
    )
    home.run("wait", "--for", "stopped", "--timeout", "20s", "esc")
    assert b"\x1b" not in home.ok("ls").out
    assert b"\x1b" not in home.run("exec", "esc", "--", "true").err
    home.ok("rm", "esc")


def test_nobody_in_the_guest_can_open_the_agent_s_channel_beside_it(home):
    # What can stop the agent or take its descriptor can: test_debian.py does.
    done = home.run(
        "run", "-q", "--", "sh", "-c", "ls /dev/vport*; echo x > $(ls -d /dev/vport* | head -n 1)"
    )
    assert done.code == 1, done
    assert "busy" in done.errors


def test_guest_that_takes_the_agent_s_channel_away_is_told(home):
    home.up("cut")
    script = (
        "cd /sys/bus/virtio/drivers/virtio_console && for d in virtio*; do echo $d > unbind; done"
    )
    home.run("exec", "--timeout", "500ms", "cut", "--", "sh", "-c", script, timeout=30)
    done = home.run("exec", "--timeout", "500ms", "cut", "--", "true", timeout=30)
    assert done.code in (124, 125), done
    assert home.ok("stop", "--time", "1s", "cut", timeout=30).seconds < 10
    home.ok("rm", "cut")


def test_guest_that_kills_its_agent_is_a_panic(home):
    # pid 1 has no default handlers: SIGKILL from inside its namespace is ignored, SIGSEGV too.
    home.up("a")
    home.run("exec", "a", "--", "sh", "-c", "kill -9 1; kill -SEGV 1; kill -TERM 1; kill -INT 1")
    assert home.ok("exec", "a", "--", "echo", "still").text == "still\n"
    home.ok("rm", "-f", "a")


def test_guest_that_powers_off_or_reboots_says_so(home):
    for command, word in (("poweroff -f", "power"), ("reboot -f", "reboot")):
        home.up("off")
        home.run("exec", "off", "--", "sh", "-c", command)
        home.run("wait", "--for", "stopped", "--timeout", "20s", "off")
        seen = home.inspect("off")
        assert word in seen["message"], seen
        home.ok("rm", "off")


def test_engine_that_is_killed_is_named_and_nothing_is_left(home):
    process = home.popen("run", "-q", "--", "sh", "-c", "echo up; exec sleep 4716")
    assert process.stdout.readline() == b"up\n"
    engine = [pid for pid, line in processes_of(home.path).items() if "qemu-system" in line]
    os.kill(engine[0], 9)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 125
    assert b"qemu" in err and b"signal 9" in err.lower() or b"kill" in err.lower(), err


def test_engine_that_is_stopped_does_not_hang_the_verbs_without_bound(home):
    home.up("frozen")
    engine = home.inspect("frozen")["engine_pid"]
    os.kill(engine, 19)
    assert home.machines()["frozen"]["state"] == "running"
    done = home.run("exec", "--timeout", "1s", "frozen", "--", "true", timeout=30)
    assert done.code == 124, done
    done = home.ok("stop", "--time", "1s", "frozen", timeout=30)
    assert done.seconds < 10
    home.ok("rm", "frozen")


def test_home_with_a_long_path_works_or_is_told(seed):
    home = Home(seed)
    long = home.path.parent / ("x" * 100)
    home.path.rename(long)
    home.path = long
    done = home.run("run", "-q", "--", "echo", "fine")
    home.destroy()
    assert (done.code, done.text) == (0, "fine\n") or "too long" in done.errors, done


def test_home_that_is_no_absolute_path_is_refused(home):
    done = home.run("ls", env={"MVM_HOME": "relative"})
    assert done.code == 64, done
    assert "MVM_HOME" in done.errors


def test_broken_configuration_is_named_by_file_and_line(home):
    (home.path / "config").mkdir()
    (home.path / "config/config.toml").write_text("memory = = 1\n")
    done = home.run("run", "--", "true")
    assert done.code in (64, 125), done
    assert "config.toml" in done.errors


def test_broken_catalogue_is_named(home):
    (home.path / "data/catalog.db").write_bytes(b"this is no database" * 1000)
    done = home.run("ls")
    assert done.code == 125, done
    assert "catalog.db" in done.errors
    (home.path / "data/catalog.db").unlink()


def test_installation_that_lacks_its_supervisor_says_which_file(home):
    (home.work / "bin").mkdir()
    shutil.copy(MVMCTL, home.work / "bin/mvmctl")
    done = subprocess.run(
        [home.work / "bin/mvmctl", "run", "--", "true"],
        env=home.env(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 125
    assert "mvm-supervisor is missing" in done.stderr
    assert "hint:" in done.stderr

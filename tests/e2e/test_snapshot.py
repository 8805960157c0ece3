# SPDX-License-Identifier: Apache-2.0
"""snapshot create, ls, inspect, rm, restore: machines as they were, and new ones that go on from there."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from mvm import BACKEND, SLOWNESS, free_port, in_own_mounts, wait_until

saves = pytest.mark.skipif(
    BACKEND != "mvm-vmm", reason=f"the {BACKEND} backend has no snapshots: in the lab"
)

COUNTER = "i=0; while :; do i=$((i+1)); echo $i > /tmp/count; sleep 0.05; done"


@pytest.fixture
def box(home):
    home.up("box")
    yield home
    names = home.ok("snapshot", "ls", "-q").text.split()
    if names:
        home.ok("snapshot", "rm", *names)
    home.ok("rm", "-f", "--all")


def in_guest(home, name, script):
    return home.ok("exec", name, "--", "sh", "-c", script).text


def saved(home, name="warm", machine="box"):
    assert home.ok("snapshot", "create", machine, "--name", name, timeout=300).text == name + "\n"


def restored(home, name, snapshot="warm", *args):
    done = home.ok("snapshot", "restore", snapshot, "--name", name, "-q", *args, timeout=300)
    assert done.text == name + "\n"


@pytest.mark.skipif(BACKEND != "qemu", reason="of QEMU")
def test_an_engine_without_snapshots_says_so_and_its_machine_goes_on(box):
    done = box.run("snapshot", "create", "box")
    assert done.code != 0, done
    assert "the qemu backend has no snapshots" in done.errors, done
    assert "mvm-vmm" in done.errors, done
    assert in_guest(box, "box", "echo here") == "here\n"
    assert box.json("snapshot", "ls", "--json")["snapshots"] == []


def test_unknown_names_are_refused_with_the_next_step(home):
    for verb in ("restore", "rm", "inspect"):
        done = home.run("snapshot", verb, "nothing")
        assert done.code != 0, done
        assert "no snapshot named 'nothing'" in done.errors, done
        assert "mvmctl snapshot ls" in done.errors, done
    assert "no machine named 'nothing'" in home.run("snapshot", "create", "nothing").errors
    assert "exclude each other" in home.run(
        "snapshot", "restore", "x", "--no-publish", "-p", "1:2"
    ).errors


@saves
def test_a_restored_machine_goes_on_where_the_saved_one_stood(box):
    in_guest(box, "box", f"echo disk > /kept; ({COUNTER}) >/dev/null 2>&1 & echo $! > /tmp/pid")
    pid = in_guest(box, "box", "cat /tmp/pid")
    saved(box)
    count = int(in_guest(box, "box", "cat /tmp/count"))  # the saved one goes on, too
    restored(box, "again")
    assert in_guest(box, "again", "cat /kept") == "disk\n"
    assert in_guest(box, "again", "cat /tmp/pid; kill -0 $(cat /tmp/pid) && echo runs") == pid + "runs\n"
    first = int(in_guest(box, "again", "cat /tmp/count"))
    assert 0 < first
    wait_until(lambda: int(in_guest(box, "again", "cat /tmp/count") or 0) > first, 20 * SLOWNESS)
    wait_until(lambda: int(in_guest(box, "box", "cat /tmp/count") or 0) > count, 20 * SLOWNESS)
    assert box.machines()["again"]["backend"] == BACKEND


@saves
def test_each_restored_machine_has_an_identity_of_its_own(box):
    saved(box)
    names = ("one", "two")
    for name in names:
        restored(box, name)
    words = [
        in_guest(
            box,
            name,
            "hostname; cat /etc/hostname; grep -c 'box' /etc/hosts; tail -n 1 /etc/hosts; date +%s;"
            " head -c 16 /dev/urandom | od -An -tx1",
        ).splitlines()
        for name in names
    ]
    for name, word in zip(names, words):
        assert word[:4] == [name, name, "0", f"127.0.1.1 {name}"], word
        assert abs(int(word[4]) - time.time()) < 5 * SLOWNESS, word
    assert words[0][5] != words[1][5]
    assert in_guest(box, "box", "hostname") == "box\n"


@saves
def test_machines_from_one_snapshot_do_not_see_each_others_writes(box):
    in_guest(box, "box", "echo before > /file; sync")
    saved(box)
    in_guest(box, "box", "echo box > /file; sync")
    for name in ("one", "two"):
        restored(box, name)
        assert in_guest(box, name, f"cat /file; echo {name} > /file; sync") == "before\n"
    assert in_guest(box, "one", "cat /file") == "one\n"
    assert in_guest(box, "box", "cat /file") == "box\n"


@saves
def test_the_network_works_and_ports_are_those_of_the_saved_machine_or_the_given_ones(home):
    port = free_port()
    home.up("web", "-p", f"{port}:80", command=("sh", "-c", "mkdir /w; echo hello > /w/x; httpd -f -p 80 -h /w"))
    fetch = ["curl", "-sf", "--max-time", str(20 * SLOWNESS)]
    ask = lambda p: subprocess.run([*fetch, f"http://127.0.0.1:{p}/x"], capture_output=True).stdout
    wait_until(lambda: ask(port) == b"hello\n", 20 * SLOWNESS)
    saved(home, machine="web")
    taken = home.run("snapshot", "restore", "warm", "--name", "again")
    assert taken.code != 0 and f"port 127.0.0.1:{port} is taken" in taken.errors, taken
    assert "again" not in home.machines()
    other = free_port()
    restored(home, "again", "warm", "-p", f"{other}:80")
    assert ask(other) == b"hello\n"
    home.ok("rm", "-f", "web")
    restored(home, "third")
    assert ask(port) == b"hello\n"
    assert ask(other) == b"hello\n"
    restored(home, "fourth", "warm", "--no-publish")
    home.ok("snapshot", "rm", "warm")
    home.ok("rm", "-f", "--all")


@saves
def test_a_paused_machine_is_saved_and_stays_paused_and_the_new_one_runs(box):
    box.ok("pause", "box")
    saved(box)
    assert box.machines()["box"]["state"] == "paused"
    restored(box, "again")
    assert in_guest(box, "again", "echo here") == "here\n"
    box.ok("resume", "box")
    assert in_guest(box, "box", "echo here") == "here\n"


@saves
def test_a_snapshot_is_listed_inspected_and_keeps_its_image(box):
    saved(box)
    (listed,) = box.json("snapshot", "ls", "--json")["snapshots"]
    assert (listed["name"], listed["machine"]) == ("warm", "box")
    assert listed["saved_by"].startswith("mvm-vmm ")
    shown = box.json("snapshot", "inspect", "warm")
    assert shown["spec"]["name"] == "box"
    files = {path.name: path.stat() for path in Path(shown["path"]).iterdir()}
    assert set(files) == {"state", "memory", "scratch.img"}
    assert all(stat.st_mode & 0o777 == 0o600 for stat in files.values())
    # Memory that was never written takes no room.
    assert files["memory"].st_size >= 160 << 20
    assert files["memory"].st_blocks * 512 < files["memory"].st_size
    assert "warm" in box.ok("snapshot", "ls").text
    box.ok("rm", "-f", "box")
    busy = box.run("image", "rm", shown["image_digest"])
    assert busy.code != 0 and "snapshot warm" in busy.errors, busy
    restored(box, "again")
    again = box.run("snapshot", "create", "again", "--name", "warm")
    assert again.code != 0 and "already exists" in again.errors, again


@saves
def test_a_machine_outlives_its_snapshot_and_can_be_saved_again(box):
    in_guest(box, "box", "echo 1 > /tmp/file")
    saved(box)
    restored(box, "second")
    box.ok("snapshot", "rm", "warm")
    in_guest(box, "second", "echo 2 >> /tmp/file")
    saved(box, "later", "second")
    restored(box, "third", "later")
    assert in_guest(box, "third", "cat /tmp/file; hostname; tail -n 1 /etc/hosts") == (
        "1\n2\nthird\n127.0.1.1 third\n"
    )


@saves
def test_a_snapshot_that_was_changed_is_refused_by_name(box):
    saved(box)
    folder = Path(box.json("snapshot", "inspect", "warm")["path"])
    state = folder / "state"
    good = state.read_bytes()
    for bad, word in (
        (good[: len(good) // 2], "state"),
        (good[:-9] + bytes([good[-9] ^ 1]) + good[-8:], "state"),
        (b"#!/bin/sh\n" + good[10:], "state"),
    ):
        state.write_bytes(bad)
        done = box.run("snapshot", "restore", "warm", "--name", "broken")
        assert done.code != 0, done
        assert word in done.errors, done
        box.ok("rm", "-f", "broken")
    state.write_bytes(good)
    restored(box, "again")


@saves
def test_killing_the_command_leaves_no_snapshot_and_a_machine_that_runs(box):
    for delay in (0.02, 0.1, 0.3, 0.6):
        command = box.popen("snapshot", "create", "box", "--name", "never")
        time.sleep(delay * SLOWNESS)  # at a point that is different each time
        command.kill()
        command.communicate()
        if box.json("snapshot", "ls", "--json")["snapshots"]:
            box.ok("snapshot", "rm", "never")
        assert in_guest(box, "box", "echo here") == "here\n"
    wait_until(lambda: not list((box.vm_dir("box") / "saving").iterdir()), 10)
    box.ok("image", "prune")
    assert not list((box.path / "data/snapshots").iterdir())


@saves
def test_a_machine_whose_engine_is_killed_while_it_is_saved_leaves_no_snapshot(box):
    engine = box.machines()["box"]["engine_pid"]
    saving = box.vm_dir("box") / "saving"
    command = box.popen("snapshot", "create", "box", "--name", "never")
    wait_until(lambda: any(saving.iterdir()), 20 * SLOWNESS, "a file in saving")
    os.kill(engine, signal.SIGKILL)
    command.communicate(timeout=60 * SLOWNESS)
    assert command.returncode != 0
    assert box.json("snapshot", "ls", "--json")["snapshots"] == []
    wait_until(lambda: not any(saving.iterdir()), 10 * SLOWNESS, "an empty saving")
    assert not list((box.path / "data/snapshots").iterdir())


@saves
def test_a_snapshot_that_cannot_be_restored_is_an_error_whatever_the_restart_policy(home):
    home.up("keeps", "--restart", "on-failure", command=("sleep", "1000"))
    saved(home, machine="keeps")
    state = Path(home.json("snapshot", "inspect", "warm")["path"]) / "state"
    state.write_bytes(state.read_bytes()[:-1])
    done = home.run("snapshot", "restore", "warm", "--name", "broken")
    assert done.code != 0 and "state" in done.errors, done
    assert home.inspect("broken")["restarts"] == 0
    home.ok("snapshot", "rm", "warm")
    home.ok("rm", "-f", "--all")


@saves
def test_two_commands_at_once_make_two_snapshots_or_one_says_that_it_is_busy(box):
    both = [box.popen("snapshot", "create", "box", "--name", name) for name in ("a", "b")]
    for command in both:
        command.out, command.err = command.communicate(timeout=120 * SLOWNESS)
    done = sorted(name for name, c in zip("ab", both) if c.returncode == 0)
    assert done, [c.err for c in both]
    for command in both:
        if command.returncode != 0:
            assert b"a snapshot of it is being made" in command.err, command.err
    assert box.ok("snapshot", "ls", "-q").text.split() == done
    assert in_guest(box, "box", "echo here") == "here\n"


@saves
def test_a_full_disk_is_named_and_the_machine_goes_on(home):
    data = home.path / "data"
    script = f"""set -eu
cp -a {data} {home.work}/data
mount -t tmpfs -o size=48M none {data}
cp -a {home.work}/data/. {data}
"$MVMCTL" up -q --name full --memory 160M --ephemeral busybox > /dev/null
code=0
"$MVMCTL" snapshot create full --name never 2> {home.work}/errors || code=$?
"$MVMCTL" exec full -- echo here > {home.work}/out
"$MVMCTL" snapshot ls --json > {home.work}/list
ls {data}/snapshots > {home.work}/left
"$MVMCTL" rm -f full > /dev/null
echo $code"""
    done = in_own_mounts(home, script, timeout=100)
    errors = (home.work / "errors").read_text() if (home.work / "errors").exists() else ""
    assert done.returncode == 0, done.stderr + errors
    assert done.stdout.strip() != "0"
    assert "space" in errors.lower() or "disk is full" in errors, errors
    assert (home.work / "out").read_text() == "here\n"
    assert json.loads((home.work / "list").read_text())["snapshots"] == []
    assert (home.work / "left").read_text() == ""


@saves
def test_a_restored_machine_keeps_its_services(home):
    root = home.work / "project"
    root.mkdir()
    (root / "mvm.toml").write_text(
        """
[source]
image = "busybox"
[services.db]
command = "trap 'echo stops; exit 0' TERM; while :; do sleep 0.1; done"
restart = "always"
[services.db.health]
command = "true"
"""
    )
    home.ok("build", root)
    home.ok("up", "--name", "one", "--memory", "160M", root)
    home.ok("wait", "--for", "health", "one", timeout=120)
    (before,) = home.json("ps", "--json", "one")["services"]
    saved(home, machine="one")
    restored(home, "two")
    home.ok("wait", "--for", "health", "two", timeout=120)
    (after,) = home.json("ps", "--json", "two")["services"]
    assert (after["phase"], after["pid"], after["restarts"]) == ("running", before["pid"], 0)
    in_guest(home, "two", f"kill -9 {after['pid']}")
    wait_until(
        lambda: (s := home.json("ps", "--json", "two")["services"][0])["restarts"] == 1 and s["phase"] == "running",
        20 * SLOWNESS,
        "the restart",
    )
    (untouched,) = home.json("ps", "--json", "one")["services"]
    assert untouched["restarts"] == 0
    home.ok("stop", "two", timeout=120)
    assert home.ok("logs", "-s", "db", "two").text.endswith("stops\n")
    home.ok("rm", "-f", "one", "two")
    home.ok("snapshot", "rm", "warm")

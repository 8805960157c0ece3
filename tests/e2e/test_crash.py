# SPDX-License-Identifier: Apache-2.0
"""kill -9 of any process at any moment: afterwards `ls` tells the truth and nothing is left.

Set MVM_E2E_SEED_NUMBER to repeat a run whose seed a failure has printed.
"""

import concurrent.futures
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest
from mvm import ENGINE, Home, processes_of, scaled, wait_until

KILLS = scaled(200, 8)
LANES = 4  # homes in which machines are made and killed at the same time
SEED = int(os.environ.get("MVM_E2E_SEED_NUMBER", time.time_ns() % 1_000_000))

VICTIMS = ("cli", "supervisor", "engine")


def victims(home, process):
    found = {"cli": [process.pid] if process.poll() is None else [], "supervisor": [], "engine": []}
    for pid, line in processes_of(home.path).items():
        if "mvm-supervisor" in line:
            found["supervisor"].append(pid)
        elif ENGINE in line:
            found["engine"].append(pid)
    return found


def strike(home, dice, process, kind, within):
    """Kills one process of the kind at a random moment; returns whether there was one."""
    time.sleep(dice.uniform(0, within))
    pids = victims(home, process)[kind]
    for pid in pids[:1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(pids)


def tidy_and_check(home, what):
    """What `ls` says is so, and what it names can be removed, after which nothing is left."""
    wait_until(lambda: consistent(home), 10, f"{what}: truth of ls ({describe(home)})")
    for name in list(home.machines()):
        done = home.run("rm", "-f", name, timeout=30)
        assert done.code == 0, f"{what}: {done}"
    leaks = home.leaks()
    assert not leaks, f"{what}: left behind: {leaks}"
    assert not home.records(), f"{what}: {home.records()}"


def consistent(home):
    """Machines that are said to live have their processes; nobody else has one."""
    machines = home.machines()
    running = processes_of(home.path)
    supervisors = {pid for pid, line in running.items() if "mvm-supervisor" in line}
    engines = {pid for pid, line in running.items() if ENGINE in line}
    networks = {pid for pid, line in running.items() if "mvm-netd" in line}  # with engines that have none of their own
    alive = [m for m in machines.values() if m["state"] in ("starting", "running", "stopping")]
    return (
        {m["supervisor_pid"] for m in alive} == supervisors
        and {m["engine_pid"] for m in alive} == engines
        and len(networks) in (0, len(engines))
        and len(running) == len(supervisors) + len(engines) + len(networks)
    )


def describe(home):
    return json.dumps([home.machines(), processes_of(home.path)])


def one_run(home, dice):
    kind = dice.choice(VICTIMS)
    process = home.popen(
        "run", "-q", "--memory", "128M", "--", "sh", "-c", "echo x; sleep 0.3; echo y"
    )
    hit = strike(home, dice, process, kind, 2.2)
    process.communicate(timeout=60)
    return hit, f"run, {kind} killed"


def one_up(home, dice):
    kind = dice.choice(VICTIMS)
    process = home.popen("up", "-q", "--name", "m", "--memory", "128M")
    hit = strike(home, dice, process, kind, 1.8)
    process.communicate(timeout=60)
    return hit, f"up, {kind} killed"


def with_machine(home, dice, args, within):
    home.up("m", memory="128M")
    kind = dice.choice(VICTIMS)
    process = home.popen(*args)
    hit = strike(home, dice, process, kind, within)
    process.communicate(timeout=60)
    return hit, f"{args[0]}, {kind} killed"


def one_exec(home, dice):
    return with_machine(
        home, dice, ("exec", "m", "--", "sh", "-c", "echo x; sleep 0.1; echo y"), 0.3
    )


def one_stop(home, dice):
    return with_machine(home, dice, ("stop", "m"), 0.4)


def one_rm(home, dice):
    return with_machine(home, dice, ("rm", "-f", "m"), 0.1)


SCENES = (one_run, one_run, one_up, one_exec, one_stop, one_rm)


def lane(seed_home, number, kills):
    dice = random.Random(SEED * 100 + number)
    home = Home(seed_home)
    hits, log = 0, []
    try:
        while hits < kills:
            hit, what = dice.choice(SCENES)(home, dice)
            tidy_and_check(home, f"seed {SEED}, lane {number}, round {len(log)}: {what}")
            log.append(what)
            hits += hit
    finally:
        home.destroy()
    return log


@pytest.mark.patience(900)
def test_kill_at_random_moments_leaves_the_truth_and_nothing_else(seed):
    print(f"seed {SEED}")
    with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
        lanes = [pool.submit(lane, seed, n, -(-KILLS // LANES)) for n in range(LANES)]
        rounds = [what for done in lanes for what in done.result()]
    print(f"{len(rounds)} rounds for {KILLS} kills")


def test_killed_pull_leaves_nothing_that_the_next_pull_does_not_remove(home):
    dice = random.Random(SEED)
    tree = home.work / "tree"
    tree.mkdir()
    for number in range(300):
        (tree / f"f{number}").write_bytes(os.urandom(20_000))
    for _ in range(scaled(10, 3)):
        process = home.popen("image", "pull", "--force", "dir:tree")
        time.sleep(dice.uniform(0, 0.4))
        process.kill()
        process.communicate()
    wait_until(lambda: not processes_of(home.path), 10, "the end of what a killed pull had started")
    home.ok("image", "pull", "--force", "dir:tree")
    assert (
        subprocess.run(["ls", home.path / "data/images/tmp"], capture_output=True, text=True).stdout
        == ""
    )


@pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="mmdebstrap is not installed")
@pytest.mark.patience(300)
def test_killed_pull_of_a_distribution_leaves_no_process(home):
    process = home.popen("image", "pull", "debian:bookworm")

    def tools():
        return [line for line in processes_of(home.path).values() if "apt" in line or "dpkg" in line]

    wait_until(tools, 120, "the tools of a distribution's pull")
    process.kill()
    process.communicate()
    wait_until(lambda: not processes_of(home.path), 10, "the end of what a killed pull had started")
    home.ok("image", "pull", "--force", "busybox")
    assert os.listdir(home.path / "data/images/tmp") == []

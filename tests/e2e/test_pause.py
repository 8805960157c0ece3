# SPDX-License-Identifier: Apache-2.0
"""pause and resume: a machine that stands still, and goes on where it stood."""

import os
import select
import subprocess
import time

import pytest

from mvm import wait_until

COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done"


@pytest.fixture
def box(home):
    home.up("box")
    yield home
    home.ok("rm", "-f", "box")


def state(home, name="box"):
    return home.machines()[name]["state"]


def lines_within(process, seconds):
    """What comes from a process within this time."""
    out = b""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([process.stdout], [], [], left)
        if ready:
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                break
            out += chunk
    return out.decode().split()


def test_a_paused_machine_says_so_and_goes_on_when_it_is_resumed(box):
    assert box.ok("pause", "box").text == "box\n"
    assert state(box) == "paused"
    assert " paused " in box.ok("ls").text
    box.ok("resume", "box")
    assert state(box) == "running"
    assert box.ok("exec", "box", "--", "echo", "here").text == "here\n"


def test_what_needs_the_guest_fails_at_once_and_names_the_next_step(box):
    box.ok("pause", "box")
    file = box.work / "file"
    file.write_text("x")
    for argv in (
        ("exec", "box", "--", "true"),
        ("cp", str(file), "box:/tmp"),
        ("cp", "box:/etc/passwd", "."),
        ("diff", "box"),
        ("wait", "box"),
    ):
        done = box.run(*argv)
        assert done.code != 0, done
        assert done.seconds < 5, done
        assert "paused" in done.errors, done
        assert "mvmctl resume box" in done.errors, done


def test_pausing_twice_and_resuming_what_runs_is_fine(box):
    box.ok("resume", "box")
    box.ok("pause", "box")
    box.ok("pause", "box")
    assert state(box) == "paused"
    box.ok("resume", "box")
    box.ok("resume", "box")
    assert state(box) == "running"


def test_a_running_exec_stands_still_and_goes_on_without_losing_a_line(box):
    counter = box.popen("exec", "box", "--", "sh", "-c", COUNT)
    try:
        before = lines_within(counter, 1.5)
        assert before
        box.ok("pause", "box")
        before += lines_within(counter, 0.5)  # what was on its way
        assert lines_within(counter, 1.5) == []
        box.ok("resume", "box")
        after = lines_within(counter, 2)
        assert after
        numbers = [int(n) for n in before + after]
        assert numbers == list(range(1, len(numbers) + 1))
    finally:
        counter.kill()
        counter.communicate()


def test_input_that_is_sent_to_a_paused_machine_arrives_when_it_goes_on(box):
    copier = box.popen("exec", "-i", "box", "--", "cat", stdin=subprocess.PIPE)
    copier.stdin.write(b"first\n")
    copier.stdin.flush()
    assert lines_within(copier, 2) == ["first"]
    box.ok("pause", "box")
    copier.stdin.write(b"second\n")
    copier.stdin.close()
    assert lines_within(copier, 1) == []
    box.ok("resume", "box")
    assert copier.wait(20) == 0
    assert copier.stdout.read() == b"second\n"


def test_the_clock_of_a_resumed_machine_is_the_hosts(box):
    box.ok("pause", "box")
    time.sleep(3)  # the time that must not be missing
    box.ok("resume", "box")
    theirs = float(box.ok("exec", "box", "--", "date", "+%s").text)
    assert abs(theirs - time.time()) < 2


@pytest.mark.parametrize("verb", [("stop",), ("kill",), ("rm", "-f")], ids=lambda v: v[0])
def test_a_paused_machine_can_be_ended(home, verb):
    home.up("box")
    home.ok("exec", "box", "--", "sh", "-c", "echo kept > /kept")
    home.ok("pause", "box")
    done = home.ok(*verb, "box")
    assert done.seconds < 15, done
    if verb[0] != "rm":
        assert state(home) == "stopped"
        home.ok("rm", "box")


def test_a_paused_machine_ends_when_its_time_is_over(home):
    home.up("box", "--ttl", "8s")
    home.ok("pause", "box")
    wait_until(lambda: state(home) == "stopped", 30, "the end of its time")
    assert "time to live" in home.machines()["box"]["message"]
    home.ok("rm", "box")


def test_a_paused_machine_whose_supervisor_is_killed_has_crashed(home):
    home.up("box")
    home.ok("pause", "box")
    os.kill(home.machines()["box"]["supervisor_pid"], 9)
    wait_until(lambda: state(home) == "crashed", 10, "the end")
    assert home.run("resume", "box").code != 0
    home.ok("rm", "box")


def test_two_who_pause_and_resume_at_once_leave_a_machine_that_answers(box):
    both = [box.popen(verb, "box") for verb in ("pause", "resume", "pause", "resume") * 3]
    for process in both:
        process.communicate(timeout=60)
        assert process.returncode == 0
    box.ok("resume", "box")
    assert box.ok("exec", "box", "--", "echo", "fine").text == "fine\n"


def test_all_means_the_machines_that_run(home):
    home.up("one")
    home.up("two")
    home.ok("stop", "two")
    assert home.json("pause", "--all", "--json")["names"] == ["one"]
    assert state(home, "one") == "paused"
    assert state(home, "two") == "stopped"
    home.ok("resume", "--all")
    assert state(home, "one") == "running"
    home.ok("rm", "-f", "--all")


def test_a_machine_that_does_not_run_or_exist_is_named(home):
    home.up("box")
    home.ok("stop", "box")
    done = home.run("pause", "box")
    assert done.code != 0
    assert "machine 'box' is stopped" in done.errors
    done = home.run("resume", "nobody")
    assert done.code != 0
    assert "nobody" in done.errors
    home.ok("rm", "box")


def test_a_machine_that_is_still_starting_is_paused_when_it_is_ready(home):
    home.ok("up", "-q", "--no-wait", "--name", "box", "--memory", "160M", "busybox")
    home.ok("pause", "box")
    assert state(home) == "paused"
    home.ok("rm", "-f", "box")

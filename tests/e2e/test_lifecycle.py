# SPDX-License-Identifier: Apache-2.0
"""Machines that stay: up, ls, inspect, logs, wait, stop, kill, rm; limits and policies."""

import json
import os
import signal
import subprocess
import time

import pytest
from mvm import BACKEND, ENGINE, ISOLATION, POSTURE, SLOWNESS, processes_of, wait_until

MIB = 1 << 20


def test_up_prints_the_name_and_the_machine_is_ready(home):
    done = home.ok("up", "--name", "web", "--memory", "160M")
    assert done.text == "web\n"
    assert done.errors.startswith(POSTURE)
    assert home.ok("exec", "web", "--", "hostname").text == "web\n"
    home.ok("rm", "-f", "web")


def test_a_name_is_made_up_when_none_is_given(home):
    name = home.ok("up", "-q", "--memory", "160M").text.strip()
    assert list(home.machines()) == [name]
    home.ok("rm", "-f", name)


def test_ls_and_ps_show_state_image_backend_and_tier(home):
    home.up("one")
    header, line = home.ok("ls").text.splitlines()
    assert header.split() == ["NAME", "STATE", "IMAGE", "BACKEND", "ISOLATION", "AGE", "MESSAGE"]
    assert line.split()[:5] == ["one", "running", "busybox", BACKEND, ISOLATION]
    assert home.ok("ps").text.splitlines()[0] == header
    assert home.ok("ls", "-q").text == "one\n"
    home.ok("stop", "one")
    assert home.machines()["one"]["state"] == "stopped"
    home.ok("rm", "one")
    assert home.ok("ls").text.splitlines() == [home.ok("ls").text.splitlines()[0]]


def test_inspect_tells_pids_spec_and_exit_code_of_the_main_process(home):
    home.up("job", command=["sh", "-c", "exit 23"])
    home.run("wait", "--for", "stopped", "--timeout", "20s", "job")
    seen = home.inspect("job")
    assert (seen["state"], seen["exit_code"]) == ("stopped", 23)
    assert "exit code 23" in seen["message"]
    assert (
        seen["spec"]["limits"][
            "memory_bytes" if "memory_bytes" in seen["spec"]["limits"] else "memory"
        ]
        == 160 * MIB
    )
    assert seen["supervisor_pid"] is None
    home.ok("rm", "job")


def test_machine_of_a_short_main_process_stops_by_itself_and_keeps_its_log(home):
    done = home.up("short", command=["sh", "-c", "echo to-out; echo to-err >&2"])
    assert done.text == "short\n"
    home.ok("wait", "--for", "stopped", "--timeout", "20s", "short")
    assert sorted(home.ok("logs", "short").text.split()) == ["to-err", "to-out"]
    home.ok("rm", "short")


def test_main_process_that_is_not_there_makes_the_machine_fail_with_its_name(home):
    home.run("up", "-q", "--name", "bad", "--memory", "160M", "--", "no-such-program")
    home.run("wait", "--for", "stopped", "--timeout", "20s", "bad")
    seen = home.inspect("bad")
    assert seen["state"] == "failed"
    assert "no-such-program" in seen["message"]
    assert seen["exit_code"] == 127
    home.ok("rm", "bad")


def test_logs_follow_until_the_machine_ends(home):
    home.up(
        "talk",
        command=[
            "sh",
            "-c",
            "i=0; while [ $i -lt 20 ]; do echo line $i; i=$((i+1)); sleep 0.1; done",
        ],
    )
    done = home.ok("logs", "-f", "talk", timeout=40)
    assert done.text == "".join(f"line {i}\n" for i in range(20))
    home.ok("rm", "talk")


def test_logs_show_the_last_lines_the_kernel_and_the_supervisor(home):
    home.up(
        "talk",
        "--cmdline-extra",
        "ignore_loglevel",
        command=["sh", "-c", "seq 1 9; exec sleep 4714"],
    )
    wait_until(lambda: "9\n" in home.ok("logs", "talk").text)
    assert home.ok("logs", "-n", "2", "talk").text == "8\n9\n"
    assert "Linux version" in home.ok("logs", "--console", "talk").text
    assert "guest ready" in home.ok("logs", "--supervisor", "talk").text
    home.ok("rm", "-f", "talk")


def test_wait_has_its_own_exit_codes(home):
    home.ok("up", "-q", "--no-wait", "--name", "w", "--memory", "160M", "--", "sleep", "4715")
    assert home.run("wait", "--timeout", "30s", "w").code == 0
    assert home.run("wait", "--for", "stopped", "--timeout", "100ms", "w").code == 75
    assert home.run("wait", "nobody").code == 65
    home.ok("kill", "w")
    assert home.run("wait", "--for", "ready", "w").code == 65
    assert home.run("wait", "--for", "stopped", "w").code == 0
    home.ok("rm", "w")


def test_stop_of_an_idle_machine_takes_less_than_a_second(home):
    home.up("idle")
    done = home.ok("stop", "idle")
    assert done.text == "idle\n"
    assert done.seconds < SLOWNESS, done
    home.ok("rm", "idle")


def test_stop_sends_the_stop_signal_to_the_main_process_and_waits_for_it(home):
    script = "trap 'echo got it; sleep 0.5; echo done; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    home.up("polite", command=["sh", "-c", script])
    wait_until(lambda: "up" in home.ok("logs", "polite").text)
    home.ok("down", "polite")
    lines = home.ok("logs", "polite").text.splitlines()
    assert [line for line in lines if line != "Terminated"] == [
        "up",
        "got it",
        "done",
    ]  # its sleep was told, too
    home.ok("rm", "polite")


def test_main_process_that_ignores_the_signal_is_killed_after_the_time(home):
    home.up("deaf", command=["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"])
    wait_until(lambda: "up" in home.ok("logs", "deaf").text)
    done = home.ok("stop", "--time", "1s", "deaf")
    assert 0.9 < done.seconds < 4 * SLOWNESS, done
    assert home.machines()["deaf"]["state"] == "stopped"
    home.ok("rm", "deaf")


def test_stopped_machine_has_synced_its_disk_and_a_kill_is_immediate(home):
    home.up("k")
    done = home.ok("kill", "k")
    assert done.seconds < SLOWNESS, done
    assert home.machines()["k"]["state"] == "stopped"
    home.ok("rm", "k")


def test_rm_refuses_a_running_machine_and_force_removes_it(home):
    home.up("busy")
    done = home.run("rm", "busy")
    assert done.code == 125, done
    assert "running" in done.errors
    assert "stop busy" in done.errors
    home.ok("rm", "-f", "busy")
    assert home.machines() == {}


def test_all_of_them_at_once(home):
    for name in ("a", "b"):
        home.up(name, memory="128M")
    assert sorted(home.ok("stop", "--all").text.split()) == ["a", "b"]
    assert sorted(home.ok("rm", "--all").text.split()) == ["a", "b"]


def test_name_that_is_taken_is_refused_with_a_hint(home):
    home.up("mine")
    done = home.run("up", "--name", "mine")
    assert done.code == 125, done
    assert "machine 'mine' exists already" in done.errors
    assert "hint:" in done.errors
    home.ok("rm", "-f", "mine")


def test_of_two_that_race_for_one_name_exactly_one_wins(home):
    racers = [home.popen("up", "-q", "--name", "prize", "--memory", "128M") for _ in range(6)]
    ends = [
        (racer.communicate(timeout=60), racer.returncode)[0] + (racer.returncode,)
        for racer in racers
    ]
    codes = [code for _, _, code in ends]
    assert sorted(codes) == [0] + [125] * 5, ends
    assert all(b"exists already" in err for _, err, code in ends if code)
    assert list(home.machines()) == ["prize"]
    assert len([p for p in processes_of(home.path).values() if ENGINE in p]) == 1
    home.ok("rm", "-f", "prize")


def test_restart_on_failure_counts_to_its_bound(home):
    home.up("retry", "--restart", "on-failure:2", command=["sh", "-c", "echo try; exit 4"])
    home.run("wait", "--for", "stopped", "--timeout", "40s", "retry")
    seen = home.inspect("retry")
    assert (seen["restarts"], seen["exit_code"]) == (2, 4)
    assert home.ok("logs", "retry").text == "try\n" * 3
    home.ok("rm", "retry")


def test_restart_on_failure_leaves_a_success_alone(home):
    home.up("fine", "--restart", "on-failure", command=["true"])
    home.ok("wait", "--for", "stopped", "--timeout", "20s", "fine")
    assert home.inspect("fine")["restarts"] == 0
    home.ok("rm", "fine")


def test_engine_that_is_killed_is_restarted_when_asked_for(home):
    home.up("again", "--restart", "on-failure:1")
    first = home.inspect("again")["engine_pid"]
    os.kill(first, signal.SIGKILL)
    wait_until(
        lambda: (home.inspect("again")["restarts"], home.inspect("again")["state"])
        == (1, "running"),
        20,
    )
    assert home.inspect("again")["engine_pid"] != first
    assert home.ok("exec", "again", "--", "echo", "back").text == "back\n"
    home.ok("rm", "-f", "again")


def test_time_to_live_stops_the_machine_and_says_so(home):
    home.up("brief", "--ttl", "3s")
    home.ok("wait", "--for", "stopped", "--timeout", "20s", "brief")
    assert "time to live of 3s is over" in home.inspect("brief")["message"]
    home.ok("rm", "brief")


def test_limit_of_processes_holds(home):
    home.up("few", "--pids-limit", "20")
    done = home.run(
        "exec", "few", "--", "sh", "-c", "for i in $(seq 1 60); do sleep 5 & done; wait"
    )
    assert "fork" in done.errors, done
    assert home.ok("exec", "few", "--", "echo", "ok").text == "ok\n"
    home.ok("rm", "-f", "few")


@pytest.mark.patience(180)
def test_flood_of_the_main_process_is_bounded_on_disk(home):
    home.up("flood", command=["yes", "0123456789" * 12])
    folder = home.vm_dir("flood")
    wait_until(lambda: (folder / "output.log.1").exists(), 100, "rotation of the log")
    time.sleep(2)
    logs = {p.name: p.stat().st_size for p in folder.iterdir() if ".log" in p.name}
    assert sum(logs.values()) < 34 * MIB, logs
    assert home.ok("exec", "flood", "--", "echo", "responsive", timeout=30).text == "responsive\n"
    home.ok("rm", "-f", "flood")


def test_state_survives_stop_but_a_new_machine_starts_fresh(home):
    home.up("one")
    home.ok("exec", "one", "--", "touch", "/mark")
    home.ok("rm", "-f", "one")
    home.up("one")
    assert home.run("exec", "one", "--", "test", "-e", "/mark").code == 1
    home.ok("rm", "-f", "one")


def test_killed_supervisor_is_shown_as_crashed_and_can_be_removed(home):
    home.up("lost")
    os.kill(home.inspect("lost")["supervisor_pid"], signal.SIGKILL)
    wait_until(lambda: home.machines()["lost"]["state"] == "crashed")
    wait_until(
        lambda: not processes_of(home.path), 10, "the end of the engine without its supervisor"
    )
    done = home.run("exec", "lost", "--", "true")
    assert done.code == 125, done
    assert "crashed" in done.errors
    home.ok("rm", "lost")


def test_kernel_image_and_configuration_verbs_do_what_they_say(home):
    assert "cloud" in home.ok("kernel", "ls").text
    home.ok("config", "set", "memory", "200M")
    assert home.json("config", "show", "--json")["settings"]["memory"] == {
        "value": "200M",
        "is_set": True,
    }
    done = home.ok("run", "-q", "--", "awk", "/MemTotal/{print int($2/1024)}", "/proc/meminfo")
    assert 100 < int(done.text) <= 200
    assert json.loads(home.ok("image", "ls", "--json").text)["images"][0]["ref"] == "busybox"


def test_completion_scripts_are_valid_for_their_shells(home):
    script = home.ok("completion", "bash").text
    assert subprocess.run(["bash", "-n"], input=script.encode()).returncode == 0
    for shell in ("zsh", "fish"):
        assert "mvmctl" in home.ok("completion", shell).text


def test_logs_follow_across_the_rotation_of_a_flood(home):
    script = "seq 1 400000; echo end of flood"
    home.up("flood", "--cpus", "1", command=["sh", "-c", script])
    done = home.ok("logs", "-f", "flood", timeout=60)
    assert done.text.splitlines()[-1] == "end of flood"
    home.ok("rm", "flood")


def test_console_log_can_be_followed(home):
    home.up("talk")
    process = home.popen("logs", "-f", "--console", "talk")
    home.ok("exec", "talk", "--", "sh", "-c", "echo '<0>marker in the kernel log' > /dev/kmsg")
    wait_until(lambda: b"marker" in process.stdout.readline(), 10)
    home.ok("rm", "-f", "talk")
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_log_in_json_cannot_be_followed(home):
    home.up("m")
    done = home.run("logs", "-f", "--json", "m")
    assert done.code == 64, done
    assert "cannot follow" in done.text + done.errors
    home.ok("rm", "-f", "m")

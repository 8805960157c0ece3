# SPDX-License-Identifier: Apache-2.0
"""`mvmctl run`: a command in a machine of its own, as if it ran here."""

import json
import signal
import subprocess

import pytest
from mvm import POSTURE


def test_prints_what_the_command_prints(home):
    done = home.ok("run", "--", "uname", "-s", "-m")
    assert done.text == "Linux x86_64\n"


@pytest.mark.parametrize("code", [0, 3, 255])
def test_exit_code_is_the_command_s(home, code):
    done = home.run("run", "--", "sh", "-c", f"exit {code}")
    assert done.code == code, done


def test_command_that_is_not_there_gives_127_and_its_name(home):
    done = home.run("run", "--", "no-such-program")
    assert done.code == 127, done
    assert "no-such-program" in done.errors
    assert done.out == b""


def test_command_that_cannot_be_executed_gives_126(home):
    done = home.run("run", "--", "/etc/passwd")
    assert done.code == 126, done
    assert "/etc/passwd" in done.errors


def test_command_ended_by_a_signal_gives_128_plus_its_number(home):
    done = home.run("run", "--", "sh", "-c", "kill -TERM $$")
    assert done.code == 128 + signal.SIGTERM, done


def test_timeout_ends_the_command_with_124(home):
    done = home.run("run", "--timeout", "1s", "--", "sleep", "60")
    assert done.code == 124, done
    assert "--timeout" in done.errors
    assert done.seconds < 20


def test_stdout_and_stderr_stay_apart(home):
    done = home.ok("run", "-q", "--", "sh", "-c", "echo to-out; echo to-err >&2")
    assert done.text == "to-out\n"
    assert done.errors == "to-err\n"


def test_piped_stdin_reaches_the_command_without_a_flag(home):
    done = home.ok("run", "--", "tr", "a-z", "A-Z", stdin="hello\n")
    assert done.text == "HELLO\n"


def test_binary_output_arrives_unchanged(home):
    data = bytes(range(256)) * 17
    done = home.ok("run", "--", "cat", stdin=data)
    assert done.out == data


def test_environment_workdir_user_and_hostname_are_the_given_ones(home):
    script = 'echo "$GIVEN|$PASSED|$(pwd)|$(id -u):$(id -g)|$(hostname)"'
    done = home.ok(
        *("run", "-e", "GIVEN=a b=c", "-e", "PASSED", "-w", "/tmp", "-u", "1234:567"),
        *("--hostname", "somewhere", "--", "sh", "-c", script),
        env={"PASSED": "from here"},
    )
    assert done.text == "a b=c|from here|/tmp|1234:567|somewhere\n"


def test_limits_are_what_the_guest_sees(home):
    script = (
        "nproc; awk '/MemTotal/{print int($2/1024)}' /proc/meminfo; df -m / | awk 'END{print $2}'"
    )
    done = home.ok(
        "run", "--cpus", "2", "--memory", "300M", "--disk", "1G", "--", "sh", "-c", script
    )
    cpus, memory, disk = map(int, done.text.split())
    assert cpus == 2
    assert 200 < memory <= 300
    assert 800 < disk <= 1024


def test_ephemeral_machine_keeps_its_writes_in_memory(home):
    script = "echo x > /written; cat /written; for d in /sys/block/vd*; do cat $d/serial; echo; done"
    done = home.ok("run", "--ephemeral", "--", "sh", "-c", script)
    assert sorted(done.text.split()) == ["mvm_exchange", "mvm_root", "x"]


def test_writes_do_not_reach_the_next_machine(home):
    home.ok("run", "--", "sh", "-c", "echo x > /etc/trace; sync")
    done = home.run("run", "--", "cat", "/etc/trace")
    assert done.code == 1, done


def test_every_start_names_backend_tier_and_what_it_means(home):
    done = home.ok("run", "--", "true")
    assert done.errors.startswith(POSTURE)
    assert done.errors.count("\n") == 1
    assert "security boundary" in done.errors


def test_quiet_start_says_nothing(home):
    done = home.ok("run", "-q", "--", "true")
    assert done.err == b""


def test_isolation_microvm_is_refused_with_the_reason(home):
    done = home.run("run", "--isolation", "microvm", "--", "true")
    assert done.code == 125, done
    assert "microvm" in done.errors
    assert "KVM" in done.errors
    assert "hint:" in done.errors
    assert home.machines() == {}


def test_json_tells_the_exit_code_and_the_posture(home):
    done = home.run("run", "-q", "--json", "--", "sh", "-c", "exit 3")
    assert done.code == 3, done
    document = json.loads(done.text)
    assert document["exit_code"] == 3
    assert (document["backend"], document["accelerator"], document["isolation"]) == (
        "qemu",
        "tcg",
        "emulated",
    )
    assert document["schema"] == 1


def test_json_is_the_one_document_on_stdout(home):
    done = home.run("run", "--json", "--", "echo", "hello")
    assert done.code == 0, done
    assert json.loads(done.text)["schema"] == 1


def test_interrupt_ends_command_and_machine(home):
    process = home.popen("run", "-q", "--", "sh", "-c", "echo up; exec sleep 60")
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 128 + signal.SIGINT
    process.communicate()


def test_terminate_reaches_the_trap_of_the_command(home):
    process = home.popen(
        "run",
        "-q",
        "--",
        "sh",
        "-c",
        "trap 'echo told; exit 9' TERM; echo up; while :; do sleep 0.1; done",
    )
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == b"told\n"
    assert process.wait(20) == 9
    process.communicate()


def test_reader_that_goes_away_ends_the_machine(home):
    process = home.popen("run", "-q", "--", "yes")
    assert process.stdout.read(2) == b"y\n"
    process.stdout.close()
    assert process.wait(20) == 128 + signal.SIGPIPE
    process.stderr.close()


def test_closed_stdin_is_an_empty_one(home):
    process = home.popen(
        "run", "-q", "--", "cat", stdin=None, preexec_fn=lambda: __import__("os").close(0)
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, b"", b"")


def test_machine_of_a_run_is_listed_while_it_runs_and_gone_afterwards(home):
    process = home.popen(
        "run", "-q", "--name", "job", "--", "sh", "-c", "echo up; read line", stdin=subprocess.PIPE
    )
    assert process.stdout.readline() == b"up\n"
    assert home.machines()["job"]["state"] == "running"
    process.communicate(b"go\n", timeout=60)
    assert process.returncode == 0
    assert home.machines() == {}


def test_without_a_kernel_the_first_run_fetches_one_and_says_so_only_on_a_terminal(bare_home):
    done = bare_home.ok("run", "--", "uname", "-s", timeout=300)
    assert done.text == "Linux\n"
    assert done.errors.startswith(POSTURE)
    assert done.errors.count("\n") == 1

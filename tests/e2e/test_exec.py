# SPDX-License-Identifier: Apache-2.0
"""`mvmctl exec`: processes in a machine that runs."""

import concurrent.futures
import os
import signal
import subprocess
import threading
import time

import pytest
from mvm import MVMCTL, Home, scaled, sha256_of, status_field, wait_until

MIB = 1 << 20


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_code_is_the_command_s(shared, code):
    assert shared.run("exec", "box", "--", "sh", "-c", f"exit {code}").code == code


def test_not_found_not_executable_and_signal_have_their_codes(shared):
    assert shared.run("exec", "box", "--", "nothing-here").code == 127
    assert shared.run("exec", "box", "--", "/etc/passwd").code == 126
    assert shared.run("exec", "box", "--", "sh", "-c", "kill -KILL $$").code == 137


def test_output_and_errors_stay_apart(shared):
    done = shared.ok("exec", "box", "--", "sh", "-c", "echo out; echo err >&2")
    assert (done.text, done.errors) == ("out\n", "err\n")


def test_environment_workdir_and_user_are_the_given_ones(shared):
    done = shared.ok(
        "exec",
        "-e",
        "A=1 2",
        "-w",
        "/etc",
        "-u",
        "65534",
        "box",
        "--",
        "sh",
        "-c",
        'echo "$A $(pwd) $(id -u)"',
    )
    assert done.text == "1 2 /etc 65534\n"


def test_unknown_user_and_missing_directory_are_named(shared):
    done = shared.run("exec", "-u", "ghost", "box", "--", "true")
    assert done.code in (125, 126), done
    assert "ghost" in done.errors
    done = shared.run("exec", "-w", "/not/there", "box", "--", "true")
    assert done.code in (125, 126), done
    assert "/not/there" in done.errors


def test_stdin_is_empty_without_i(shared):
    assert shared.ok("exec", "box", "--", "cat", stdin="unseen").text == ""


def test_stdin_is_passed_with_i(shared):
    assert shared.ok("exec", "-i", "box", "--", "cat", stdin="seen").text == "seen"


def test_timeout_gives_124_and_ends_the_process(shared):
    done = shared.run("exec", "--timeout", "500ms", "box", "--", "sleep", "4711")
    assert done.code == 124, done
    assert done.seconds < 10
    assert "4711" not in shared.ok("exec", "box", "--", "ps").text


def test_signal_reaches_the_command_in_the_guest(shared):
    process = shared.popen(
        "exec",
        "box",
        "--",
        "sh",
        "-c",
        "trap 'echo told; exit 7' TERM; echo up; while :; do sleep 0.05; done",
    )
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert (out, process.returncode) == (b"told\n", 7)


def test_killed_client_ends_the_process_in_the_guest(shared):
    process = shared.popen("exec", "box", "--", "sh", "-c", "echo up; exec sleep 4712")
    assert process.stdout.readline() == b"up\n"
    process.kill()
    process.communicate()
    wait_until(
        lambda: "4712" not in shared.ok("exec", "box", "--", "ps").text,
        10,
        "the end of the orphan in the guest",
    )


def test_reader_that_closes_stdout_early_ends_the_writer(shared):
    script = '"$MVMCTL" exec box -- cat /dev/zero | head -c 1 | wc -c; echo "${PIPESTATUS[0]}"'
    done = subprocess.run(
        ["bash", "-c", script],
        env=shared.env(MVMCTL=os.path.abspath(MVMCTL)),
        capture_output=True,
        timeout=60,
    )
    assert done.stdout.split() == [b"1", str(128 + signal.SIGPIPE).encode()], done
    assert done.stderr == b""
    wait_until(
        lambda: "cat /dev/zero" not in shared.ok("exec", "box", "--", "ps").text,
        10,
        "the end of the writer",
    )


def test_slow_reader_holds_back_only_its_own_stream(shared):
    slow = shared.popen("exec", "box", "--", "cat", "/dev/zero")
    slow.stdout.read(1)
    assert shared.ok("exec", "box", "--", "echo", "through", timeout=20).text == "through\n"
    slow.terminate()
    slow.communicate()


def test_stdin_that_stays_open_does_not_hold_the_end(shared):
    reader, writer = os.pipe()
    process = shared.popen("exec", "-i", "box", "--", "true", stdin=reader)
    assert process.wait(20) == 0
    os.close(reader), os.close(writer)
    process.communicate()


def test_background_child_that_keeps_stdout_is_reported_as_ended(shared):
    done = shared.run("exec", "box", "--", "sh", "-c", "sleep 3 & echo started")
    assert done.text == "started\n"
    assert done.code == 0


@pytest.mark.patience(300)
def test_a_gibibyte_through_stdin_and_stdout_is_unchanged_and_memory_stays_flat(shared):
    size = scaled(1024, 16) * MIB
    source = shared.work / "gib"
    with open(source, "wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
    supervisor = shared.inspect("box")["supervisor_pid"]
    agent_before = int(
        shared.ok("exec", "box", "--", "awk", "/VmRSS/{print $2}", "/proc/1/status").text
    )
    target = shared.work / "gib.out"
    began = time.monotonic()
    with open(source, "rb") as stdin, open(target, "wb") as stdout:
        process = shared.popen("exec", "-i", "box", "--", "cat", stdin=stdin, stdout=stdout)
        peak = [0]
        watcher = threading.Thread(target=_watch_memory, args=(process, peak))
        watcher.start()
        assert process.wait(280) == 0, process.stderr.read()
        watcher.join()
    process.stderr.close()
    seconds = time.monotonic() - began
    print(f"{size / MIB / seconds:.0f} MiB/s both ways, CLI peak {peak[0] >> 20} MiB")
    same = sha256_of(source) == sha256_of(target)
    source.unlink(), target.unlink()
    assert same
    agent_after = int(
        shared.ok("exec", "box", "--", "awk", "/VmHWM/{print $2}", "/proc/1/status").text
    )
    assert peak[0] < 32 * MIB
    assert status_field(supervisor, "VmHWM") < 32 * MIB
    assert (
        agent_after - agent_before < 12 << 10
    ), f"agent grew from {agent_before} to {agent_after} kB"


def _watch_memory(process, peak):
    while process.poll() is None:
        try:
            peak[0] = max(peak[0], status_field(process.pid, "VmHWM"))
        except (OSError, KeyError):
            return
        time.sleep(0.1)


@pytest.mark.patience(300)
def test_a_thousand_commands_one_after_the_other_leave_nothing_in_guest_or_supervisor(shared):
    count = scaled(1000, 20)
    supervisor = shared.inspect("box")["supervisor_pid"]
    shared.ok("exec", "box", "--", "true")
    before = _open_files(shared, supervisor)
    memory = status_field(supervisor, "VmRSS")
    for number in range(count):
        done = shared.run("exec", "box", "--", "sh", "-c", f"echo {number}; exit {number % 7}")
        assert (done.text, done.code) == (f"{number}\n", number % 7), done
    assert _open_files(shared, supervisor) == before
    assert status_field(supervisor, "VmRSS") - memory < 2 * MIB


def _open_files(home: Home, supervisor):
    """Descriptors of the supervisor and of the agent, and processes in the guest; once the last client is gone."""
    guest = home.ok(
        "exec",
        "box",
        "--",
        "sh",
        "-c",
        "ls /proc/1/fd | wc -l; ls -d /proc/[0-9]* | wc -l; ls /sys/fs/cgroup | wc -l",
    )
    time.sleep(0.2)
    return len(os.listdir(f"/proc/{supervisor}/fd")), guest.text.split()[0], guest.text.split()[2]


@pytest.mark.patience(180)
def test_fifty_commands_at_once_each_get_their_own_streams(shared):
    def one(number):
        return shared.run(
            "exec",
            "-i",
            "box",
            "--",
            "sh",
            "-c",
            f"cat; exit {number}",
            stdin=f"{number}\n" * 1000,
            timeout=150,
        )

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        done = list(pool.map(one, range(50)))
    assert [d.code for d in done] == list(range(50))
    assert all(d.text == f"{n}\n" * 1000 for n, d in enumerate(done))


def test_exec_in_a_stopped_machine_says_its_state(home):
    home.up("rest")
    home.ok("stop", "rest")
    done = home.run("exec", "rest", "--", "true")
    assert done.code == 125, done
    assert "'rest' is stopped" in done.errors
    assert "hint:" in done.errors
    home.ok("rm", "rest")

# SPDX-License-Identifier: Apache-2.0
"""Many machines at once."""

import concurrent.futures
import os

import pytest
from mvm import processes_of, scaled, status_field

COUNT = scaled(20, 3)


@pytest.mark.patience(400)
def test_twenty_machines_at_once_all_answer_and_all_stop(home):
    names = [f"m{n}" for n in range(COUNT)]
    # As many at a time as two processors can boot before the boot deadline.
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: home.up(name, memory="128M", timeout=120), names))
    assert {m["state"] for m in home.machines().values()} == {"running"}
    assert sorted(home.machines()) == sorted(names)
    with concurrent.futures.ThreadPoolExecutor(COUNT) as pool:
        answers = list(
            pool.map(
                lambda name: home.ok("exec", name, "--", "hostname", timeout=60).text.strip(), names
            )
        )
    assert answers == names
    supervisors = [pid for pid, line in processes_of(home.path).items() if "mvm-supervisor" in line]
    assert len(supervisors) == COUNT
    assert max(status_field(pid, "RssAnon") for pid in supervisors) <= 4 << 20
    done = home.ok("stop", "--all", timeout=120)
    assert sorted(done.text.split()) == sorted(names)
    print(f"stop of {COUNT} took {done.seconds:.1f} s")
    assert {m["state"] for m in home.machines().values()} == {"stopped"}
    home.ok("rm", "--all")


@pytest.mark.patience(200)
def test_ten_runs_at_once_do_not_disturb_each_other(home):
    count = scaled(10, 2)
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        done = list(
            pool.map(
                lambda n: home.run(
                    "run",
                    "-q",
                    "--memory",
                    "128M",
                    "--",
                    "sh",
                    "-c",
                    f"echo {n}; exit {n}",
                    timeout=150,
                ),
                range(count),
            )
        )
    assert [(d.code, d.text) for d in done] == [(n, f"{n}\n") for n in range(count)]


@pytest.mark.skipif("MVM_LAB" in os.environ, reason="the lab has no package archive to fetch a kernel from")
@pytest.mark.patience(200)
def test_first_use_of_an_empty_home_by_several_at_once_works(bare_home):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        done = list(
            pool.map(
                lambda n: bare_home.run("run", "-q", "--", "echo", f"{n}", timeout=150), range(3)
            )
        )
    assert [(d.code, d.text) for d in done] == [(0, f"{n}\n") for n in range(3)], done

# SPDX-License-Identifier: Apache-2.0
"""Homes for tests, and the assertion that every test leaves nothing behind."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from mvm import MVMCTL, POSTURE, SLOWNESS, Home


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "patience(seconds): how long the test may take on a host as fast as ours; 120 without it"
    )


@pytest.hookimpl(hookwrapper=True)  # Debian 12 has pytest 7
def pytest_runtest_call(item):
    """A hang becomes a failure with a stack, and the homes of the test are still cleaned up."""
    marker = item.get_closest_marker("patience")
    seconds = int((marker.args[0] if marker else 120) * SLOWNESS)

    def give_up(_signum, _frame):
        raise TimeoutError(f"the test is not over after {seconds} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    outcome = yield
    signal.alarm(0)
    if outcome.excinfo is not None:
        item.failed = True


@pytest.fixture(scope="session", autouse=True)
def chosen_backend():
    """What MVM_E2E_POSTURE says is what a start here would use: no test passes by another backend."""
    done = subprocess.run([MVMCTL, "doctor", "--json"], stdout=subprocess.PIPE, timeout=120)
    posture = json.loads(done.stdout)["selection"]["posture"]
    assert posture.startswith(POSTURE), f"a start here says: {posture}"


@pytest.fixture(scope="session")
def seed():
    """A home with kernel, initramfs and the default image, made once per build tree."""
    given = os.environ.get("MVM_E2E_SEED")
    place = Path(given or tempfile.mkdtemp(prefix="mvm-e2e-seed-", dir="/tmp"))
    place.mkdir(parents=True, exist_ok=True)
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test files start at once
        stamp = place / "made-by"
        builders = [Path(MVMCTL), *(Path(MVMCTL).parent.parent / "libexec/mvm").glob("*")]
        wanted = "".join(f"{path} {path.stat().st_mtime_ns}\n" for path in sorted(builders))
        if not stamp.exists() or stamp.read_text() != wanted:
            home = Home()
            done = home.run("run", "--", "true", timeout=300, env={"MVM_HOME": str(place)})
            home.destroy()
            assert done.code == 0, done
            stamp.write_text(wanted)
    yield place
    if not given:
        shutil.rmtree(place)


def close_home(home):
    """Asserts that nothing is left of a home whose machines have been removed, and ends it."""
    leaks = home.leaks()
    records = home.records()
    home.destroy()
    assert not leaks, "left behind: " + "; ".join(leaks)
    assert not records, f"machines still in the catalogue: {records}"


def close_after_test(home, request):
    """A test that has failed has not tidied up; its failure is enough."""
    if getattr(request.node, "failed", False):
        home.destroy()
    else:
        close_home(home)


@pytest.fixture
def home(seed, request):
    home = Home(seed)
    yield home
    close_after_test(home, request)


@pytest.fixture
def bare_home(request):
    """A home with nothing in it."""
    home = Home()
    yield home
    close_after_test(home, request)


@pytest.fixture(scope="module")
def shared(seed):
    """A home with one idle machine called `box`, for the tests of a module that only use it."""
    home = Home(seed)
    home.up("box", "--cpus", "2", "--memory", "256M")
    yield home
    home.ok("rm", "-f", "box")
    close_home(home)


@pytest.fixture
def own_kernels(home):
    """A cache of this test alone: the seed's is shared."""
    shared = (home.path / "cache").resolve()
    (home.path / "cache").unlink()
    # Not all of it: templates of disks are files of many gigabytes of holes.
    shutil.copytree(shared / "kernels", home.path / "cache/kernels", symlinks=True)
    return home

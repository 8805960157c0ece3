# SPDX-License-Identifier: Apache-2.0
"""Kernels: which there are, which is used, and lean ones that are built here."""

import os
import shutil

import pytest


def kernels(home):
    return home.json("kernel", "ls", "--json")["kernels"]


def test_a_kernel_is_booted_by_its_name(home):
    (kernel,) = [k for k in kernels(home) if k["in_use"]]
    for name in (kernel["release"], kernel["package"], kernel["digest"]):
        done = home.ok("run", "-q", "--kernel", name, "--", "uname", "-r")
        assert done.text == kernel["release"] + "\n"
    unknown = home.run("run", "--kernel", "9.9.9", "--", "true")
    assert unknown.code == 125 and "9.9.9" in unknown.errors


def test_an_unknown_kernel_is_not_used(home):
    done = home.run("kernel", "use", "9.9.9")
    assert done.code == 125 and "no cached kernel '9.9.9'" in done.errors and "kernel ls" in done.errors


def test_the_kernel_in_use_is_changed_and_told(own_kernels):
    home = own_kernels
    (first,) = [k for k in kernels(home) if k["in_use"]]
    place = home.path / "cache/kernels"
    shutil.copytree(place / first["package"], place / "second", symlinks=True)
    note = place / "second/kernel.json"
    note.write_text(note.read_text().replace(first["package"], "second"))
    home.ok("kernel", "use", "second")
    assert [k["package"] for k in kernels(home) if k["in_use"]] == ["second"]
    assert home.ok("run", "-q", "--", "uname", "-r").text == first["release"] + "\n"
    home.ok("kernel", "rm", "second")
    # What is left is taken, and nothing fetched.
    home.ok("run", "-q", "--", "true")
    assert [k["package"] for k in kernels(home) if k["in_use"]] == [first["package"]]


def test_a_configuration_that_the_source_does_not_have_is_named_before_it_compiles(own_kernels):
    if shutil.which("bison") is None:
        pytest.skip("no bison: ./dev setup installs what a kernel's build needs")
    extra = own_kernels.work / "extra.config"
    extra.write_text("CONFIG_NO_SUCH_THING=y\n")
    done = own_kernels.run("kernel", "build", "--config", extra, timeout=110)
    assert done.code == 125 and "CONFIG_NO_SUCH_THING=y" in done.errors, done
    assert [p.name for p in (own_kernels.path / "cache/kernels").glob(".compile-*")] == []


@pytest.mark.skipif("MVM_E2E_SLOW" not in os.environ, reason="some minutes of compiling; MVM_E2E_SLOW=1 runs it")
@pytest.mark.patience(3000)
def test_a_lean_kernel_is_built_twice_the_same_and_boots(own_kernels):
    home = own_kernels
    build = home.json("kernel", "build", "--json", "--use", timeout=1500)
    assert build["release"].endswith("-mvm") and build["in_use"]
    again = home.json("kernel", "build", "--json", timeout=60)
    assert again["package"] == build["package"]
    forced = home.json("kernel", "build", "--json", "--force", timeout=1500)
    assert forced["digest"] == build["digest"]
    assert home.ok("run", "-q", "--", "uname", "-r").text == build["release"] + "\n"

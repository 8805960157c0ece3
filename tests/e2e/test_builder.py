# SPDX-License-Identifier: Apache-2.0
"""The builder's machine: the same image as on the host, also where the host has no tools, and what goes wrong."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import close_home
from mvm import MVMCTL, SLOWNESS, Home, processes_of, wait_until
from test_build import BUSYBOX, PLAIN_FLAKE, THREE_STAGES, as_root, digest, project, with_busybox
from test_services import FLAKE as SERVICES_FLAKE

pytestmark = [
    as_root,  # the tests compare with builds of the host, and buildah's are root's
    pytest.mark.patience(400),
]


@pytest.fixture(scope="module")
def home(seed):
    """A home with a builder for all tests; the first build makes its image."""
    home = Home(seed)
    home.ok("builder", "start", "--memory", "1G", "--cache-size", "1G", timeout=300 * SLOWNESS)
    yield home
    home.ok("builder", "prune")
    close_home(home)


def both_ways(home, root, timeout=120):
    """The digest that a build has on the host and in the builder."""
    native = digest(home, root, "--force", "--builder", "native", timeout=timeout)
    there = home.ok("build", "--force", "--builder", "vm", root, timeout=timeout * 4)
    assert there.text.strip() == native
    return native


def in_builder(home, *command):
    return home.ok("exec", "mvm-builder", "--", *command).text


# ---- the same both ways


def test_a_dockerfile_of_three_stages(home):
    manifest = '[source]\ndockerfile = "Dockerfile"\nbuild_args = { WORD = "xyz" }\n[[files]]\npath = "/note"\nfrom = "notes/one"\n'
    root = with_busybox(project(home, manifest, "docker", Dockerfile=THREE_STAGES, notes__one="a note"))
    both_ways(home, root)
    assert home.ok("run", "-q", root).text == "xyz\nlo\n"
    assert home.ok("run", "-q", "--entrypoint", "/bin/cat", root, "--", "/note").text == "a note"


def test_a_flake_without_inputs(home):
    manifest = 'entrypoint = "cat /bin/../word"\n[source]\nflake = "nix"\n'
    root = project(home, manifest, "flake", **{"nix__flake.nix": PLAIN_FLAKE})
    with_busybox(root / "nix")
    both_ways(home, root)
    assert home.ok("run", "-q", root).text == "plain\n"


def test_a_flake_with_a_path_input(home):
    flake = PLAIN_FLAKE.replace("{ self }", "{ self, lib }").replace("echo plain", "echo ${lib.word}")
    flake = flake.replace("{\n", '{\n  inputs.lib.url = "path:./lib";\n', 1)
    lib = '{ outputs = { self }: { word = "from the input"; }; }\n'
    files = {"flake.nix": flake, "lib__flake.nix": lib}
    root = with_busybox(project(home, 'entrypoint = "cat /bin/../word"\n[source]\nflake = "."\n', "inputs", **files))
    both_ways(home, root)
    assert home.ok("run", "-q", root).text == "from the input\n"


def test_a_guest_of_nix_with_two_services_and_a_health_check(home):
    root = with_busybox(project(home, '[source]\nflake = "."\n', "services", **{"flake.nix": SERVICES_FLAKE}))
    both_ways(home, root)
    home.ok("up", "--name", "m", root)
    home.ok("wait", "--for", "health", "--timeout", f"{int(20 * SLOWNESS)}s", "m")
    assert {s["name"] for s in home.inspect("m")["services"]} == {"web", "tick"}
    home.ok("rm", "-f", "m")


@pytest.mark.parametrize("source", ['image = "busybox"', 'dir = "tree"', 'image = "tar:tree.tar"', 'image = "tar:%s/tree.tar"'])
def test_files_of_this_host(home, source):
    root = project(home, "", "tree", tree__etc__motd="hello\n")
    subprocess.run(["tar", "-C", root / "tree", "--mtime=@0", "-cf", root / "tree.tar", "."], check=True)
    source = source % root if "%" in source else source
    (root / "mvm.toml").write_text(f'env = {{ A = "1" }}\n[source]\n{source}\n[[files]]\npath = "/own"\ntext = "x"\n')
    both_ways(home, root)


def test_a_sealed_image(home):
    home.ok("key", "new", "me")
    manifest = f'seal = "sealed"\nentrypoint = "echo {home.root.name}"\n[source]\nimage = "busybox"\n'
    root = project(home, manifest, "sealed")
    both_ways(home, root)
    assert home.ok("run", "-q", root).text == f"{home.root.name}\n"


@pytest.mark.skipif("MVM_E2E_SLOW" not in os.environ, reason="six minutes in an emulated builder; MVM_E2E_SLOW=1 runs it")
@pytest.mark.patience(1500)
def test_a_debian_recipe_with_python(home):
    manifest = 'entrypoint = ["python3", "-c", "print(6 * 7)"]\n[source]\ndebian = "bookworm"\npackages = ["python3"]\nhooks = ["echo hooked > /etc/hook"]\n'
    root = project(home, manifest, "debian")
    both_ways(home, root, timeout=300)
    assert home.ok("run", "-q", root).text == "42\n"


# ---- where the host has no tools


def without(home, *tools):
    """An environment in whose PATH there is everything but these."""
    place = home.work / ("without-" + "-".join(tools))
    place.mkdir()
    for directory in os.environ["PATH"].split(":"):
        for program in sorted(Path(directory).glob("*")):
            link = place / program.name
            if program.name not in tools and not link.exists():
                link.symlink_to(program)
    return {"PATH": str(place)}


def test_a_host_without_nix_and_buildah_builds_in_the_machine(home):
    lacking = without(home, "nix", "buildah")
    # Of this home alone: homes share a cache, which may hold a source that an earlier run has made.
    root = with_busybox(project(home, '[source]\ndockerfile = "Dockerfile"\n', "bare", Dockerfile=f"{THREE_STAGES}# {home.root.name}\n"))
    refused = home.run("build", "--builder", "native", root, env=lacking)
    assert refused.code == 125 and "apt-get install buildah" in refused.errors
    built = home.ok("build", root, env=lacking)
    assert "this host has no buildah: building in the builder's machine" in built.errors
    assert built.text.strip() == digest(home, root, "--force", "--builder", "native")
    files = {"flake.nix": PLAIN_FLAKE}
    flake = with_busybox(project(home, 'entrypoint = "cat /bin/../word"\n[source]\nflake = "."\n', "bare-flake", **files))
    home.ok("build", flake, env=lacking)
    assert home.ok("run", "-q", flake).text == "plain\n"


def test_where_no_builder_is_possible_the_error_says_what_would_make_one(bare_home):
    home = bare_home
    root = project(home, '[source]\nflake = "."\n', "nothing", **{"flake.nix": PLAIN_FLAKE})
    done = home.run("build", root, env=without(home, "nix", "mmdebstrap"))
    assert done.code == 125
    assert "this host has no nix, and no builder" in done.errors and "apt-get install mmdebstrap" in done.errors


# ---- what goes wrong


def test_errors_of_steps_come_with_the_paths_of_this_host_and_their_log(home):
    root = with_busybox(project(home, '[source]\nflake = "."\n', "broken", **{"flake.nix": PLAIN_FLAKE.replace('"tool"', "mistyped")}))
    done = home.run("build", "--builder", "vm", root)
    assert done.code == 125
    assert "undefined variable 'mistyped'" in done.errors and "flake.nix:4:14" in done.errors
    assert "/build/work" not in done.errors
    root = with_busybox(project(home, '[source]\ndockerfile = "Dockerfile"\n', "line", Dockerfile="FROM scratch\nCOPPY a b\n"))
    done = home.run("build", "--builder", "vm", root)
    assert done.code == 125 and "COPPY" in done.errors
    assert "COPPY" in Path(done.errors.rsplit("whole log: ", 1)[1].strip()).read_text()
    assert in_builder(home, "ls", "/build/work") == ""


SLEEPER = 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "sh", "-c", "echo %s; /bin/busybox sleep 1000"]\n'


def sleeping_build(home, name):
    root = with_busybox(project(home, '[source]\ndockerfile = "Dockerfile"\n', name, Dockerfile=SLEEPER % name))
    build = home.popen("build", "--builder", "vm", root)
    wait_until(lambda: sleeps(home), 60 * SLOWNESS, "the RUN")
    return root, build


def sleeps(home):
    return "busybox sleep 1000" in in_builder(home, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").replace("sh -c cat", "")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_no_process_in_the_builder(home, how):
    root, build = sleeping_build(home, f"interrupted-{how}")
    build.send_signal(how)
    build.communicate(timeout=20)
    wait_until(lambda: not sleeps(home), 20 * SLOWNESS, "the end of the RUN")
    (root / "Dockerfile").write_text(f"FROM scratch\nCOPY busybox /bin/after-{how}\n")
    home.ok("build", "--builder", "vm", root)
    assert os.listdir(home.path / "data/images/tmp") == []


def test_a_builder_that_dies_is_said_and_the_next_build_has_another(home):
    root, build = sleeping_build(home, "dies")
    os.kill(home.inspect("mvm-builder")["supervisor_pid"], signal.SIGKILL)
    _, errors = build.communicate(timeout=30)
    assert build.returncode == 125 and b"builder" in errors
    assert home.json("builder", "status", "--json")["state"] == "crashed"
    (root / "Dockerfile").write_text("FROM scratch\nCOPY busybox /bin/other\n")
    home.ok("build", "--builder", "vm", root)
    assert home.json("builder", "status", "--json")["state"] == "running"


def test_a_full_cache_is_said_and_can_be_emptied(home):
    in_builder(home, "sh", "-c", "fallocate -l 2G /build/filler || dd if=/dev/zero of=/build/filler bs=1M 2>/dev/null; true")
    root = with_busybox(project(home, '[source]\ndir = "."\n', "full"))
    (root / "big").write_bytes(os.urandom(4 << 20))
    done = home.run("build", "--builder", "vm", root)
    assert done.code == 125 and "No space left" in done.errors
    in_builder(home, "rm", "/build/filler")
    home.ok("build", "--builder", "vm", root)


def test_two_builds_at_once_share_the_builder(home):
    roots = [project(home, '[source]\ndir = "d"\n', f"twin{i}", d__x=str(i)) for i in range(2)]
    builds = [home.popen("build", "--builder", "vm", root) for root in roots]
    assert [build.wait(timeout=60) for build in builds] == [0, 0]


def test_a_builder_is_started_shown_and_stopped(home):
    status = home.json("builder", "status", "--json")
    assert status["state"] == "running" and status["cache_used_bytes"] > 0
    assert "mvm-builder" in home.ok("ls", "-q").text
    home.ok("builder", "stop")
    assert home.json("builder", "status", "--json")["state"] == "none"
    assert home.json("builder", "status", "--json")["cache_used_bytes"] > 0


def test_the_configuration_decides_where_and_behind_which_boundary(home):
    home.ok("builder", "stop")
    root = project(home, '[source]\ndir = "d"\n', "configured", d__x="of this test alone")
    (home.path / "config").mkdir(exist_ok=True)
    (home.path / "config/config.toml").write_text('builder = "vm"\nisolation = "microvm"\n')
    # No weaker machine than the configuration wants, whatever is in it.
    refused = home.run("build", root)
    assert refused.code == 125 and "no builder" in refused.errors and "microvm" in refused.errors
    (home.path / "config/config.toml").unlink()
    assert home.json("builder", "status", "--json")["state"] == "none"


def test_a_machine_of_the_builders_name_is_not_taken_for_it(home):
    home.ok("builder", "stop")
    home.up("mvm-builder")
    for verb in (["builder", "stop"], ["builder", "status"], ["build", "--builder", "vm", "--force", project(home, '[source]\ndir = "d"\n', "n", d__x="1")]):
        done = home.run(*verb)
        assert done.code == 125 and "is not mvm's builder" in done.errors
    home.ok("rm", "-f", "mvm-builder")


def test_a_builder_ends_when_nobody_builds(home):
    home.ok("builder", "start", "--memory", "1G", "--idle-timeout", "300ms")
    wait_until(lambda: home.json("builder", "status", "--json")["state"] == "stopped", 20 * SLOWNESS, "its end")
    assert "no command was connected" in home.inspect("mvm-builder")["message"]

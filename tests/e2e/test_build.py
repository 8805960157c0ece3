# SPDX-License-Identifier: Apache-2.0
"""Projects into images: every kind of source, what is built again and what is not, and what goes wrong."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from mvm import MVMCTL, SLOWNESS, in_own_mounts, processes_of, wait_until

MVM_BUILD = Path(MVMCTL).resolve().parent.parent / "libexec/mvm/mvm-build"
BUSYBOX = shutil.which("busybox")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="buildah's builds are root's")


def project(home, manifest, name="project", **files):
    """A directory with this manifest and these files; "/" in a name is written "__"."""
    root = home.work / name
    root.mkdir(parents=True, exist_ok=True)
    (root / "mvm.toml").write_text(manifest)
    for path, text in files.items():
        file = root / path.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def digest(home, root, *options, **settings):
    return home.ok("build", *options, root, **settings).text.strip()


# ---- the main job


@pytest.mark.parametrize("preset", ["minimal", "http", "worker"])
def test_a_preset_is_valid_and_builds(home, preset):
    root = home.work / preset
    home.ok("init", root, "--preset", preset)
    assert home.ok("validate", root).text.endswith("mvm.toml: ok\n")
    built = home.ok("build", root)
    assert [line.split()[0] for line in built.errors.splitlines()] == ["source", "overlay", "assemble", f"{preset}:"]
    assert len(built.text.strip()) == 64


def test_init_writes_over_nothing(home):
    home.ok("init", home.work / "p")
    again = home.run("init", home.work / "p")
    assert again.code == 125
    assert "mvm.toml exists already" in again.errors


def test_a_project_runs_what_its_manifest_says_or_what_is_given(home):
    root = project(home, 'entrypoint = ["echo", "from", "the manifest"]\nenv = { A = "b" }\n[source]\nimage = "busybox"\n')
    digest(home, root)
    assert home.ok("run", "-q", root).text == "from the manifest\n"
    assert home.ok("run", "-q", root, "--", "sh", "-c", "echo $A").text == "b\n"
    below = root / "deep/er"
    below.mkdir(parents=True)
    assert home.ok("run", "-q", cwd=below).text == "from the manifest\n"


def test_a_project_that_was_not_built_says_what_to_do(home):
    root = project(home, '[source]\nimage = "busybox"\n')
    done = home.run("run", root)
    assert done.code == 125
    assert f"hint: build it with: mvmctl build {root}" in done.errors


def test_files_of_the_manifest_lie_over_the_source_as_roots(home):
    root = project(
        home,
        """
[source]
image = "busybox"
[[files]]
path = "/etc/motd"
text = "hello\\n"
mode = "0600"
[[files]]
path = "/srv"
from = "site"
[[files]]
path = "/etc/welcome"
link = "motd"
""",
        site__index="page\n",
    )
    digest(home, root)
    script = "cat /etc/welcome /srv/index; stat -c '%u:%g %a %Y' /etc/motd /srv/index"
    assert home.ok("run", "-q", root, "--", "sh", "-c", script).text == "hello\npage\n0:0 600 0\n0:0 644 0\n"


def test_resources_and_ports_of_the_manifest_are_the_machines(home):
    root = project(home, 'ports = ["0.0.0.0:18080:80"]\n[source]\nimage = "busybox"\n[resources]\nvcpus = 2\nmemory = "300M"\n')
    digest(home, root)
    home.ok("up", "--name", "m", root)
    spec = home.inspect("m")["spec"]
    home.ok("rm", "-f", "m")
    assert spec["limits"]["vcpus"] == 2
    assert spec["limits"]["memory_bytes"] == 300 << 20
    assert spec["network"]["forwards"][0]["host_port"] == 18080
    home.ok("up", "--name", "m", "--cpus", "1", "-p", "18081:81", root)
    spec = home.inspect("m")["spec"]
    home.ok("rm", "-f", "m")
    assert spec["limits"]["vcpus"] == 1
    assert [f["host_port"] for f in spec["network"]["forwards"]] == [18081]


# ---- revisions


def test_nothing_is_done_when_nothing_has_changed(home):
    root = project(home, '[source]\ndir = "root"\n', root__etc__x="1")
    first = home.json("build", "--json", root)
    assert not first["unchanged"] and [s["id"] for s in first["steps"]] == ["source", "overlay", "assemble"]
    runs = [home.run("build", "--json", root) for _ in range(5)]
    for done in runs:
        again = json.loads(done.text)
        assert again["unchanged"] and again["steps"] == []
        assert again["revision"] == first["revision"]
    assert min(done.seconds for done in runs) < 0.15 * SLOWNESS


def test_the_same_inputs_give_the_same_image_in_another_directory(home, bare_home):
    files = {"root__bin__tool": "#!/bin/sh\n", "site__a": "a", "site__b": "b"}
    manifest = 'name = "same"\n[source]\ndir = "root"\n[[files]]\npath = "/srv"\nfrom = "site"\n'
    one = home.json("build", "--json", project(home, manifest, "one", **files))
    two = bare_home.json("build", "--json", project(bare_home, manifest, "somewhere/else", **files))
    assert not two["unchanged"]
    assert (two["image_digest"], two["revision"]) == (one["image_digest"], one["revision"])
    # In the same home it is not even made again, whatever its name.
    manifest = manifest.replace('name = "same"\n', "")
    three = home.json("build", "--json", project(home, manifest, "three", **files))
    assert three["unchanged"]


def test_a_changed_project_is_booted_as_it_was_built_and_says_so(home):
    root = project(home, 'entrypoint = ["cat", "/x"]\n[source]\nimage = "busybox"\n[[files]]\npath = "/x"\nfrom = "x"\n', x="old\n")
    digest(home, root)
    os.utime(root / "x")
    assert "has changed" not in home.ok("run", root).errors
    (root / "x").write_text("new\n")
    drifted = home.ok("run", root)
    assert drifted.text == "old\n"
    assert "has changed since revision" in drifted.errors
    assert home.ok("run", "--build", root).text == "new\n"
    # Back again: what was built before is found.
    (root / "x").write_text("old\n")
    assert home.json("build", "--json", root)["unchanged"]
    assert home.ok("run", root).text == "old\n"


def test_the_plan_tells_steps_inputs_and_keys(home):
    root = project(home, '[source]\ndebian = "bookworm"\n[[files]]\npath = "/x"\nfrom = "x"\n', x="1")
    plan = home.json("build", "--plan", "--json", root)
    source, overlay, assemble = plan["steps"]
    assert (source["tools"], source["network"], source["inputs"]) == (["mmdebstrap"], True, [])
    assert [i["name"] for i in overlay["inputs"]] == ["x"] and not overlay["network"]
    assert assemble["key"] == plan["revision"]
    assert home.json("manifest", "ls", "--json")["builds"] == []


def test_builds_are_listed_checked_tagged_and_forgotten(home):
    root = project(home, 'name = "web"\n[source]\ndir = "root"\n', root__x="1")
    first = home.json("build", "--json", "--tag", "stable", root)
    (root / "root/x").write_text("2")
    second = home.json("build", "--json", root)
    assert [b["revision"] for b in home.json("manifest", "ls", "--json")["builds"]] == [second["revision"], first["revision"]]
    assert home.json("manifest", "info", "stable")["standing"] == "an older revision"
    assert home.json("manifest", "info", "web")["standing"] == "up to date"
    home.ok("manifest", "verify", "web")
    # One byte of the image is another's.
    blob = home.path / "data/images/blobs" / f"{second['image_digest']}.erofs"
    with open(blob, "r+b") as file:
        file.seek(5000)
        file.write(b"X")
    damaged = home.run("manifest", "verify", "web")
    assert damaged.code == 125 and "is not what was built" in damaged.errors
    home.ok("build", "--force", root)
    home.ok("manifest", "verify", "web")
    # What is tagged or current stays.
    (root / "root/x").write_text("3")
    third = home.json("build", "--json", root)
    assert home.json("manifest", "prune", "--json")["removed"] == [second["revision"]]
    home.ok("manifest", "rm", "stable")
    assert [b["revision"] for b in home.json("manifest", "ls", "--json")["builds"]] == [third["revision"]]
    assert not (home.path / "data/images/blobs" / f"{first['image_digest']}.erofs").exists()


# ---- manifests that are wrong


@pytest.mark.parametrize(
    "text, place, says, hint",
    [
        ("[source]\nimgae = 'busybox'\n", ":2:1", "no key 'imgae'", "did you mean image?"),
        ("[source]\nimage = 'busybox'\n[resources]\nmemory = 512\n", ":4:10", "has no unit", "512M"),
        ("[source]\nimage = 'busybox'\n[resources]\nmemory = '12Q'\n", ":4:10", "12Q", ""),
        ("[source]\nimage = 7\n", ":2:9", "must be a text in quotes", ""),
        ("[source]\ndir = '../up'\n", ":2:7", "leads out of the project", ""),
        ("[source\n", ":1:", "", ""),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_place(home, text, place, says, hint):
    root = project(home, text)
    for verb in ("validate", "build"):
        done = home.run(verb, root)
        assert done.code in (64, 125), done
        assert f"mvm.toml{place}" in done.errors and says in done.errors and hint in done.errors


def test_a_file_that_is_not_there_is_named(home):
    root = project(home, '[source]\nimage = "busybox"\n[[files]]\npath = "/x"\nfrom = "missing"\n')
    for verb in ("validate", "build"):
        done = home.run(verb, root)
        assert done.code == 125 and f"{root}/missing" in done.errors


def test_the_schema_is_json(home):
    schema = json.loads(home.ok("validate", "--schema").text)
    assert schema["properties"]["source"]["properties"]["debian"]["description"]


# ---- Dockerfiles


THREE_STAGES = """
FROM scratch AS base
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
FROM base AS tool
ARG WORD=none
RUN echo "$WORD" > /word; ls /sys/class/net > /nets
FROM base
COPY --from=tool /word /nets /
ENV GREETING=hello
ENTRYPOINT ["/bin/cat", "/word", "/nets"]
"""


def with_busybox(root):
    shutil.copy(BUSYBOX, root / "busybox")
    return root


@as_root
def test_a_dockerfile_of_three_stages_is_built_and_runs(home):
    manifest = '[source]\ndockerfile = "Dockerfile"\nbuild_args = { WORD = "%s" }\n'
    root = with_busybox(project(home, manifest % "xyz", Dockerfile=THREE_STAGES))
    first = digest(home, root)
    # RUN has no network but its own loopback.
    assert home.ok("run", "-q", root).text == "xyz\nlo\n"
    # From the caches or without them, the same image.
    assert digest(home, root, "--refresh") == first
    (root / "mvm.toml").write_text(manifest % "abc")
    assert digest(home, root) != first
    assert home.ok("run", "-q", root).text == "abc\nlo\n"


@as_root
def test_a_stage_and_ignored_files_are_respected(home):
    root = project(
        home,
        '[source]\ndockerfile = "Dockerfile"\nstage = "first"\n',
        Dockerfile="FROM scratch AS first\nCOPY . /\nFROM scratch\nCOPY kept /other\n",
        kept="1",
        dropped="2",
    )
    (root / ".dockerignore").write_text("dropped\nmvm.toml\nDockerfile\n.dockerignore\n")
    with_busybox(root)
    digest(home, root)
    assert home.ok("run", "-q", root, "--", "/busybox", "ls", "/kept").text == "/kept\n"
    assert home.run("run", "-q", root, "--", "/busybox", "ls", "/dropped").code != 0


@as_root
def test_a_bad_line_of_a_dockerfile_is_shown_and_its_log_kept(home):
    root = with_busybox(project(home, '[source]\ndockerfile = "Dockerfile"\n', Dockerfile="FROM scratch\nCOPPY a b\n"))
    done = home.run("build", root)
    assert done.code == 125
    assert "COPPY" in done.errors
    log = Path(done.errors.rsplit("whole log: ", 1)[1].strip())
    assert "COPPY" in log.read_text()
    (root / "Dockerfile").write_text("FROM scratch\nCOPY busybox /\n")
    home.ok("build", root)


@as_root
def test_a_failing_run_shows_what_it_said(home):
    text = THREE_STAGES.replace('RUN echo "$WORD"', 'RUN echo "cannot do it" >&2; exit 3; echo "$WORD"')
    root = with_busybox(project(home, '[source]\ndockerfile = "Dockerfile"\n', Dockerfile=text))
    done = home.run("build", root)
    assert done.code == 125
    assert "exit status 3" in done.errors
    log = Path(done.errors.rsplit("whole log: ", 1)[1].strip())
    assert "cannot do it" in log.read_text()


# ---- flakes


PLAIN_FLAKE = """{
  outputs = { self }: {
    packages.x86_64-linux.default = derivation {
      name = "tool"; system = "x86_64-linux"; builder = "${self}/busybox";
      args = [ "sh" "-ec" ''
        b=${self}/busybox; $b mkdir -p $out/bin; $b cp $b $out/bin/busybox
        for a in sh cat ls; do $b ln -s busybox $out/bin/$a; done; echo plain > $out/word
      '' ];
    };
    packages.x86_64-linux.other = self.packages.x86_64-linux.default;
  };
}
"""


def test_a_flake_without_inputs_is_built_and_runs(home):
    manifest = 'entrypoint = "cat /bin/../word"\n[source]\nflake = "nix"\n'
    root = project(home, manifest, **{"nix__flake.nix": PLAIN_FLAKE})
    with_busybox(root / "nix")
    first = digest(home, root)
    assert home.ok("run", "-q", root).text == "plain\n"
    (root / "mvm.toml").write_text(manifest + 'profile = "other"\n')
    assert digest(home, root) == first


def test_a_flake_with_a_path_input_is_built_and_its_lock_is_left_alone(home):
    lib = project(home, "", "lib", **{"flake.nix": '{ outputs = { self }: { word = "from the input"; }; }\n'})
    flake = PLAIN_FLAKE.replace("{ self }", "{ self, lib }").replace("echo plain", "echo ${lib.word}")
    flake = flake.replace("{\n", '{\n  inputs.lib.url = "path:%s";\n' % lib, 1)
    root = with_busybox(project(home, 'entrypoint = "cat /bin/../word"\n[source]\nflake = "."\n', **{"flake.nix": flake}))
    home.ok("build", root)
    assert home.ok("run", "-q", root).text == "from the input\n"
    assert not (root / "flake.lock").exists()


def test_a_flake_that_does_not_evaluate_is_shown_with_its_place(home):
    flake = PLAIN_FLAKE.replace('name = "tool"', 'name = mistyped')
    root = with_busybox(project(home, '[source]\nflake = "."\n', **{"flake.nix": flake}))
    done = home.run("build", root)
    assert done.code == 125
    assert "undefined variable 'mistyped'" in done.errors
    assert "flake.nix:4:14" in done.errors


def test_a_flake_without_the_profile_says_what_it_needs(home):
    root = with_busybox(project(home, '[source]\nflake = "."\nprofile = "none"\n', **{"flake.nix": PLAIN_FLAKE}))
    done = home.run("build", root)
    assert done.code == 125
    assert "packages.x86_64-linux.none" in done.errors and "the profile of the manifest" in done.errors


# ---- Debian


@pytest.mark.patience(400)
def test_a_debian_recipe_with_python_and_a_hook_is_the_same_twice(home):
    manifest = 'entrypoint = ["python3", "-c", "print(open(\'/etc/hook\').read())"]\n[source]\ndebian = "bookworm"\npackages = ["python3-minimal"]\nhooks = ["echo hooked > /etc/hook"]\n'
    root = project(home, manifest)
    first = digest(home, root, timeout=300)
    assert home.ok("run", "-q", root).text == "hooked\n\n"
    # Another environment: the system is not made again.
    (root / "mvm.toml").write_text('env = { A = "1" }\n' + manifest)
    again = home.json("build", "--json", root)
    assert again["steps"][0]["cached"] and again["image_digest"] == first


# ---- what goes wrong


SLEEPER = """
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "echo %s; /bin/busybox sleep %s"]
"""


def sleeping_build(home, seconds):
    # The home's name makes it a RUN of its own: homes share a cache of layers, which may know this one already.
    root = with_busybox(project(home, '[source]\ndockerfile = "Dockerfile"\n', Dockerfile=SLEEPER % (home.root.name, seconds)))
    build = home.popen("build", root)
    wait_until(
        lambda: any(f"sleep {seconds}" in line and "busybox" in line for line in command_lines()), 30, "the RUN"
    )
    return root, build


def command_lines():
    out = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                out.append(Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                pass
    return [line for line in out if line.startswith("/bin/busybox sleep")]


@as_root
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_nothing_and_the_next_succeeds(home, how):
    seconds = 1000 + how
    root, build = sleeping_build(home, seconds)
    build.send_signal(how)
    build.communicate(timeout=20)
    assert build.returncode in (-how, 130)
    wait_until(lambda: not any(f"sleep {seconds}" in line for line in command_lines()), 10, "the end of the RUN")
    wait_until(lambda: not processes_of(home.path), 10, "the end of the tools")
    (root / "Dockerfile").write_text("FROM scratch\nCOPY busybox /bin/busybox\n")
    home.ok("build", root)
    assert os.listdir(home.path / "data/images/tmp") == []


@as_root
def test_a_project_that_changes_during_its_build_is_refused(home):
    root, build = sleeping_build(home, 2.5)
    (root / "added").write_text("meanwhile")
    _, errors = build.communicate(timeout=60)
    assert build.returncode == 125
    assert b"has changed while it was built" in errors
    home.ok("build", root)


def test_two_builds_at_once_give_the_same(home):
    root = project(home, '[source]\ndir = "root"\n', root__x="1")
    both = [home.popen("build", "--force", root) for _ in range(4)]
    outputs = {build.communicate(timeout=60)[0] for build in both}
    assert all(build.returncode == 0 for build in both)
    assert len(outputs) == 1


@as_root
def test_a_full_disk_is_said_and_the_next_build_succeeds(home):
    root = project(home, '[source]\ndir = "root"\n')
    (root / "root").mkdir()
    (root / "root/big").write_bytes(os.urandom(12 << 20))
    script = f"""
      mkdir -p {home.path}/small && mount -t tmpfs -o size=16m none {home.path}/small && cd {root}
      MVM_HOME={home.path}/small "$MVMCTL" build .; echo "exit $?"
      ls {home.path}/small/data/images/tmp
      mount -o remount,size=64m {home.path}/small
      MVM_HOME={home.path}/small "$MVMCTL" build . >/dev/null 2>&1; echo "exit $?"
    """
    done = in_own_mounts(home, script)
    assert done.stdout.splitlines() == ["exit 125", "exit 0"], done
    assert "No space left on device" in done.stderr or "no room" in done.stderr


# ---- the sandbox


def sandboxed(tmp_path, script, *options):
    inside = tmp_path / "inside"
    inside.mkdir()
    return subprocess.run(
        [MVM_BUILD, "__sandbox", "--write", inside, *options, "--", "sh", "-c", script],
        capture_output=True,
        text=True,
        cwd=inside,
    )


@as_root
def test_a_tool_writes_only_where_it_may(tmp_path):
    outside = tmp_path / "outside"
    done = sandboxed(tmp_path, f"touch here && ls; touch {outside}; touch /usr/x")
    assert done.stdout == "here\n"
    assert done.stderr.count("Read-only file system") == 2
    assert not outside.exists()


@as_root
def test_a_tool_sees_no_other_process_and_no_network(tmp_path):
    done = sandboxed(tmp_path, "ls -d /proc/[0-9]* | wc -l; tail -n +3 /proc/net/dev | cut -d: -f1")
    processes, *networks = done.stdout.split()
    assert int(processes) < 8
    assert networks == ["lo"]



@as_root
def test_a_tools_exit_code_and_signal_come_through(tmp_path):
    assert sandboxed(tmp_path, "exit 7").returncode == 7
    (tmp_path / "inside").rmdir()
    assert sandboxed(tmp_path, "kill -9 $$").returncode == 128 + 9

# SPDX-License-Identifier: Apache-2.0
"""Volumes: disks that outlive the machines they are mounted in."""

import pytest
from test_build import project


def volumes(home):
    return {v["name"]: v for v in home.json("volume", "ls", "--json")["volumes"]}


def test_what_one_machine_writes_the_next_one_reads(home):
    home.ok("run", "--volume", "data:/data", "--", "sh", "-c", "echo kept > /data/file; chmod 700 /data")
    read = "cat /srv/deep/file; stat -c %a /srv/deep; ls -A /srv/deep"
    assert home.ok("run", "-q", "--volume", "data:/srv/deep", "--", "sh", "-c", read).text == "kept\n700\nfile\n"
    assert home.ok("volume", "rm", "data").text == "data\n"
    assert volumes(home) == {}


def test_a_new_volume_takes_over_owner_and_mode_of_what_it_covers(home):
    script = "stat -c '%a %u:%g' /tmp /var/spool/v; ls -A /var/spool/v | wc -l"
    root = project(home, '[source]\nimage = "busybox"\n[[files]]\npath = "/var/spool/v/x"\ntext = ""\n')
    home.ok("build", root)
    out = home.ok("run", "-q", "--volume", "a:/tmp", "--volume", "b:/var/spool/v:64M", root, "--", "sh", "-c", script)
    assert out.text == "1777 0:0\n755 0:0\n0\n"
    assert volumes(home)["b"]["size_bytes"] == 64 << 20
    home.ok("volume", "rm", "a", "b")


def test_one_machine_has_a_volume_at_a_time(home):
    home.up("m", "--volume", "data:/data")
    assert volumes(home)["data"]["machine"] == "m"
    for refused in (home.run("run", "--volume", "data:/d", "--", "true"), home.run("volume", "rm", "data")):
        assert refused.code == 125 and "in use by machine 'm'" in refused.errors and "mvmctl stop m" in refused.errors
    home.ok("exec", "m", "--", "sh", "-c", "echo x > /data/x")
    home.ok("stop", "m")
    assert home.ok("run", "-q", "--volume", "data:/d", "--", "cat", "/d/x").text == "x\n"
    home.ok("rm", "m")
    home.ok("volume", "rm", "data")


def test_a_machine_that_is_killed_leaves_its_volume_readable_and_free(home):
    home.up("m", "--volume", "data:/data")
    home.ok("exec", "m", "--", "sh", "-c", "echo x > /data/x; sync")
    home.ok("kill", "m")
    assert home.ok("run", "-q", "--volume", "data:/data", "--", "cat", "/data/x").text == "x\n"
    home.ok("rm", "m")


def test_volumes_of_a_project_are_its_own(home):
    manifest = 'name = "shop"\nentrypoint = "echo on disk >> /data/log; cat /data/log"\n[source]\nimage = "busybox"\n[[volumes]]\nname = "data"\npath = "/data"\n'
    root = project(home, manifest)
    home.ok("build", root)
    home.ok("run", root)
    assert home.ok("run", "-q", root).text == "on disk\non disk\n"
    assert list(volumes(home)) == ["shop+data"]
    assert home.ok("run", "-q", "--volume", "other:/data", root).text == "on disk\n"
    home.ok("volume", "rm", "shop+data", "other")


def test_a_disk_that_is_no_file_system_is_named(home):
    home.ok("run", "--volume", "data:/data", "--", "true")
    with open(volumes(home)["data"]["path"], "r+b") as disk:
        disk.write(b"\xff" * 65536)
    done = home.run("run", "--volume", "data:/data", "--", "true")
    assert done.code == 125 and "mounting volume data" in done.errors and "ext4" in done.errors
    home.ok("volume", "rm", "data")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/tmp:/d", "mvmctl cp"),
        ("data", "NAME:PATH[:SIZE]"),
        ("data:relative", "absolute path"),
        ("../x:/d", "not a volume"),
        ("a/b:/d", "name"),
        ("data:/d:1M", "at least 64M"),
        ("data:/d:many", "many"),
    ],
)
def test_a_volume_that_cannot_be_is_refused(home, text, words):
    done = home.run("run", "--volume", text, "--", "true")
    assert done.code in (64, 125) and words in done.errors, done.errors
    assert volumes(home) == {}


def test_a_volume_that_is_not_there_cannot_be_removed(home):
    done = home.run("volume", "rm", "nothing")
    assert done.code == 125 and "there is no volume 'nothing'" in done.errors
    assert home.run("volume", "rm", "../images").code == 64


def test_a_machine_with_volumes_has_no_snapshot(home):
    home.up("m", "--volume", "data:/data")
    done = home.run("snapshot", "create", "m")
    assert done.code == 125 and ("volumes" in done.errors or "no snapshots" in done.errors)
    home.ok("rm", "-f", "m")
    home.ok("volume", "rm", "data")

# SPDX-License-Identifier: Apache-2.0
"""Images from every kind of local source, and images that are not what they say they are."""

import io
import os
import shutil
import subprocess
import tarfile

import pytest
from mvm import Home, in_own_mounts
from oci import APP_CONFIG, Layer, LayoutDir, busybox_layer

ENTRY = "entry default as 1500:1600 in /srv with blue\n"


@pytest.fixture
def layout(home):
    return LayoutDir(home.work / "layout")


def skopeo(home, source, target):
    subprocess.run(
        ["skopeo", "copy", "--quiet", source, target],
        check=True,
        env=home.env(),
        capture_output=True,
    )


def test_oci_image_runs_with_its_own_entrypoint_user_directory_and_environment(home, layout):
    assert home.ok("run", "-q", "oci:layout:latest").text == ENTRY
    assert home.ok("run", "-q", "oci:layout", "--", "a", "b").text == ENTRY.replace(
        "default", "a b"
    )
    assert (
        home.ok("run", "-q", "--entrypoint", "/bin/echo", "oci:layout", "--", "mine").text
        == "mine\n"
    )
    done = home.ok("run", "-q", "-u", "0", "-w", "/etc", "-e", "COLOUR=red", "oci:layout")
    assert done.text == "entry default as 0:0 in /etc with red\n"


def test_layers_are_applied_with_whiteouts_opaque_directories_owners_and_links(home, layout):
    script = "cd /srv; echo *; echo opaque/*; cat replaced kept; stat -c '%u:%g %a %h' kept; test hard -ef kept && echo same"
    done = home.ok(
        "run", "-q", "--entrypoint", "/bin/sh", "-u", "0", "oci:layout", "--", "-c", script
    )
    assert (
        done.text == "hard kept opaque replaced\nopaque/new\nsecond\nkept\n1500:1600 640 2\nsame\n"
    )


def test_configuration_of_the_image_is_shown(home, layout):
    home.ok("image", "pull", "oci:layout")
    config = home.json("image", "inspect", f"oci:{home.work}/layout", "--json")["config"]
    assert config["entrypoint"] == APP_CONFIG["Entrypoint"]
    assert (config["user"], config["working_dir"], config["stop_signal"]) == (
        "app",
        "/srv",
        "SIGUSR1",
    )


def test_stop_signal_of_the_image_reaches_its_main_process(home):
    entry = "#!/bin/sh\ntrap 'echo usr1; exit 0' USR1\necho up\nwhile :; do sleep 0.1; done\n"
    layers = [
        busybox_layer(),
        Layer().directory("srv").add("bin/entry", content=entry, mode=0o755).done(),
    ]
    LayoutDir(home.work / "layout", layers)
    home.ok("up", "-q", "--name", "s", "--memory", "160M", "oci:layout")
    process = home.popen("logs", "-f", "s")
    assert process.stdout.readline() == b"up\n"
    home.ok("stop", "s")
    assert (
        b"usr1" in process.communicate(timeout=20)[0].splitlines()
    )  # beside what the shell says of its sleep
    home.ok("rm", "s")


def test_archives_and_layout_give_the_same_digest_and_run(home, layout):
    skopeo(home, "oci:" + str(layout.path) + ":latest", f"oci-archive:{home.work}/a.tar:latest")
    skopeo(
        home, "oci:" + str(layout.path) + ":latest", f"docker-archive:{home.work}/d.tar:app:latest"
    )
    digests = {
        home.ok("image", "pull", s).text
        for s in ("oci:layout", "oci-archive:a.tar", "docker-archive:d.tar")
    }
    assert len(digests) == 1
    assert home.ok("run", "-q", "oci-archive:a.tar").text == ENTRY
    assert home.ok("run", "-q", "docker-archive:d.tar").text == ENTRY


def test_directory_and_tar_run(home):
    tree = home.work / "tree"
    (tree / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), tree / "bin/busybox")
    os.symlink("busybox", tree / "bin/echo")
    assert (
        home.ok("run", "-q", "dir:tree", "--", "/bin/echo", "from a directory").text
        == "from a directory\n"
    )
    with tarfile.open(home.work / "tree.tar.gz", "w:gz") as tar:
        tar.add(tree, ".")
    assert (
        home.ok("run", "-q", "tar:tree.tar.gz", "--", "/bin/echo", "from a tar").text
        == "from a tar\n"
    )


def test_tar_keeps_device_nodes_owners_modes_and_hard_links(home):
    def member(name, kind, **fields):
        info = tarfile.TarInfo(name)
        info.type, info.mtime = kind, 1
        for field, value in fields.items():
            setattr(info, field, value)
        return info

    content = open(shutil.which("busybox"), "rb").read()
    with tarfile.open(home.work / "nodes.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        sh = member("bin/sh", tarfile.REGTYPE, mode=0o755, size=len(content))
        archive.addfile(sh, io.BytesIO(content))
        archive.addfile(member("bin/stat", tarfile.LNKTYPE, linkname="bin/sh"))
        archive.addfile(
            member("srv/zero", tarfile.CHRTYPE, devmajor=1, devminor=5, mode=0o640, uid=7, gid=8)
        )
        archive.addfile(
            member("srv/block", tarfile.BLKTYPE, devmajor=7, devminor=3, mode=0o600)
        )
        archive.addfile(member("srv/pipe", tarfile.FIFOTYPE, mode=0o622))
        archive.addfile(member("srv/set", tarfile.REGTYPE, mode=0o4751, uid=70000, gid=70001))
    script = "cd /srv; stat -c '%n %F %t,%T %a %u:%g' *; stat -c %h /bin/sh; read -n 1 x < zero; echo read"
    done = home.ok("run", "-q", "tar:nodes.tar", "--", "sh", "-c", script)
    assert done.text.splitlines() == [
        "block block special file 7,3 600 0:0",
        "pipe fifo 0,0 622 0:0",
        "set regular empty file 0,0 4751 70000:70001",
        "zero character special file 1,5 640 7:8",
        "2",
        "read",
    ]


def test_changed_source_is_never_served_from_the_cache(home):
    tree = home.work / "tree"
    (tree / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), tree / "bin/busybox")
    (tree / "file").write_text("one")
    assert home.ok("run", "-q", "dir:tree", "--", "/bin/busybox", "cat", "/file").text == "one"
    (tree / "file").write_text("two")
    assert home.ok("run", "-q", "dir:tree", "--", "/bin/busybox", "cat", "/file").text == "two"


def test_same_input_gives_the_same_digest_in_another_home(home, bare_home):
    first = LayoutDir(home.work / "layout")
    shutil.copytree(first.path, bare_home.work / "elsewhere")
    assert (
        home.ok("image", "pull", "oci:layout").text
        == bare_home.ok("image", "pull", "oci:elsewhere").text
    )


def test_umoci_s_layout_runs(home):
    if not shutil.which("umoci"):
        pytest.skip("umoci is not installed")
    rootless = "" if os.geteuid() == 0 else " --rootless"
    shell = (
        f"umoci init --layout u && umoci new --image u:x && umoci unpack{rootless} --image u:x b && mkdir -p b/rootfs/bin &&"
        " cp $(command -v busybox) b/rootfs/bin/sh && umoci repack --image u:x b && echo later > b/rootfs/two &&"
        " umoci repack --image u:x b && umoci config --image u:x --config.entrypoint /bin/sh --config.user 77:88"
    )
    subprocess.run(
        shell, shell=True, check=True, cwd=home.work, env=home.env(), capture_output=True
    )
    script = "read x < /two; echo $x; busybox() { /bin/sh busybox; }; echo done"
    done = home.ok("run", "-q", "oci:u:x", "--", "-c", script)
    assert done.text == "later\ndone\n"


def test_images_are_listed_by_name_and_removed(home, layout):
    home.ok("image", "pull", "oci:layout")
    assert f"oci:{home.work}/layout" in home.ok("image", "ls").text
    blob = home.blob(f"oci:{home.work}/layout")
    assert blob.exists()
    home.ok("image", "rm", f"oci:{home.work}/layout")
    assert not blob.exists()
    assert f"oci:{home.work}/layout" not in home.ok("image", "ls").text


def test_image_of_a_machine_is_not_removed_or_pruned(home):
    home.up("user")
    done = home.run("image", "rm", home.json("image", "inspect", "busybox", "--json")["digest"])
    assert done.code == 125, done
    assert "use" in done.errors
    home.ok("image", "prune", "--all")
    assert home.blob("busybox").exists()
    home.ok("rm", "-f", "user")
    home.ok("image", "prune", "--all")
    assert home.json("image", "ls", "--json")["images"] == []


# --- bad input: a clear error, exit code 125, nothing left behind (the fixture sees to that) ----


def refused(home: Home, source, *words, code=125):
    done = home.run("image", "pull", source)
    assert done.code == code, done
    for word in words:
        assert word in done.errors, done
    assert not any(source in i["ref"] for i in home.json("image", "ls", "--json")["images"])
    assert "hint:" in done.errors, done


def test_corrupt_layer_is_named_by_its_digest(home, layout):
    file = layout.file_of(layout.layers[1])
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    refused(home, "oci:layout", layout.layers[1]["digest"].removeprefix("sha256:")[:12])


def test_truncated_layer_is_named_by_its_digest(home, layout):
    file = layout.file_of(layout.layers[0])
    os.truncate(file, file.stat().st_size // 2)
    refused(home, "oci:layout", layout.layers[0]["digest"].removeprefix("sha256:")[:12])


def test_manifest_with_another_digest_is_refused(home, layout):
    file = layout.file_of(layout.manifest)
    file.write_bytes(file.read_bytes().replace(b'"schemaVersion": 2', b'"schemaVersion":  2'))
    refused(home, "oci:layout", "sha256:")


def test_missing_blob_is_named(home, layout):
    layout.file_of(layout.layers[2]).unlink()
    refused(home, "oci:layout", layout.layers[2]["digest"].removeprefix("sha256:")[:12])


def test_unknown_tag_is_named(home, layout):
    refused(home, "oci:layout:v9", "v9")


def test_image_of_another_architecture_is_refused_naming_both(home):
    LayoutDir(home.work / "arm", arch="arm64")
    refused(home, "oci:arm", "arm64", "amd64")


def test_layer_that_climbs_out_is_refused_and_writes_nothing(home):
    outside = home.root / "planted"
    evil = Layer().add(f"../../../../../../../..{outside}", content="x").done()
    LayoutDir(home.work / "evil", [busybox_layer(), evil])
    refused(home, "oci:evil", "..")
    assert not outside.exists()


def test_layer_that_writes_through_its_own_link_stays_inside(home):
    outside = home.root / "outside"
    outside.mkdir()
    evil = Layer().symlink("way", str(outside)).add("way/planted", content="x").done()
    LayoutDir(home.work / "evil", [busybox_layer(), evil])
    home.run("image", "pull", "oci:evil")
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    "source",
    [
        "oci:nowhere",
        "dir:nowhere",
        "tar:nowhere.tar",
        "oci-archive:nowhere",
        "docker-archive:nowhere",
    ],
)
def test_source_that_is_not_there_is_named(home, source):
    refused(home, source, "nowhere")


def test_file_that_is_no_archive_is_refused(home):
    (home.work / "text").write_text("this is no archive\n" * 100)
    for kind in ("tar", "oci-archive", "docker-archive"):
        refused(home, f"{kind}:text", "text")


def test_truncated_erofs_is_a_clear_fault_of_the_image(home):
    blob = home.blob("busybox")
    data = blob.read_bytes()
    blob.unlink()  # the seed has the same inode
    blob.write_bytes(data[: len(data) // 8 // 4096 * 4096])
    done = home.run("run", "--boot-timeout", "20s", "--", "true")
    assert done.code == 125, done
    assert any(word in done.errors.lower() for word in ("image", "erofs", "root")), done


def test_full_disk_is_told_and_leaves_nothing(home, layout):
    small = home.root / "small"
    small.mkdir()
    script = f"""mount -t tmpfs -o size=1500K none {small}
        MVM_HOME={small}/home "$MVMCTL" image pull oci:{layout.path}; code=$?
        find {small}/home -path '*/images/tmp/*'; exit $code"""
    done = in_own_mounts(home, script)
    assert done.returncode == 125, done
    assert "space" in done.stderr.lower() or "disk is full" in done.stderr, done
    assert "hint:" in done.stderr
    assert done.stdout == ""


def test_full_disk_when_a_machine_is_made_leaves_no_machine(home):
    script = f"""mkdir -p {home.path}/data/vms && mount -t tmpfs -o size=64K none {home.path}/data/vms
        "$MVMCTL" run -q -- true; code=$?; ls {home.path}/data/vms; "$MVMCTL" ls -q; exit $code"""
    done = in_own_mounts(home, script)
    assert done.returncode == 125, done
    assert "space" in done.stderr.lower() or "full" in done.stderr, done
    assert done.stdout == ""


def test_read_only_home_is_named_and_reading_verbs_still_work(home):
    script = f"""mount --bind {home.path} {home.path} && mount -o remount,bind,ro {home.path}
        "$MVMCTL" ls; echo "ls $?"; "$MVMCTL" image ls -q; "$MVMCTL" run -- true; echo "run $?" """
    done = in_own_mounts(home, script)
    assert "ls 0\nbusybox\n" in done.stdout, done
    assert "run 125" in done.stdout, done
    assert str(home.path) in done.stderr, done
    assert "MVM_HOME" in done.stderr, done


def test_pulls_of_one_source_at_once_give_one_image(home, layout):
    pulls = [home.popen("image", "pull", "-q", "oci:layout") for _ in range(4)]
    ends = [(*pull.communicate(timeout=60), pull.returncode) for pull in pulls]
    assert [code for _, _, code in ends] == [0] * 4, ends
    assert len({out for out, _, _ in ends}) == 1
    assert len(home.json("image", "ls", "--json")["images"]) == 2  # and the seed's


def test_prune_beside_a_start_does_not_take_its_image(home, layout):
    starts = [home.popen("run", "-q", "oci:layout") for _ in range(2)]
    while any(start.poll() is None for start in starts):
        home.ok("image", "prune", "--all")
    ends = [(*start.communicate(), start.returncode) for start in starts]
    assert [(out.decode(), code) for out, _, code in ends] == [(ENTRY, 0)] * 2, ends

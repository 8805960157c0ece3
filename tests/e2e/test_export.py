# SPDX-License-Identifier: Apache-2.0
"""`image export`: what other tools take, and what comes back is the same image."""

import json
import os
import stat
import subprocess
import tarfile

from mvm import in_own_mounts
from test_build import project


def rich_tree(root):
    """Everything that an image can hold and an archive can lose."""
    tree = root / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "f").write_text("content\n")
    for name in ("hard", "a/b/hard"):
        os.link(tree / "f", tree / name)
    (tree / "a/link").symlink_to("../f")
    (tree / "a/dangling").symlink_to("/nowhere/" + "x" * 200)
    (tree / "big").write_bytes(os.urandom(300_000))
    (tree / "page").write_bytes(b"p" * 4096)
    (tree / "empty").touch()
    (tree / "näme with blanks").write_text("ü")
    (tree / ("n" * 200)).write_text("long")
    many = tree / "many"
    many.mkdir()
    for i in range(700):
        (many / f"file-with-a-rather-long-name-number-{i}").write_text(str(i))
    os.setxattr(tree / "f", "user.note", b"hello\0there")
    os.setxattr(tree / "big", "user.note", b"v" * 2000)
    os.mkfifo(tree / "a/fifo")
    if os.geteuid() == 0:
        os.setxattr(tree / "page", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
        os.mknod(tree / "a/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(tree / "a/disk", 0o600 | stat.S_IFBLK, os.makedev(259, 70000))
        os.chown(tree / "big", 1234, 70000)
    os.chmod(tree / "big", 0o4751)
    os.chmod(many, 0o1700)
    os.utime(tree / "f", ns=(0, 981_173_106_789_012_345))
    os.utime(tree / "empty", ns=(0, 0))
    return tree


def test_what_was_exported_comes_back_as_the_same_image(home):
    tree = rich_tree(home.work)
    digest = home.ok("image", "pull", "-q", f"dir:{tree}").text.strip()
    archive = home.work / "tree.tar"
    manifest = home.ok("image", "export", f"dir:{tree}", f"oci-archive:{archive}:v1").text.strip()
    assert home.ok("image", "pull", "-q", f"oci-archive:{archive}:v1").text.strip() == digest
    again = home.work / "again.tar"
    assert home.json("image", "export", "--json", digest, f"oci-archive:{again}:v1")["manifest_digest"] == manifest
    assert again.read_bytes() == archive.read_bytes()
    told = json.loads(subprocess.run(["skopeo", "inspect", f"oci-archive:{archive}"], stdout=subprocess.PIPE, check=True).stdout)
    assert told["Digest"] == manifest and told["Architecture"] == "amd64"


def test_the_layer_has_each_file_once_with_its_links_and_attributes(home):
    tree = rich_tree(home.work)
    home.ok("image", "pull", "-q", f"dir:{tree}")
    archive = home.work / "tree.tar"
    home.ok("image", "export", f"dir:{tree}", f"oci-archive:{archive}")
    with tarfile.open(archive) as outer:
        layer = max(outer.getmembers(), key=lambda m: m.size)
        with tarfile.open(fileobj=outer.extractfile(layer)) as inner:
            members = {m.name.removeprefix("./"): m for m in inner}
    links = [m for m in members.values() if m.islnk()]
    assert sorted(m.name for m in links) == ["f", "hard"] and all(m.linkname == "a/b/hard" for m in links)
    assert members["a/b/hard"].pax_headers["SCHILY.xattr.user.note"] == "hello\0there"
    assert members["a/link"].linkname == "../f" and members["a/fifo"].isfifo()
    assert members["big"].mode == 0o4751 and members["many"].mode == 0o1700
    if os.geteuid() == 0:
        assert (members["a/disk"].devmajor, members["a/disk"].devminor) == (259, 70000)
        assert (members["big"].uid, members["big"].gid) == (1234, 70000)


def test_what_a_project_says_goes_along(home):
    manifest = f'name = "app"\nenv = {{ WORD = "{home.root.name}" }}\nentrypoint = "echo $WORD"\n[source]\nimage = "busybox"\n'
    root = project(home, manifest)
    home.ok("build", root)
    ref = next(i["ref"] for i in home.json("image", "ls", "--json")["images"] if i["ref"].startswith("build:app@"))
    home.ok("image", "export", ref, f"oci-archive:{home.work}/app.tar")
    assert home.ok("run", "-q", f"oci-archive:{home.work}/app.tar").text == f"{home.root.name}\n"


def test_a_sealed_image_is_exported_without_its_seal(home):
    home.ok("key", "new", "me")
    manifest = f'name = "app"\nseal = "sealed"\nentrypoint = "echo {home.root.name}"\n[source]\nimage = "busybox"\n'
    home.ok("build", project(home, manifest))
    ref = next(i["ref"] for i in home.json("image", "ls", "--json")["images"] if i["signer"])
    home.ok("image", "export", ref, f"oci-archive:{home.work}/app.tar")
    open_one = f"oci-archive:{home.work}/app.tar"
    assert home.ok("run", "-q", open_one).text == f"{home.root.name}\n"
    assert home.ok("run", "-q", open_one, "--", "echo", "in").text == "in\n"


def test_only_archives_are_written(home):
    for target in ("dir:/tmp/x", "docker://reg.example/x:1", "busybox"):
        done = home.run("image", "export", "busybox", target)
        assert done.code in (64, 125) and "oci-archive:FILE" in done.errors, done
    missing = home.run("image", "export", "nothing", f"oci-archive:{home.work}/x.tar")
    assert missing.code == 125 and "no image named" in missing.errors
    nowhere = home.run("image", "export", "busybox", f"oci-archive:{home.work}/no/x.tar")
    assert nowhere.code == 125 and "No such file" in nowhere.errors


def test_a_damaged_image_is_refused(home):
    blob = home.blob("busybox")
    data = bytearray(blob.read_bytes())
    blob.unlink()  # the seed has the same inode
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    done = home.run("image", "export", "busybox", f"oci-archive:{home.work}/x.tar")
    assert done.code == 125 and "not what its name says" in done.errors
    assert list(home.work.iterdir()) == []


def test_a_full_disk_leaves_no_half_archive(home):
    small = home.root / "small"
    small.mkdir()
    script = f"""mount -t tmpfs -o size=500k none {small}
        "$MVMCTL" image export busybox oci-archive:{small}/x.tar; echo code $?; ls {small} | wc -l"""
    done = in_own_mounts(home, script)
    assert "code 125\n0\n" in done.stdout and "space" in done.stderr.lower(), done

# SPDX-License-Identifier: Apache-2.0
"""`mvmctl cp` and `mvmctl diff`."""

import hashlib
import os
import stat
import time

import pytest
from mvm import scaled, sha256_of, status_field

MIB = 1 << 20


def make_tree(root):
    root.mkdir()
    (root / "sub").mkdir()
    (root / "sub/file").write_text("content\n")
    (root / "sub/program").write_text("#!/bin/sh\n")
    (root / "sub/program").chmod(0o751)
    (root / "secret").write_text("s")
    (root / "secret").chmod(0o600)
    (root / "empty").mkdir()
    os.symlink("sub/file", root / "link")
    os.symlink("/nowhere/at all", root / "dangling")
    os.link(root / "sub/file", root / "hard")
    (root / "späce and ünicode").write_bytes(b"\0\1")
    (root / ("n" * 200)).write_text("long")
    return root


def listing(root):
    found = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        kind = stat.S_IFMT(info.st_mode)
        content = (
            os.readlink(path)
            if stat.S_ISLNK(info.st_mode)
            else path.read_bytes() if stat.S_ISREG(info.st_mode) else ""
        )
        mode = 0 if stat.S_ISLNK(info.st_mode) else stat.S_IMODE(info.st_mode)
        found[str(path.relative_to(root))] = (kind, mode, content)
    return found


@pytest.mark.patience(400)
def test_a_gibibyte_each_way_is_unchanged_and_memory_stays_flat(shared):
    size = scaled(1024, 16) * MIB
    source, back = shared.work / "big", shared.work / "big.back"
    with open(source, "wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
    began = time.monotonic()
    shared.ok("cp", source, "box:/big", timeout=280)
    middle = time.monotonic()
    shared.ok("cp", "box:/big", back, timeout=280)
    end = time.monotonic()
    print(
        f"in {size / MIB / (middle - began):.0f} MiB/s, out {size / MIB / (end - middle):.0f} MiB/s"
    )
    shared.ok("exec", "box", "--", "rm", "/big")
    same = sha256_of(source) == sha256_of(back)
    source.unlink(), back.unlink()
    assert same
    assert status_field(shared.inspect("box")["supervisor_pid"], "VmHWM") < 32 * MIB
    assert (
        int(shared.ok("exec", "box", "--", "awk", "/VmHWM/{print $2}", "/proc/1/status").text)
        < 32 << 10
    )


def test_large_and_small_files_of_odd_sizes_are_unchanged_both_ways(shared):
    source = shared.work / "sizes"
    source.mkdir()
    for number, size in enumerate((0, 5, 3 * MIB + 1, 511, 2 * MIB, 70_001, MIB + 511, 1)):
        (source / f"{number}-{size}").write_bytes(os.urandom(size))
    os.link(source / f"2-{3 * MIB + 1}", source / "linked")
    (source / f"4-{2 * MIB}").chmod(0o444)
    for name in ("00-holes", "3-holes"):
        with open(source / name, "wb") as file:
            file.write(os.urandom(MIB))
            file.seek(50 * MIB)
            file.write(b"end")
    (source / "5-zeros").write_bytes(bytes(200_000))
    shared.ok("cp", source, "box:/srv/sizes")
    shared.ok("cp", "box:/srv/sizes", shared.work / "sizes.back")
    assert listing(shared.work / "sizes.back") == listing(source)
    counted = shared.ok("exec", "box", "--", "sh", "-c", "cd /srv/sizes && cat * | sha256sum")
    joined = b"".join((source / name).read_bytes() for name in sorted(os.listdir(source)))
    assert counted.text.split()[0] == hashlib.sha256(joined).hexdigest()
    shared.ok("exec", "box", "--", "rm", "-r", "/srv/sizes")


def test_directory_keeps_links_modes_and_names_both_ways(shared):
    tree = make_tree(shared.work / "tree")
    shared.ok("cp", tree, "box:/copied")
    assert (
        shared.ok(
            "exec", "box", "--", "stat", "-c", "%a %h %U", "/copied/hard", "/copied/sub/program"
        ).text
        == "644 2 root\n751 1 root\n"
    )
    shared.ok("cp", "box:/copied", shared.work / "again")
    assert listing(shared.work / "again") == listing(tree)
    assert (shared.work / "again/hard").stat().st_ino == (
        shared.work / "again/sub/file"
    ).stat().st_ino


def test_existing_directory_receives_the_source_inside(shared):
    (shared.work / "one").write_text("1")
    shared.ok("exec", "box", "--", "mkdir", "-p", "/in")
    shared.ok("cp", shared.work / "one", "box:/in")
    assert shared.ok("exec", "box", "--", "cat", "/in/one").text == "1"
    target = shared.work / "here"
    target.mkdir()
    shared.ok("cp", "box:/in/one", target)
    assert (target / "one").read_text() == "1"


def test_dot_copies_the_content_only(shared):
    (shared.work / "dot").mkdir()
    (shared.work / "dot/x").write_text("x")
    shared.ok("exec", "box", "--", "mkdir", "-p", "/dot")
    shared.ok("cp", f"{shared.work}/dot/.", "box:/dot")
    assert shared.ok("exec", "box", "--", "ls", "/dot").text == "x\n"
    shared.ok("cp", "box:/dot/.", shared.work / "undot")
    assert (shared.work / "undot/x").read_text() == "x"


def test_file_is_renamed_and_replaced(shared):
    (shared.work / "a").write_text("first")
    shared.ok("cp", shared.work / "a", "box:/tmp/b")
    (shared.work / "a").write_text("second")
    shared.ok("cp", shared.work / "a", "box:/tmp/b")
    assert shared.ok("exec", "box", "--", "cat", "/tmp/b").text == "second"


def test_follow_link_copies_what_it_points_to(shared):
    shared.ok("exec", "box", "--", "sh", "-c", "echo t > /tmp/target; ln -sf target /tmp/ln")
    shared.ok("cp", "box:/tmp/ln", shared.work / "as-link")
    assert os.readlink(shared.work / "as-link") == "target"
    shared.ok("cp", "-L", "box:/tmp/ln", shared.work / "as-file")
    assert (shared.work / "as-file").read_text() == "t\n"


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("box:/not/there", "x", "/not/there"),
        ("not-here", "box:/tmp", "not-here"),
        ("/etc/hostname", "box:/no/such/dir/x", "/no/such/dir"),
        ("/etc/hostname", "box:/no-dir/", "/no-dir/"),
        ("box:/etc/passwd", "/no/such/dir/x", "/no/such/dir"),
        ("box:/etc/passwd", "/proc/nothing", "/proc/nothing"),
        ("/etc/hostname", "box:/proc/x", "/proc"),
    ],
)
def test_missing_or_impossible_place_is_named(shared, source, target, words):
    done = shared.run("cp", source, target)
    assert done.code == 125, done
    assert words in done.errors


def test_full_scratch_disk_is_told_and_the_machine_goes_on(home):
    home.up("small", "--disk", "64M")
    (home.work / "large").write_bytes(os.urandom(100 * MIB))  # zeros would become a hole
    done = home.run("cp", home.work / "large", "small:/large")
    assert done.code == 125, done
    assert "space" in done.errors.lower()
    assert home.ok("exec", "small", "--", "echo", "alive").text == "alive\n"
    home.ok("rm", "-f", "small")


def test_hostile_tree_in_the_guest_cannot_write_outside_the_target(shared):
    outside = shared.work / "outside"
    outside.mkdir()
    shared.ok(
        *("exec", "box", "--", "sh", "-c"),
        f"mkdir -p /evil && cd /evil && ln -s {outside} way && ln -s ../../../../../../tmp up && echo x > file",
    )
    # First the link arrives; then the same name is a directory with a file in it.
    shared.ok("cp", "box:/evil", shared.work / "evil")
    shared.ok(
        "exec", "box", "--", "sh", "-c", "cd /evil && rm way && mkdir way && echo x > way/planted"
    )
    shared.run("cp", "box:/evil/.", shared.work / "evil")
    assert list(outside.iterdir()) == []


def test_target_that_is_a_link_to_a_directory_receives_the_source_inside(shared):
    (shared.work / "real").mkdir()
    os.symlink("real", shared.work / "alias")
    shared.ok("cp", "box:/etc/passwd", shared.work / "alias")
    assert (shared.work / "real/passwd").exists()


def test_fifo_and_devices_in_the_guest_do_not_hang_the_copy(shared):
    shared.ok(
        "exec",
        "box",
        "--",
        "sh",
        "-c",
        "mkdir -p /odd && cd /odd && mkfifo pipe && mknod null c 1 3 && echo x > file",
    )
    done = shared.run("cp", "box:/odd", shared.work / "odd", timeout=30)
    assert done.code in (0, 125), done
    assert (shared.work / "odd/file").read_text() == "x\n"


def test_interrupted_copy_leaves_the_machine_usable(shared):
    (shared.work / "long").write_bytes(bytes(256 * MIB))
    process = shared.popen("cp", shared.work / "long", "box:/tmp/long")
    time.sleep(0.3)
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert shared.ok("exec", "box", "--", "echo", "fine").text == "fine\n"
    (shared.work / "long").unlink()


def test_diff_lists_what_was_added_changed_and_deleted(home):
    home.up("changed")
    home.ok(
        "exec",
        "changed",
        "--",
        "sh",
        "-c",
        "echo new > /new; echo more >> /etc/passwd; rm /etc/group; mkdir -p /d/e; touch /d/e/f",
    )
    lines = home.ok("diff", "changed").text.splitlines()
    assert "A /new" in lines
    assert "C /etc/passwd" in lines
    assert "D /etc/group" in lines
    assert "A /d/e/f" in lines
    home.ok("rm", "-f", "changed")

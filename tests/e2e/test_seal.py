# SPDX-License-Identifier: Apache-2.0
"""Sealed images: only what was signed runs, and nobody gets in; keys and bundles."""

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import urllib.request
from pathlib import Path

import pytest
from mvm import SLOWNESS, Home, free_port, in_own_mounts, wait_until
from test_build import MVM_BUILD, command_lines, project

RESULT = 'entrypoint = "mkdir -p /out; cat /etc/word > /out/result; cat /etc/word"\noutputs = ["/out"]\n'
STAYS = 'entrypoint = "mkdir -p /out; ln -s /etc /out/link; cp /etc/word /out/result; echo up; exec sleep 1000"\noutputs = ["/out"]\n'
SOURCE = '[source]\nimage = "busybox"\n[[files]]\npath = "/etc/word"\ntext = "%s\\n"\n'


def sealed(home, word, head=RESULT, name="app"):
    """A project whose image no other test has."""
    return project(home, f'name = "{name}"\nseal = "sealed"\n{head}{SOURCE % word}', name=name)


def blob_of(home, digest):
    return home.path / "data/images/blobs" / f"{digest}.erofs"


def flip(path, at):
    """Changes one byte in place, where whoever has the file open sees it."""
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


@pytest.fixture
def signer(home):
    home.ok("key", "new", "me")
    return home


def built(home, root, *options):
    return home.ok("build", *options, root).text.strip()


def test_a_sealed_image_runs_what_was_signed(signer):
    root = sealed(signer, signer.root.name)
    digest = built(signer, root)
    done = signer.ok("run", root)
    assert done.text == f"{signer.root.name}\n" and "is sealed, signed by me (ed25519:" in done.errors
    unsealed = signer.run("run", "--sealed", "busybox", "--", "true")
    assert unsealed.code == 125 and "is not sealed" in unsealed.errors
    tree = signer.work / "other"
    shutil.copytree(root, tree)
    assert built(signer, tree, "--force") == digest
    plan = signer.json("build", "--plan", "--json", root)
    assert [step["id"] for step in plan["steps"]] == ["source", "overlay", "assemble", "seal"]


def test_without_a_key_nothing_is_built(home):
    done = home.run("build", sealed(home, "x"))
    assert done.code == 125 and "no key to sign with" in done.errors and "mvmctl key new" in done.errors
    assert home.json("manifest", "ls", "--json")["builds"] == []


def test_nobody_gets_in(signer):
    root = sealed(signer, signer.root.name, STAYS)
    built(signer, root)
    signer.ok("up", "-q", "--name", "m", root)
    wait_until(lambda: "up" in signer.ok("logs", "m").text, 10 * SLOWNESS, "the entrypoint")
    local = signer.work / "file"
    local.write_text("x")
    for refused in (
        signer.run("exec", "m", "--", "id"),
        signer.run("exec", "m", "--", "sleep", "1000"),
        signer.run("cp", local, "m:/tmp/file"),
        signer.run("cp", "m:/etc/word", signer.work / "word"),
        signer.run("cp", "m:/out/../etc/word", signer.work / "word"),
        signer.run("cp", "m:/out/link/word", signer.work / "word"),
        signer.run("diff", "m"),
    ):
        assert refused.code not in (0, 64) and "the image is sealed" in refused.errors, refused
    assert signer.run("snapshot", "create", "m").code != 0
    assert len(signer.inspect("m")["spec"]["sealed_by"]) == 64
    assert not (signer.work / "word").exists()
    signer.ok("cp", "m:/out/result", signer.work / "result")
    assert (signer.work / "result").read_text() == f"{signer.root.name}\n"
    signer.ok("stop", "m")
    signer.ok("rm", "m")


def test_what_the_machine_is_may_not_be_changed_at_its_start(signer):
    root = sealed(signer, signer.root.name)
    built(signer, root)
    for options, tail, word in (
        (["-e", "LD_PRELOAD=/x"], [], "environment"),
        (["-u", "0"], [], "user"),
        (["-w", "/tmp"], [], "directory"),
        (["--entrypoint", "sh"], [], "no other command"),
        (["--cmdline-extra", "init=/bin/sh"], [], "command line"),
        (["--volume", "v:/bin"], [], "no volume"),
        (["-p", f"{free_port()}:22"], [], "port 22"),
        ([], ["--", "sh"], "no other command"),
    ):
        done = signer.run("run", *options, root, *tail)
        assert done.code == 125 and "is sealed" in done.errors and word in done.errors, done
    assert signer.leaks() == []


def test_a_port_is_declared_for_one_protocol(signer):
    port = free_port()
    head = f'entrypoint = "echo up; exec sleep 1000"\nports = ["{port}:53/udp"]\n'
    root = sealed(signer, signer.root.name, head)
    built(signer, root)
    tcp = signer.run("run", "-p", f"{free_port()}:53", root)
    assert tcp.code == 125 and "port 53 is not one" in tcp.errors
    (root / "mvm.toml").write_text((root / "mvm.toml").read_text().replace("/udp", ""))
    built(signer, root)
    udp = signer.run("run", "-p", f"{free_port()}:53/udp", root)
    assert udp.code == 125 and "UDP port 53 is not one" in udp.errors
    signer.ok("up", "-q", "--name", "m", root)
    signer.ok("rm", "-f", "m")


def test_a_changed_byte_of_image_or_hash_tree_stops_the_boot(signer):
    root = sealed(signer, signer.root.name)
    blob = blob_of(signer, built(signer, root))
    size = blob.stat().st_size
    for at in (0, 1024, size // 2, size - 4096 - 100, size - 1):
        flip(blob, at)
        done = signer.run("run", root)
        assert done.code == 125 and "is not what was signed" in done.errors, f"byte {at}: {done}"
        flip(blob, at)
    assert signer.ok("run", "-q", root).text == f"{signer.root.name}\n"


def test_a_byte_that_changes_under_a_running_machine_ends_it(signer):
    port = free_port()
    head = f'entrypoint = ["httpd", "-f", "-p", "80", "-h", "/www"]\nports = ["{port}:80"]\n'
    more = '[[files]]\npath = "/www/big"\nfrom = "big"\n[[files]]\npath = "/www/up"\ntext = "up"\n'
    root = project(signer, f'name = "web"\nseal = "sealed"\n{head}{SOURCE % signer.root.name}{more}', name="web")
    big = os.urandom(4 << 20)
    (root / "big").write_bytes(big)
    blob = blob_of(signer, built(signer, root))
    signer.ok("up", "-q", "--name", "m", root)

    def get(name):  # what comes of it before the machine ends
        with contextlib.suppress(OSError, http.client.HTTPException):
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=20 * SLOWNESS).read()

    wait_until(lambda: get("up") == b"up", 20 * SLOWNESS, "the web server")
    flip(blob, blob.read_bytes().find(big[3 << 20 : (3 << 20) + 64]))
    get("big")
    signer.run("wait", "--for", "stopped", "--timeout", f"{int(20 * SLOWNESS)}s", "m")
    told = signer.machines()["m"]
    assert told["state"] == "failed" and "not what was signed" in told["message"], told
    signer.ok("rm", "m")


def change_record(home, statement):
    with contextlib.closing(sqlite3.connect(home.path / "data/catalog.db")) as db, db:
        assert db.execute(statement).rowcount == 1


def test_a_changed_record_stops_the_boot(signer):
    root = sealed(signer, signer.root.name)
    where = "where signed_manifest != ''"
    for change, words in (
        ("set signed_manifest = signed_manifest || 'tcp 22' || char(10)", "signature does not fit"),
        ("set signed_manifest = '', signature = '', signer = ''", "is not signed"),
        (
            "set signed_manifest = '', signature = '', signer = '', config_json = replace(config_json, 'sealed', 'dev')",
            "is not sealed",
        ),
        ("set config_json = replace(config_json, '/out/result', '/out/resulT')", "not what was signed"),
        ("set digest = (select digest from images where ref = 'busybox')", "not what was signed"),
    ):
        built(signer, root, "--force")
        change_record(signer, f"update images {change} {where}")
        done = signer.run("run", root)
        assert done.code == 125 and words in done.errors, f"{change}: {done}"
        # What is not what was signed is not signed again.
        assert not signer.json("build", "--json", root)["unchanged"], change
        assert signer.ok("run", "-q", root).text == f"{signer.root.name}\n"


def test_a_changed_policy_in_the_initramfs_stops_the_boot(signer):
    root = sealed(signer, signer.root.name)
    built(signer, root)
    signer.ok("run", root)
    cache = signer.path / "cache/initramfs/initramfs"
    if not cache.is_dir():
        cache = signer.path / "cache/initramfs"
    mine = [p for p in cache.glob("*.cpio") if b"output /out" in p.read_bytes()]
    archive = max(mine, key=lambda p: p.stat().st_mtime_ns)
    note = Path(f"{archive}.sha256")
    original = archive.read_bytes()
    try:
        archive.write_bytes(original.replace(b"output /out\n", b"output /etc\n"))
        noticed = signer.run("run", root)
        assert noticed.code == 125 and "is not what was made" in noticed.errors, noticed
        # Whoever changes the note too is told by the guest.
        note.write_text(subprocess.run(["sha256sum", archive], stdout=subprocess.PIPE, text=True).stdout.split()[0])
        refused = signer.run("run", root)
        assert refused.code == 125 and "is not what was signed" in refused.errors, refused
        assert "checking the seal" in refused.errors
        # Without its note it is made again.
        note.unlink()
        signer.ok("run", root)
        assert note.exists() and archive.read_bytes() == original
    finally:
        archive.unlink()
        note.unlink()
    signer.ok("run", root)


def test_it_boots_on_the_kernel_that_was_signed_only(signer):
    root = sealed(signer, signer.root.name)
    built(signer, root)
    kernel = signer.json("kernel", "ls", "--json")["kernels"][0]
    other = signer.work / "vmlinux"
    shutil.copyfile(kernel["path"], other)
    assert signer.ok("run", "-q", "--kernel", other, root).text == f"{signer.root.name}\n"
    with open(other, "ab") as file:
        file.write(b"\0")
    done = signer.run("run", "--kernel", other, root)
    assert done.code == 125 and "sealed for kernel" in done.errors, done


def add_kernel(home, name):
    """One more kernel in the cache, a byte longer than the first, and in use."""
    (first,) = [k for k in home.json("kernel", "ls", "--json")["kernels"] if k["in_use"]]
    place = home.path / "cache/kernels"
    shutil.copytree(place / first["package"], place / name, symlinks=True)
    with open(place / name / "vmlinux", "ab") as file:
        file.write(b"\0")
    digest = hashlib.sha256((place / name / "vmlinux").read_bytes()).hexdigest()
    note = json.loads((place / name / "kernel.json").read_text())
    note |= {"package": name, "vmlinux_sha256": digest, "vmlinux_bytes": note["vmlinux_bytes"] + 1}
    (place / name / "kernel.json").write_text(json.dumps(note))
    home.ok("kernel", "use", name)
    return first, digest


def signed_kernel(home):
    with contextlib.closing(sqlite3.connect(home.path / "data/catalog.db")) as db:
        (text,) = db.execute("select signed_manifest from images where signed_manifest != ''").fetchone()
    (line,) = [line for line in text.splitlines() if line.startswith("kernel ")]
    return line


def test_it_is_signed_for_another_kernel_without_a_build(own_kernels):
    home = own_kernels
    home.ok("key", "new", "me")
    root = sealed(home, home.root.name)
    built(home, root)
    before = signed_kernel(home)
    first, digest = add_kernel(home, "second")
    assert home.json("build", "--json", root)["unchanged"]
    assert first["digest"] in before and digest in signed_kernel(home)
    home.ok("kernel", "rm", first["package"])
    assert home.ok("run", "-q", root).text == f"{home.root.name}\n"


def test_a_kernel_that_is_changed_in_the_cache_stops_the_boot(own_kernels):
    home = own_kernels
    home.ok("key", "new", "me")
    root = sealed(home, home.root.name)
    built(home, root)
    (kernel,) = home.json("kernel", "ls", "--json")["kernels"]
    path = Path(kernel["path"])
    flip(path, path.stat().st_size // 2)
    done = home.run("run", root)
    assert done.code == 125 and "the kernel is not what was signed" in done.errors, done
    flip(path, path.stat().st_size // 2)
    assert home.ok("run", "-q", root).text == f"{home.root.name}\n"


def test_a_builder_that_gives_no_hash_tree_is_refused(signer):
    root = sealed(signer, signer.root.name)
    honest, liar = signer.work / "honest", signer.work / "liar"
    shutil.copy2(MVM_BUILD, honest)
    liar.write_text(f"#!/bin/sh\n{honest} \"$@\" | sed -E 's/,?\"verity\":\\{{[^}}]*\\}}//'\n")
    liar.chmod(0o755)
    script = f'mount --bind {liar} {MVM_BUILD} && "$MVMCTL" build {root}; echo code $?'
    done = in_own_mounts(signer, script)
    assert "code 125" in done.stdout and "has not sealed the image" in done.stderr, done
    assert signer.json("manifest", "ls", "--json")["builds"] == []


def test_only_trusted_keys_count(signer):
    root = sealed(signer, signer.root.name)
    built(signer, root)
    public = signer.ok("key", "export", "me").text
    signer.ok("key", "rm", "me")
    done = signer.run("run", root)
    assert done.code == 125 and "not trusted here" in done.errors and "mvmctl key import" in done.errors
    (signer.work / "me.pub").write_text(public)
    signer.ok("key", "import", "friend", signer.work / "me.pub")
    assert signer.ok("run", "-q", root).text == f"{signer.root.name}\n"
    refused = signer.run("build", "--force", "--key", "friend", root)
    assert refused.code == 125 and "somebody else's" in refused.errors


def test_another_key_signs_again_without_a_build(signer):
    root = sealed(signer, signer.root.name)
    built(signer, root)
    signer.ok("key", "new", "second")
    several = signer.run("build", root)
    assert several.code != 0 and "--key" in several.errors
    assert signer.json("build", "--json", "--key", "second", root)["unchanged"]
    # An image that has changed is not signed, but built again.
    flip(blob_of(signer, signer.json("build", "--json", "--key", "me", root)["image_digest"]), 5000)
    assert not signer.json("build", "--json", "--key", "second", root)["unchanged"]
    signer.ok("key", "rm", "me")
    signer.ok("config", "set", "signing_key", "second")
    assert signer.json("build", "--json", root)["unchanged"]
    assert signer.ok("run", "-q", root).text == f"{signer.root.name}\n"


def test_services_of_a_sealed_image_are_started_and_seen(signer):
    services = """[services.db]
command = "echo db; exec sleep 1000"
[services.db.health]
command = "true"
interval = "1s"
"""
    root = sealed(signer, signer.root.name, head="")
    with open(root / "mvm.toml", "a") as file:
        file.write(services)
    built(signer, root)
    only = signer.run("run", root)
    assert only.code == 125 and "mvmctl up" in only.errors
    signer.ok("up", "-q", "--name", "m", root)
    signer.ok("wait", "--for", "health", "--timeout", f"{int(20 * SLOWNESS)}s", "m")
    wait_until(lambda: signer.ok("logs", "--service", "db", "m").text == "db\n", 10 * SLOWNESS, "the service's words")
    signer.ok("stop", "m")
    signer.ok("rm", "m")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_build_that_is_ended_while_it_is_sealed_leaves_nothing(signer, how):
    tools = signer.work / "tools"
    tools.mkdir()
    seconds = 1500 + how
    (tools / "veritysetup").write_text(f"#!/bin/sh\n/bin/busybox sleep {seconds}\n")
    (tools / "veritysetup").chmod(0o755)
    root = sealed(signer, signer.root.name)
    build = signer.popen("build", root, env={"PATH": f"{tools}:{os.environ['PATH']}"})
    sleeps = lambda: any(f"sleep {seconds}" in line for line in command_lines())  # noqa: E731
    wait_until(sleeps, 20 * SLOWNESS, "the step")
    build.send_signal(how)
    build.communicate(timeout=20)
    wait_until(lambda: not sleeps(), 10, "the end of the step")
    assert signer.json("manifest", "ls", "--json")["builds"] == []
    built(signer, root)
    assert signer.ok("run", "-q", root).text == f"{signer.root.name}\n"
    assert os.listdir(signer.path / "data/images/tmp") == []


# --- keys ---------------------------------------------------------------------------------------


def test_keys_and_signatures_are_those_of_openssl(home):
    def openssl(*args):
        return subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, cwd=home.work)

    pem = home.work / "key.pem"
    assert openssl("genpkey", "-algorithm", "ed25519", "-out", pem).returncode == 0
    home.ok("key", "import", "mine", pem)
    home.ok("key", "new", "ours")
    assert home.ok("key", "export", "mine").text == openssl("pkey", "-in", pem, "-pubout").stdout
    ours = home.path / "config/keys/ours.key"
    assert ours.stat().st_mode & 0o777 == 0o600
    assert home.ok("key", "export", "ours").text == openssl("pkey", "-in", ours, "-pubout").stdout
    built(home, sealed(home, home.root.name), "--key", "mine")
    with contextlib.closing(sqlite3.connect(home.path / "data/catalog.db")) as db:
        text, signature = db.execute("select signed_manifest, signature from images where signer != ''").fetchone()
    (home.work / "manifest").write_text(text)
    (home.work / "signature").write_bytes(bytes.fromhex(signature))
    check = ("pkeyutl", "-verify", "-inkey", pem, "-rawin", "-in", "manifest", "-sigfile", "signature")
    assert openssl(*check).returncode == 0
    (home.work / "manifest").write_text(text + "tcp 22\n")
    assert openssl(*check).returncode != 0


def test_a_key_that_is_none_is_not_imported(home):
    for text, words in (
        ("hello", "BEGIN PUBLIC KEY"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nxx\n", "password"),
    ):
        done = home.run("key", "import", "x", "-", stdin=text)
        assert done.code != 0 and words in done.errors
    assert home.run("key", "new", "../x").code == 64
    assert home.json("key", "ls", "--json")["keys"] == []


# --- bundles ------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(seed):
    other = Home(seed)
    yield other
    assert other.leaks() == []
    other.destroy()


def trust(from_home, to_home):
    to_home.ok("key", "import", "them", "-", stdin=from_home.ok("key", "export", "me").text)


def test_a_sealed_image_runs_where_its_bundle_is_imported(signer, elsewhere):
    digest = built(signer, sealed(signer, signer.root.name))
    file = signer.work / "app.mvmpkg"
    signer.ok("bundle", "export", "app", file)
    refused = elsewhere.run("bundle", "import", file)
    assert refused.code == 125 and "not trusted here" in refused.errors
    assert elsewhere.run("bundle", "verify", file).code == 125
    trust(signer, elsewhere)
    told = elsewhere.json("bundle", "verify", "--json", file)
    assert told["sealed"] and told["signer"] == "them" and told["image_digest"] == digest and told["outputs"] == ["/out"]
    ref = elsewhere.ok("bundle", "import", file).text.strip()
    assert ref.startswith("bundle:app@")
    assert elsewhere.ok("run", "-q", ref).text == f"{signer.root.name}\n"
    assert elsewhere.run("run", ref, "--", "sh").code == 125
    assert elsewhere.ok("bundle", "import", "--name", "mine", file).text == "bundle:mine\n"
    assert elsewhere.ok("run", "-q", "bundle:mine").text == f"{signer.root.name}\n"


def test_a_name_is_not_taken_from_another_signer(signer, elsewhere):
    file = signer.work / "app.mvmpkg"
    built(signer, sealed(signer, signer.root.name))
    signer.ok("bundle", "export", "app", file)
    trust(signer, elsewhere)
    elsewhere.ok("bundle", "import", "--name", "app", file)
    signer.ok("key", "new", "other")
    built(signer, signer.work / "app", "--key", "other")
    signer.ok("bundle", "export", "app", file)
    elsewhere.ok("key", "import", "other", "-", stdin=signer.ok("key", "export", "other").text)
    refused = elsewhere.run("bundle", "import", "--name", "app", file)
    assert refused.code == 125 and "signed by another key" in refused.errors
    elsewhere.ok("bundle", "import", "--name", "another", file)


def test_an_image_that_is_not_sealed_travels_too(signer, elsewhere):
    root = project(signer, f'name = "dev"\nentrypoint = "cat /etc/word"\n{SOURCE % signer.root.name}')
    built(signer, root)
    file = signer.work / "dev.mvmpkg"
    signer.ok("bundle", "export", root, file)
    again = signer.work / "again.mvmpkg"
    signer.ok("bundle", "export", "dev", again)
    assert again.read_bytes() == file.read_bytes()
    trust(signer, elsewhere)
    ref = elsewhere.ok("bundle", "import", file).text.strip()
    assert elsewhere.ok("run", "-q", ref).text == f"{signer.root.name}\n"
    assert elsewhere.ok("run", "-q", ref, "--", "echo", "in").text == "in\n"


def test_a_bundle_that_was_changed_is_refused_and_leaves_nothing(signer, elsewhere):
    built(signer, sealed(signer, signer.root.name))
    file = signer.work / "app.mvmpkg"
    signer.ok("bundle", "export", "app", file)
    trust(signer, elsewhere)
    size = file.stat().st_size
    for at in (0, 8, 20, 200, 500, size // 2, size - 1):
        flip(file, at)
        for verb in ("verify", "import"):
            done = elsewhere.run("bundle", verb, file)
            assert done.code == 125, f"byte {at}: {done}"
        flip(file, at)
    os.truncate(file, size - 1)
    assert elsewhere.run("bundle", "import", file).code == 125
    assert [i for i in elsewhere.json("image", "ls", "--json")["images"] if i["ref"].startswith("bundle:")] == []


def test_a_bundle_of_an_image_that_has_changed_is_not_written(signer):
    root = sealed(signer, signer.root.name)
    flip(blob_of(signer, built(signer, root)), 5000)
    file = signer.work / "app.mvmpkg"
    done = signer.run("bundle", "export", root, file)
    assert done.code == 125 and "not the one that was signed" in done.errors
    assert sorted(p.name for p in signer.work.iterdir()) == ["app"]


def test_a_full_disk_leaves_no_half_bundle(signer):
    root = sealed(signer, signer.root.name)
    built(signer, root)
    small = signer.work / "small"
    small.mkdir()
    script = f'mount -t tmpfs -o size=300k none {small} && cd {small} && "$MVMCTL" bundle export {root} {small}/app.mvmpkg; echo code $?; ls {small} | wc -l'
    done = in_own_mounts(signer, script)
    assert "code 125\n0\n" in done.stdout and "No space left" in done.stderr, done

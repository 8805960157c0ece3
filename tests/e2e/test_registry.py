# SPDX-License-Identifier: Apache-2.0
"""Images from a real registry on loopback: plain http, and TLS with a password."""

import base64
import json
import os
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from mvm import free_port, wait_until
from oci import LayoutDir

ENTRY = "entry default as 1500:1600 in /srv with blue\n"
USER, PASSWORD = "tester", "s3cret:with colon"


class Registry:
    def __init__(self, folder, tls):
        self.folder, self.tls, self.port = folder, tls, free_port()
        folder.mkdir()
        (folder / "blobs").mkdir()
        self.host = f"127.0.0.1:{self.port}"
        http = {"addr": self.host}
        config = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}},
            "http": http,
        }
        if tls:
            self.make_certificates()
            http["tls"] = {
                "certificate": str(folder / "server.crt"),
                "key": str(folder / "server.key"),
            }
            words = subprocess.run(
                ["htpasswd", "-Bbn", USER, PASSWORD], check=True, capture_output=True
            ).stdout
            (folder / "htpasswd").write_bytes(words)
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
        (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")],
            stdout=subprocess.DEVNULL,
            stderr=open(folder / "log", "wb"),
            cwd=folder,
        )
        wait_until(self.listens, 20, "the registry")

    def listens(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def make_certificates(self):
        (self.folder / "ca").mkdir()
        (self.folder / "san").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost")
        for command in (
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca/ca.crt",
            "req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout server.key -out server.csr",
            "x509 -req -in server.csr -CA ca/ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san -out server.crt",
        ):
            subprocess.run(
                ["openssl", *command.split()], check=True, cwd=self.folder, capture_output=True
            )

    def push(self, layout, name):
        access = (
            ["--dest-tls-verify=false"]
            if not self.tls
            else ["--dest-cert-dir", self.folder / "ca", "--dest-creds", f"{USER}:{PASSWORD}"]
        )
        subprocess.run(
            [
                "skopeo",
                "copy",
                "--quiet",
                *access,
                f"oci:{layout.path}:latest",
                f"docker://{self.host}/{name}",
            ],
            check=True,
            capture_output=True,
        )

    def credentials(self):
        return ["--cert-dir", self.folder / "ca", "--creds", f"{USER}:{PASSWORD}"]

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def registries():
    both = {}
    with tempfile.TemporaryDirectory(prefix="mvm-e2e-registry-") as base:
        layout = LayoutDir(f"{base}/layout")
        for scheme in ("http", "https"):
            registry = both[scheme] = Registry(Path(base) / scheme, scheme == "https")
            registry.layout = layout
            registry.push(layout, "team/app:1")
            registry.access = registry.credentials() if registry.tls else []
        yield both
        for registry in both.values():
            registry.close()


@pytest.fixture(params=["http", "https"])
def registry(request, registries):
    return registries[request.param]


@pytest.fixture
def secure(registries):
    """The one with certificate and password."""
    return registries["https"]


def test_multi_layer_image_runs_with_its_own_entrypoint_and_user(home, registry):
    done = home.ok("run", "-q", *registry.access, f"{registry.host}/team/app:1")
    assert done.text == ENTRY


def test_image_that_was_pulled_runs_without_credentials(home, registry):
    home.ok("image", "pull", *registry.access, f"{registry.host}/team/app:1")
    assert home.ok("run", "-q", f"{registry.host}/team/app:1").text == ENTRY


def test_reference_by_digest_runs(home, registry):
    manifest = registry.layout.manifest["digest"]
    done = home.ok("run", "-q", *registry.access, f"docker://{registry.host}/team/app@{manifest}")
    assert done.text == ENTRY


def test_unknown_tag_and_name_are_told(home, registry):
    for name in ("team/app:9", "team/none:1"):
        done = home.run("image", "pull", *registry.access, f"{registry.host}/{name}")
        assert done.code == 125, done
        assert name in done.errors
        assert "not found in the registry" in done.errors
        assert "hint:" in done.errors


def test_digest_that_is_not_there_is_told(home, registry):
    done = home.run(
        "image", "pull", *registry.access, f"{registry.host}/team/app@sha256:{'0' * 64}"
    )
    assert done.code == 125, done
    assert "hint:" in done.errors


def test_layer_that_the_registry_damaged_is_refused(home, registry):
    registry.push(registry.layout, "team/damaged:1")
    digest = registry.layout.layers[1]["digest"].removeprefix("sha256:")
    file = registry.folder / f"blobs/docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data"
    whole = file.read_bytes()
    file.write_bytes(whole[:-20] + bytes(20))
    done = home.run("image", "pull", *registry.access, f"{registry.host}/team/damaged:1")
    file.write_bytes(whole)
    assert done.code == 125, done
    assert "digest" in done.errors


def test_wrong_password_is_refused_with_a_hint(home, secure):
    done = home.run(
        "image",
        "pull",
        "--cert-dir",
        secure.folder / "ca",
        "--creds",
        f"{USER}:wrong",
        f"{secure.host}/team/app:1",
    )
    assert done.code == 125, done
    assert "credentials" in done.errors
    assert "--creds" in done.errors
    assert "wrong" not in done.errors.replace("wrong arch", "")


def test_password_is_on_no_command_line(home, secure):
    # strace would tell more; the argument list of skopeo is what other users can see.
    seen = home.work / "seen"
    fake = home.work / "bin"
    fake.mkdir()
    (fake / "skopeo").write_text(f'#!/bin/sh\necho "$@" >> {seen}\nexec /usr/bin/skopeo "$@"\n')
    (fake / "skopeo").chmod(0o755)
    home.ok(
        "image",
        "pull",
        *secure.access,
        f"{secure.host}/team/app:1",
        env={"PATH": f"{fake}:{os.environ['PATH']}"},
    )
    assert "copy" in seen.read_text()
    assert PASSWORD not in seen.read_text()


def test_authfile_is_used(home, secure):
    auth = {
        "auths": {secure.host: {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}}
    }
    (home.work / "auth.json").write_text(json.dumps(auth))
    home.ok(
        "image",
        "pull",
        "--cert-dir",
        secure.folder / "ca",
        "--authfile",
        "auth.json",
        f"{secure.host}/team/app:1",
    )


def test_certificate_that_is_not_trusted_is_refused(home, secure):
    done = home.run(
        "image",
        "pull",
        "--tls-verify",
        "true",
        "--creds",
        f"{USER}:{PASSWORD}",
        f"{secure.host}/team/app:1",
    )
    assert done.code == 125, done
    assert "certificate" in done.errors
    assert "--cert-dir" in done.errors


def test_unverified_connections_are_refused_beyond_loopback(home):
    done = home.run("image", "pull", "--tls-verify", "false", "registry.example.com/app:1")
    assert done.code == 64, done
    assert "registry.example.com" in done.errors


def test_registry_that_is_not_there_is_told(home):
    done = home.run("image", "pull", f"127.0.0.1:{free_port()}/app:1")
    assert done.code == 125, done
    assert "connection refused" in done.errors
    assert "hint:" in done.errors

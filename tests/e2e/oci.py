# SPDX-License-Identifier: Apache-2.0
"""OCI image layouts made by hand, byte for byte, so that each part can be wrong on purpose."""

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

LAYER = "application/vnd.oci.image.layer.v1.tar"


class Layer:
    """A tar under construction."""

    def __init__(self):
        self.bytes = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.bytes, mode="w", format=tarfile.PAX_FORMAT)

    def add(
        self,
        name,
        kind=tarfile.REGTYPE,
        content=b"",
        mode=0o644,
        link="",
        uid=0,
        gid=0,
        device=(0, 0),
    ):
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.linkname, info.uid, info.gid = kind, mode, link, uid, gid
        info.devmajor, info.devminor = device
        data = content.encode() if isinstance(content, str) else content
        info.size = len(data) if kind == tarfile.REGTYPE else 0
        self.tar.addfile(info, io.BytesIO(data))
        return self

    def directory(self, name, mode=0o755, uid=0, gid=0):
        return self.add(name, tarfile.DIRTYPE, mode=mode, uid=uid, gid=gid)

    def symlink(self, name, target):
        return self.add(name, tarfile.SYMTYPE, link=target)

    def done(self):
        self.tar.close()
        return self.bytes.getvalue()


def busybox_layer():
    layer = Layer()
    for folder in ("bin", "etc", "proc", "sys", "dev", "tmp", "run"):
        layer.directory(folder)
    program = Path(shutil.which("busybox")).read_bytes()
    layer.add("bin/busybox", content=program, mode=0o755)
    for applet in (
        "sh",
        "cat",
        "ls",
        "echo",
        "id",
        "pwd",
        "env",
        "stat",
        "sleep",
        "true",
        "test",
        "readlink",
    ):
        layer.symlink(f"bin/{applet}", "busybox")
    layer.add("etc/passwd", content="root:x:0:0::/:/bin/sh\napp:x:1500:1600::/srv:/bin/sh\n")
    layer.add("etc/group", content="root:x:0:\napp:x:1600:\n")
    return layer.done()


def app_layers():
    """Three layers: a base, changes with every kind of removal, and a replacement."""
    base = busybox_layer()
    second = (
        Layer().directory("srv", uid=1500, gid=1600).directory("srv/full").directory("srv/opaque")
    )
    second.add("srv/removed", content="x").add("srv/full/a", content="a").add(
        "srv/opaque/old", content="old"
    )
    second.add("srv/kept", content="kept\n", mode=0o640, uid=1500, gid=1600)
    second.add("srv/hard", tarfile.LNKTYPE, link="srv/kept")
    second.add("srv/replaced", content="first")
    third = Layer().add("srv/.wh.removed").add("srv/.wh.full")
    third.directory("srv/opaque").add("srv/opaque/.wh..wh..opq").add(
        "srv/opaque/new", content="new"
    )
    third.add("srv/replaced", content="second\n")
    third.add(
        "bin/entry",
        content='#!/bin/sh\necho "entry $* as $(id -u):$(id -g) in $(pwd) with $COLOUR"\n',
        mode=0o755,
    )
    return [base, second.done(), third.done()]


APP_CONFIG = {
    "Entrypoint": ["/bin/entry"],
    "Cmd": ["default"],
    "Env": ["PATH=/bin", "COLOUR=blue"],
    "User": "app",
    "WorkingDir": "/srv",
    "StopSignal": "SIGUSR1",
}


class LayoutDir:
    """An OCI layout directory with one image."""

    def __init__(self, path, layers=None, config=None, tag="latest", arch="amd64", compress=True):
        self.path = Path(path)
        (self.path / "blobs/sha256").mkdir(parents=True)
        (self.path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        layers = app_layers() if layers is None else layers
        packed = [gzip.compress(data, mtime=0) if compress else data for data in layers]
        self.layers = [self.blob(data, LAYER + ("+gzip" if compress else "")) for data in packed]
        document = {
            "architecture": arch,
            "os": "linux",
            "config": APP_CONFIG if config is None else config,
            "rootfs": {
                "type": "layers",
                "diff_ids": ["sha256:" + hashlib.sha256(data).hexdigest() for data in layers],
            },
        }
        self.config = self.blob(
            json.dumps(document).encode(), "application/vnd.oci.image.config.v1+json"
        )
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self.config,
            "layers": self.layers,
        }
        self.manifest = self.blob(json.dumps(manifest).encode(), manifest["mediaType"])
        entry = {**self.manifest, "annotations": {"org.opencontainers.image.ref.name": tag}}
        (self.path / "index.json").write_text(
            json.dumps({"schemaVersion": 2, "manifests": [entry]})
        )

    def blob(self, data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        (self.path / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data)}

    def file_of(self, descriptor):
        return self.path / "blobs/sha256" / descriptor["digest"].removeprefix("sha256:")

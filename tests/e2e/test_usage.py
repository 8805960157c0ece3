# SPDX-License-Identifier: Apache-2.0
"""Mistakes on the command line, and --json of every verb."""

import json
import re

import pytest
from mvm import BACKEND, ISOLATION


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["rnu"], "unknown verb 'rnu'"),
        (["run", "--no-such-option"], "--no-such-option"),
        (["run", "--memory", "lots", "--", "true"], "lots"),
        (["run", "--cpus", "0", "--", "true"], "0 cpus"),
        (["run", "--cpus", "65", "--", "true"], "65 cpus"),
        (["run", "--isolation", "strong", "--", "true"], "strong"),
        (["run", "--timeout", "soon", "--", "true"], "soon"),
        (["run", "-p", "80", "--", "true"], "'80' is not a port forward"),
        (["run", "-p", "99999:80", "--", "true"], "99999"),
        (["run", "--network", "none", "-p", "1:1", "--", "true"], "--network none"),
        (["run", "--name", "../x", "--", "true"], "'../x' is not a machine name"),
        (["up", "--restart", "always"], "always"),
        (["exec"], "VM"),
        (["exec", "box"], "command"),
        (["cp", "a", "b"], "machine"),
        (["stop"], "no machine is named"),
        (["image"], "missing command"),
        (["image", "pul"], "pul"),
        (["wait", "--for", "rain", "box"], "rain"),
        (["run", "dir:", "--", "true"], "dir:"),
        (["run", "no such image", "--", "true"], "no such image"),
        (["config", "set", "colour", "blue"], "colour"),
        (["completion", "tcsh"], "tcsh"),
    ],
)
def test_mistake_gives_64_names_it_and_hints(home, args, words):
    done = home.run(*args)
    assert done.code == 64, done
    assert words in done.errors
    assert "hint:" in done.errors
    assert done.out == b""


def test_near_miss_is_suggested(home):
    assert "did you mean run" in home.run("rnu").errors
    assert "did you mean pull" in home.run("image", "pul").errors


def test_error_in_json_is_one_document_with_code_and_hint(home):
    document = home.json("rnu", "--json", code=64)
    assert document["error"]["code"] == "invalid_argument"
    assert document["error"]["hint"]


@pytest.mark.parametrize(
    "verb", ["exec", "inspect", "logs", "stop", "kill", "rm", "diff", "console"]
)
def test_unknown_machine_is_named_with_125(home, verb):
    command = ["--", "true"] if verb == "exec" else []
    done = home.run(verb, "nobody", *command)
    assert done.code == 125, done
    assert "nobody" in done.errors
    assert "hint:" in done.errors


VERBS = [
    ["ls"],
    ["ps"],
    ["inspect", "box"],
    ["logs", "box"],
    ["logs", "--console", "box"],
    ["diff", "box"],
    ["wait", "box"],
    ["exec", "box", "--", "true"],
    ["image", "ls"],
    ["image", "pull", "busybox"],
    ["image", "inspect", "busybox"],
    ["image", "prune"],
    ["kernel", "ls"],
    ["cache", "info"],
    ["cache", "prune", "--dry-run"],
    ["config", "show"],
    ["config", "set", "memory", "512M"],
    ["doctor"],
    ["platform"],
    ["backend", "ls"],
    ["backend", "info", "qemu"],
    ["version"],
    ["completion", "zsh"],
    ["help"],
    ["help", "run"],
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_json_of_every_verb_is_one_document_with_a_schema(shared, verb):
    words = [verb[0], "--json", *verb[1:]] if verb[0] == "exec" else [*verb, "--json"]
    done = shared.run(*words)
    assert done.code == 0, done
    assert json.loads(done.text)["schema"] == 1


def test_json_of_the_verbs_that_end_machines(home):
    assert home.json("up", "-q", "--json", "--name", "one", "--memory", "128M")["name"] == "one"
    assert home.json("cp", "--json", "/etc/hostname", "one:/tmp/x")["stream_bytes"] > 0
    assert home.json("stop", "--json", "one")["names"] == ["one"]
    assert home.json("kill", "--json", "one")["names"] == ["one"]
    assert home.json("wait", "--json", "--for", "stopped", "one")["reached"] == "stopped"
    assert home.json("rm", "--json", "one")["names"] == ["one"]


def test_help_of_every_verb_shows_its_usage(home):
    overview = home.ok("help").text
    verbs = re.findall(r"(?m)^  ([a-z]+)(?:, [a-z]+)?  ", overview)
    assert {"run", "ls", "doctor"} <= set(verbs), overview
    for verb in verbs:
        assert "usage" in home.ok(verb, "--help").text.lower(), verb


def test_doctor_names_the_engine_that_would_be_taken_and_why(home):
    document = home.json("doctor", "--json")
    assert document["kvm"]["state"] in ("software_kvm", "absent", "no_permission", "broken")
    text = home.ok("doctor").text
    assert "qemu" in text
    assert "emulated" in text


def test_doctor_report_is_written_to_the_file(home):
    target = home.work / "report"
    home.ok("doctor", "--report", target)
    assert target.exists()


def test_platform_marks_this_host(home):
    rows = home.json("platform", "--json")["rows"]
    assert [row["id"] for row in rows if row["this_host"]] == ["linux-no-kvm"]


def test_backends_are_listed_with_what_they_can_do_or_why_not(home):
    told = {b["name"]: b for b in home.json("backend", "ls", "--json")["backends"]}
    assert list(told) == ["firecracker", "mvm-vmm", "qemu", "libkrun", "vfkit", "docker"]
    chosen = told[BACKEND]
    assert chosen["usable"] and chosen["tier"] == ISOLATION and chosen["engine"] and chosen["version"]
    assert chosen["can"]["pause"] and chosen["can"]["arch"] == ["x86_64"]
    assert not told["vfkit"]["built"] and "not part of this build" in told["vfkit"]["why_not"]
    for backend in told.values():
        assert backend["usable"] or backend["why_not"]
        assert f"{backend['name']}: " in home.ok("backend", "info", backend["name"]).text
    assert home.run("backend", "info", "bhyve").code == 64

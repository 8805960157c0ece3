# SPDX-License-Identifier: Apache-2.0
"""The commands that README.md and docs/howto show do what is written beside them."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from mvm import MVMCTL, free_port

SOURCE = Path(os.environ.get("MVM_SOURCE_DIR", Path(__file__).resolve().parents[2]))
PAGES = [SOURCE / "README.md", *sorted((SOURCE / "docs/howto").glob("*.md"))]


def commands(page):
    """The indented lines of a page that call mvmctl, without their comments."""
    lines = [
        line[4:]
        for line in page.read_text().splitlines()
        if line.startswith("    ") and re.search(r"(^|[ /])mvmctl ", line)
    ]
    return [re.sub(r"\s+#\s.*$", "", line) for line in lines]


def mvmctl_words(line):
    """The arguments of the first mvmctl of a line."""
    words = shlex.split(line.replace("|", " | ").replace("&&", " && "))
    at = next(i for i, word in enumerate(words) if word == "mvmctl" or word.endswith("/mvmctl"))
    ends = [i for i, word in enumerate(words) if i > at and word in ("|", "&&", ">", ";")]
    return words[at + 1 : ends[0] if ends else len(words)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_verb_and_option_that_a_page_shows_exists(home, page):
    for line in commands(page):
        words = mvmctl_words(line)
        own = words[: words.index("--")] if "--" in words else words
        verbs = [w for w in own[:2] if re.fullmatch("[a-z]+", w)]
        if not verbs:
            continue
        nested = verbs[0] in ("image", "kernel", "cache", "config", "snapshot", "volume", "builder", "manifest", "key", "bundle")
        done = home.run(*(verbs if nested else verbs[:1]), "--help")
        assert done.code == 0, f"{page.name}: {line}: {done}"
        for option in (w.partition("=")[0] for w in own if re.match(r"--?[a-z]", w)):
            found = option in done.text or option.startswith("-it")
            assert found or option in (
                "--json",
                "-q",
                "-v",
                "-h",
                "--help",
            ), f"{page.name}: {line}: {option}"


def test_the_first_command_of_the_readme(home):
    assert home.ok("run", "--", "uname", "-a").text.startswith("Linux ")


def shell(home, line, **options):
    env = home.env(PATH=f"{Path(MVMCTL).resolve().parent}:{os.environ['PATH']}")
    return subprocess.run(
        ["bash", "-c", line],
        env=env,
        cwd=home.work,
        capture_output=True,
        text=True,
        timeout=90,
        **options,
    )


def test_the_tour_of_the_readme_works_as_written(home):
    """Every line of the tour that needs neither KVM, a network, a terminal nor half a minute, in its order."""
    (home.work / "site").mkdir()
    (home.work / "site/index.html").write_text("hi")
    skipped = ("debian:", "snapshot", "-it", "console", "logs -f", "forward", "oci:", "127.0.0.1:5000", "./dev")
    lines = [
        line for line in commands(SOURCE / "README.md") if not any(word in line for word in skipped)
    ]
    assert len(lines) > 12
    for line in lines:
        line = line.replace("8080:80", f"{free_port()}:80")
        done = shell(home, line)
        assert done.returncode == 0, f"{line}: {done}"
        if "tr a-z A-Z" in line:
            assert done.stdout == "HELLO\n"


def test_streams_of_the_howto_work_as_written(home):
    done = shell(home, "echo 1 2 3 | mvmctl run -q -- wc -w")
    assert done.stdout == "3\n", done

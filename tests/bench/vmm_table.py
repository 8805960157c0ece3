#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs bench_vmm section by section and prints its figures as the table of SPECIFICATION.md, with facts of the machine.

    vmm_table.py BUILD [SECTION...]     BUILD has bin/ and libexec/; all sections without one

Called by `./dev bench --lab`, in the lab or on a host whose KVM works. What goes on is told on stderr, the table on stdout.
Exit code: 0 when every bar is met, 1 when one is not, 2 when a section could not be measured."""

import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

SECTIONS = ("start", "boot", "memory", "restore", "snapshot", "block", "net", "tap", "vsock")
SECTION_SECONDS = 900


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def memory_gib():
    kib = int(pathlib.Path("/proc/meminfo").read_text().split()[1])
    return kib / (1 << 20)


def qemu_version():
    try:
        done = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "no QEMU"
    return "QEMU " + done.stdout.split()[3].partition("(")[0]


def facts():
    where = "the lab (KVM nested in an emulated machine)" if os.environ.get("MVM_LAB") else "KVM of the host"
    outside = os.environ.get("MVM_BENCH_HOST")
    parts = [
        time.strftime("%Y-%m-%d", time.gmtime()),
        where,
        f"{os.cpu_count()} × {processor()}",
        f"{memory_gib():.1f} GiB",
        f"Linux {platform.release()}",
        qemu_version(),
    ]
    return ", ".join(parts) + (f"; under it {outside}" if outside else "")


def measure(build, section, results):
    """Whether the section could be measured."""
    env = {**os.environ, "MVM_BENCH_JSON": results}
    command = [build / "bin/bench_vmm", build / "bin/mvmctl", section]
    began = time.monotonic()
    try:
        # Its own tables are progress here.
        done = subprocess.run(command, env=env, stdout=sys.stderr, timeout=SECTION_SECONDS)
        problem = f"ended with {done.returncode}" if done.returncode not in (0, 1) else ""
    except subprocess.TimeoutExpired:
        problem = f"not over after {SECTION_SECONDS} s"
    say(f"{section}: {problem or 'measured'}, {time.monotonic() - began:.0f} s")
    return not problem


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def bar(line):
    if "bar_at_most" in line:
        return f"≤ {line['bar_at_most']:g} {line['unit']}"
    if "bar_ratio_at_most" in line:
        return f"≤ {line['bar_ratio_at_most']:g} ×"
    if "bar_ratio_at_least" in line:
        return f"≥ {line['bar_ratio_at_least']:g} ×"
    return "–"


def row(line):
    floor = line.get("floor")
    cells = [
        line["name"],
        f"{number(line['ours']['median'])} {line['unit']}",
        f"{number(floor['median'])} {line['unit']} ({line['floor_name']})" if floor else "–",
        f"{line['ratio']:.2f}" if floor else "–",
        bar(line),
        ("yes" if line["met"] else "**no**") if bar(line) != "–" else "",
    ]
    return "| " + " | ".join(cells) + " |"


def print_table(lines, missing):
    print(f"Medians. {facts()}.\n")
    print("| what | mvm-vmm | beside it | ratio | bar | met |")
    print("|---|---|---|---|---|---|")
    for line in lines:
        print(row(line))
    for section in missing:
        print(f"| {section} | not measured | – | – | – | **no** |")


def main():
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 64
    build = pathlib.Path(sys.argv[1])
    sections = sys.argv[2:] or SECTIONS
    unknown = [section for section in sections if section not in SECTIONS]
    if unknown:
        say(f"no section called {unknown[0]}; there are: {' '.join(SECTIONS)}")
        return 64
    with tempfile.NamedTemporaryFile("r", suffix=".jsonl") as results:
        missing = [section for section in sections if not measure(build, section, results.name)]
        lines = [line for text in results for line in json.loads(text)["lines"]]
    print_table(lines, missing)
    if missing:
        return 2
    return 0 if all(line["met"] for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())

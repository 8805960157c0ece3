# SPDX-License-Identifier: Apache-2.0
"""Services of a project: order, health, logs, restarts, and their end."""

import urllib.request

import pytest
from mvm import SLOWNESS, free_port, wait_until
from test_build import BUSYBOX, project, with_busybox

PAIR = """
[source]
image = "busybox"
[[files]]
path = "/srv/index.html"
text = "served\\n"
[services.web]
command = ["httpd", "-f", "-p", "80", "-h", "/srv"]
after = ["db"]
restart = "always"
[services.web.health]
http = ":80/index.html"
interval = "1s"
[services.db]
command = "echo db on $(hostname) as $(id -un); echo oops >&2; trap 'echo db stops; exit 0' TERM; while :; do sleep 0.05; done"
user = "nobody"
env = { MODE = "test" }
[services.db.health]
command = "test -e /proc/self && echo checked"
interval = "1s"
"""


def services(home, name):
    return {s["name"]: s for s in home.json("ps", "--json", name)["services"]}


@pytest.fixture
def machine(home):
    root = project(home, PAIR)
    home.ok("build", root)
    port = free_port()
    home.ok("up", "--name", "m", "-p", f"{port}:80", root)
    yield home, port
    home.run("rm", "-f", "m")


def test_services_run_in_order_are_healthy_and_are_reached(machine):
    home, port = machine
    home.ok("wait", "--for", "health", "--timeout", f"{int(20 * SLOWNESS)}s", "m")
    assert urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).read() == b"served\n"
    told = services(home, "m")
    assert {(s["phase"], s["health"]) for s in told.values()} == {("running", "healthy")}
    table = home.ok("ps", "m").text.splitlines()
    assert table[0].split()[:3] == ["SERVICE", "PHASE", "HEALTH"]
    assert [line.split()[0] for line in table[1:]] == ["db", "web"]
    environment = f"tr '\\0' '\\n' < /proc/{told['db']['pid']}/environ"
    assert "MODE=test\n" in home.ok("exec", "m", "--", "sh", "-c", environment).text
    assert home.inspect("m")["services"][0]["name"] == "db"


def test_each_service_has_a_log_of_its_own(machine):
    home, _ = machine
    home.ok("wait", "--for", "health", "--timeout", f"{int(20 * SLOWNESS)}s", "m")
    assert sorted(home.ok("logs", "--service", "db", "m").text.splitlines()) == ["db on m as nobody", "oops"]
    assert home.ok("logs", "--service", "web", "m").text == ""
    unknown = home.run("logs", "-f", "--service", "nobody", "m")
    assert unknown.code == 125 and "has no service 'nobody'" in unknown.errors
    wrong = home.run("logs", "--service", "../status", "m")
    assert wrong.code == 64 and "service name" in wrong.errors


def test_a_service_that_dies_is_started_again_and_becomes_healthy(machine):
    home, port = machine
    home.ok("wait", "--for", "health", "--timeout", f"{int(20 * SLOWNESS)}s", "m")
    home.ok("exec", "m", "--", "kill", "-9", str(services(home, "m")["web"]["pid"]))
    told = wait_until(
        lambda: (s := services(home, "m")["web"])["restarts"] == 1 and s["health"] == "healthy" and s,
        10 * SLOWNESS,
        "the restart",
    )
    assert told["message"] == "signal 9"
    assert urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).read() == b"served\n"


def test_services_stop_in_order_and_may_say_their_last(machine):
    home, _ = machine
    home.ok("wait", "--for", "health", "--timeout", f"{int(20 * SLOWNESS)}s", "m")
    home.ok("stop", "m")
    # The signal goes to the whole group: the shell may also say "Terminated", of its sleep, after these words.
    assert "db stops" in home.ok("logs", "--service", "db", "m").text.splitlines()
    assert {(s["phase"], s["message"]) for s in services(home, "m").values()} == {
        ("stopped", "exit code 0"),
        ("stopped", "signal 15"),
    }


def test_waiting_for_the_health_of_what_is_not_checked_says_so(home):
    home.up("plain")
    done = home.run("wait", "--for", "health", "plain")
    assert done.code == 65 and "nothing in it has a check of health" in done.errors
    home.ok("rm", "-f", "plain")


def test_a_service_that_stays_unhealthy_ends_the_wait(home):
    root = project(home, '[source]\nimage = "busybox"\n[services.bad]\ncommand = "sleep 1000"\n[services.bad.health]\ncommand = "false"\ninterval = "200ms"\nretries = 2\n')
    home.ok("build", root)
    home.ok("up", "--name", "m", root)
    done = home.run("wait", "--for", "health", "m")
    assert done.code == 65 and "unhealthy" in done.errors and "mvmctl ps m" in done.errors
    assert services(home, "m")["bad"]["message"] == "the check ended with exit code 1"
    home.ok("rm", "-f", "m")


def test_the_health_of_an_entrypoint_is_told_too(home):
    root = project(home, 'entrypoint = "touch /tmp/up; sleep 1000"\n[source]\nimage = "busybox"\n[health]\ncommand = ["test", "-e", "/tmp/up"]\n')
    home.ok("build", root)
    home.ok("up", "--name", "m", root)
    home.ok("wait", "--for", "health", "--timeout", f"{int(20 * SLOWNESS)}s", "m")
    assert services(home, "m")["main"]["health"] == "healthy"
    home.ok("rm", "-f", "m")


def test_services_run_beside_a_given_command(home):
    root = project(home, PAIR)
    home.ok("build", root)
    script = "until echo -e 'GET / HTTP/1.0\\n' | nc 127.0.0.1 80 | grep served; do sleep 0.05; done"
    assert home.ok("run", "-q", root, "--", "sh", "-c", script).text == "served\n"


FLAKE = """{
  inputs.mvm.url = "path:/nonexistent";
  outputs = { self, mvm }: {
    packages.x86_64-linux.default = mvm.lib.mkGuest {
      system = "x86_64-linux";
      name = "two";
      busybox = "${self}/busybox";
      users.web = { uid = 1000; home = "/srv"; };
      files."/srv/index.html" = { text = "from nix\\n"; };
      entrypoint.services = {
        web = { command = [ "httpd" "-f" "-p" "8080" "-h" "/srv" ]; user = "web"; health.tcp = 8080; after = [ "tick" ]; };
        tick = { command = "while true; do echo tick; sleep 1; done"; };
      };
    };
  };
}
"""


@pytest.mark.skipif(BUSYBOX is None, reason="busybox is not installed")
def test_a_guest_of_nix_with_two_services_is_built_and_healthy(home):
    root = with_busybox(project(home, '[source]\nflake = "."\n', **{"flake.nix": FLAKE}))
    home.ok("build", root)
    port = free_port()
    home.ok("up", "--name", "m", "-p", f"{port}:8080", root)
    home.ok("wait", "--for", "health", "--timeout", f"{int(20 * SLOWNESS)}s", "m")
    assert urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).read() == b"from nix\n"
    owner = f"stat -c %U /proc/{services(home, 'm')['web']['pid']}"
    assert home.ok("exec", "m", "--", "sh", "-c", owner).text == "web\n"
    wait_until(lambda: "tick\n" in home.ok("logs", "-s", "tick", "m").text, 10 * SLOWNESS, "a tick")
    home.ok("rm", "-f", "m")

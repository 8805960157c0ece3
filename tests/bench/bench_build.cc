// SPDX-License-Identifier: Apache-2.0
// `mvmctl build` against the same tools run by hand, for a Dockerfile and a flake; what a build of
// nothing new costs; with `debian` the same for a Debian system, which takes minutes; and, with
// `builder`, what a warm builder's machine adds to a build.
#include <unistd.h>

#include <filesystem>

#include "bench.h"
#include "sys/files.h"
#include "sys/io.h"

namespace {

using namespace mvm;
using namespace mvm::bench;

constexpr int kRounds = 5;

void write(const std::string& path, const std::string& text) {
  if (auto written = sys::write_file(path, text, 0644); !written) die(written.error().text());
}

struct Place {
  std::string mvmctl;
  std::string dir;  // of the benchmark
  int round = 0;

  std::string project(const std::string& name) const { return dir + "/" + name; }
  // Each build has something to do: an input that no other build had.
  void change(const std::string& name) {
    write(project(name) + "/input", std::to_string(++round) + "\n");
  }
  double build(const std::string& name, const std::string& where = "native") {
    change(name);
    ::sync();
    return time_ms([&] { run_ok({mvmctl, "build", "-q", "--builder", where, project(name)}); });
  }
};

constexpr char kDockerfile[] =
    "FROM scratch AS base\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", "
    "\"-s\", \"/bin\"]\nFROM base AS made\nCOPY input /input\nRUN cat /input > /made\n"
    "FROM base\nCOPY --from=made /made /made\nCMD [\"cat\", \"/made\"]\n";

void dockerfile_project(const Place& place, const std::string& name) {
  const std::string dir = place.project(name);
  run_ok({"mkdir", "-p", dir});
  run_ok({"cp", "/bin/busybox", dir + "/busybox"});
  write(dir + "/Dockerfile", kDockerfile);
  write(dir + "/mvm.toml", "[source]\ndockerfile = \"Dockerfile\"\n");
}

void flake_project(const Place& place, const std::string& name) {
  const std::string dir = place.project(name);
  run_ok({"mkdir", "-p", dir});
  run_ok({"cp", "/bin/busybox", dir + "/busybox"});
  write(dir + "/flake.nix",
        "{ outputs = { self }: { packages.x86_64-linux.default = derivation { name = \"word\"; "
        "system "
        "= \"x86_64-linux\"; builder = \"${self}/busybox\"; args = [ \"sh\" \"-c\" "
        "\"${self}/busybox mkdir $out; "
        "${self}/busybox cat ${self}/input > $out/word\" ]; }; }; }\n");
  write(dir + "/mvm.toml", "[source]\nflake = \".\"\n");
}

// The same storage driver, isolation and cache of layers; the image is mounted and packed.
double dockerfile_by_hand(Place& place) {
  const std::string storage = place.dir + "/storage", work = place.dir + "/hand";
  run_ok({"mkdir", "-p", storage, work});
  place.change("docker");
  ::sync();
  const std::vector<std::string> buildah = {
      "buildah", "--root", storage, "--runroot", work + "/run", "--storage-driver", "overlay"};
  const auto with = [&](std::vector<std::string> argv) {
    argv.insert(argv.begin(), buildah.begin(), buildah.end());
    return argv;
  };
  const double time = time_ms([&] {
    run_ok(
        with({"build", "--layers", "--timestamp", "0", "--format", "oci", "--isolation", "oci",
              "--runtime", "runc", "--network", "none", "--tag", "hand", place.project("docker")}));
    std::string container = run_ok(with({"from", "hand"}));
    container.pop_back();
    std::string root = run_ok(with({"mount", container}));
    root.pop_back();
    run_ok({"mkfs.erofs", "--quiet", work + "/image", root});
    run_ok({"sha256sum", work + "/image"});
    run_ok(with({"rm", container}));
  });
  run_ok({"rm", "-f", work + "/image"});
  return time;
}

double flake_by_hand(Place& place) {
  const std::string store = place.dir + "/nix-store", work = place.dir + "/hand";
  run_ok({"rm", "-rf", work + "/tree"});
  run_ok({"mkdir", "-p", store, work + "/tree/nix/store"});
  place.change("flake");
  ::sync();
  const std::vector<std::string> nix = {"nix",
                                        "--extra-experimental-features",
                                        "nix-command flakes",
                                        "--option",
                                        "build-users-group",
                                        "",
                                        "--option",
                                        "flake-registry",
                                        "",
                                        "--option",
                                        "download-attempts",
                                        "1",
                                        "--store",
                                        store};
  const auto with = [&](std::vector<std::string> argv) {
    argv.insert(argv.begin(), nix.begin(), nix.end());
    return argv;
  };
  return time_ms([&] {
    const std::string reference = "path:" + place.project("flake") + "#default";
    // [{"outputs":{"out":"/nix/store/…"}}]
    const std::string built =
        run_ok(with({"build", "--no-link", "--json", "--no-write-lock-file", reference}));
    const std::size_t at_path = built.find("/nix/store/", built.find("\"out\""));
    const std::string path = built.substr(at_path, built.find('"', at_path) - at_path);
    const std::string closure = run_ok(with({"path-info", "--recursive", path}));
    for (std::size_t at = 0, end; (end = closure.find('\n', at)) != std::string::npos; at = end + 1)
      run_ok({"cp", "-a", store + closure.substr(at, end - at), work + "/tree/nix/store"});
    run_ok({"mkfs.erofs", "--quiet", work + "/image", work + "/tree"});
    run_ok({"sha256sum", work + "/image"});
    run_ok({"rm", "-f", work + "/image"});
  });
}

// The hook is what changes.
std::string debian_hook(Place& place) {
  return "echo " + std::to_string(++place.round) + " > /input";
}

double debian_build(Place& place) {
  write(place.project("debian") + "/mvm.toml",
        "[source]\ndebian = \"bookworm\"\nhooks = [\"" + debian_hook(place) + "\"]\n");
  ::sync();
  return time_ms([&] {
    run_ok({place.mvmctl, "build", "-q", "--builder", "native", place.project("debian")});
  });
}

double debian_by_hand(Place& place) {
  const std::string work = place.dir + "/hand", tree = work + "/debian";
  run_ok({"mkdir", "-p", work});
  const std::string hook = "--customize-hook=chroot \"$1\" sh -c '" + debian_hook(place) + "'";
  ::sync();
  const double time = time_ms([&] {
    run_ok({"mmdebstrap", "--variant=minbase", "--quiet", hook, "bookworm", tree});
    run_ok({"mkfs.erofs", "--quiet", work + "/image", tree});
    run_ok({"sha256sum", work + "/image"});
  });
  run_ok({"rm", "-rf", work + "/image", tree});
  return time;
}

Line line_of(const char* name, const Pair& pair, const char* floor) {
  return {.name = name,
          .unit = "ms",
          .ours = pair.ours,
          .floor = pair.floor,
          .floor_name = floor,
          .ratio_at_most = 1.15};
}

void bench_native(Place& place, Report& report) {
  dockerfile_project(place, "docker");
  flake_project(place, "flake");
  report.add(line_of("a Dockerfile of three stages, one changed",
                     alternate(
                         kRounds, [&] { return place.build("docker"); },
                         [&] { return dockerfile_by_hand(place); }),
                     "buildah build, mount; mkfs.erofs; sha256sum"));
  report.add(line_of(
      "a flake without inputs, changed",
      alternate(
          kRounds, [&] { return place.build("flake"); }, [&] { return flake_by_hand(place); }),
      "nix build, path-info; cp; mkfs.erofs; sha256sum"));
  report.add({.name = "a build of nothing new",
              .unit = "ms",
              .ours = repeat(20,
                             [&] {
                               return time_ms([&] {
                                 run_ok({place.mvmctl, "build", "-q", place.project("docker")});
                               });
                             }),
              .at_most = 150});
}

void bench_debian(Place& place, Report& report) {
  run_ok({"mkdir", "-p", place.project("debian")});
  report.add(
      line_of("a Debian system, changed",
              alternate(
                  3, [&] { return debian_build(place); }, [&] { return debian_by_hand(place); }),
              "mmdebstrap; mkfs.erofs; sha256sum"));
}

// The same tools, started by hand in the builder's machine.
double dockerfile_in_builder(Place& place) {
  constexpr char kByHand[] =
      "b='buildah --root /build/hand/storage --runroot /run/hand --storage-driver overlay'; "
      "$b build --layers --timestamp 0 --format oci --isolation oci --runtime runc --network none "
      "--tag hand /build/hand/docker >&2; c=$($b from hand); "
      "mkfs.erofs --quiet /build/hand/image $($b mount $c); sha256sum /build/hand/image; "
      "$b rm $c >&2; rm /build/hand/image";
  place.change("docker");
  run_ok({place.mvmctl, "cp", place.project("docker"), "mvm-builder:/build/hand"});
  return time_ms(
      [&] { run_ok({place.mvmctl, "exec", "mvm-builder", "--", "sh", "-ec", kByHand}); });
}

// In an emulated builder buildah itself takes several times as long as on the host: what mvm adds
// is seen where the layers are known, and beside the same tools in the builder.
void bench_builder(Place& place, Report& report) {
  dockerfile_project(place, "docker");
  run_ok({place.mvmctl, "builder", "start"});
  const auto again = [&](const char* where) {
    return time_ms([&] {
      run_ok({place.mvmctl, "build", "-q", "--force", "--builder", where, place.project("docker")});
    });
  };
  (void)place.build("docker", "vm");
  (void)again("native");
  const Pair known =
      alternate(kRounds, [&] { return again("vm"); }, [&] { return again("native"); });
  report.add({.name = "layers that are known, in a warm builder",
              .unit = "ms",
              .ours = known.ours,
              .floor = known.floor,
              .floor_name = "the same natively"});
  report.add({.name = "what the warm builder adds to it",
              .unit = "ms",
              .ours = known.differences(),
              .at_most = 1500});
  run_ok({place.mvmctl, "exec", "mvm-builder", "--", "mkdir", "-p", "/build/hand"});
  (void)dockerfile_in_builder(place);
  const Pair changed = alternate(
      3, [&] { return place.build("docker", "vm"); }, [&] { return dockerfile_in_builder(place); });
  report.add({.name = "one of three stages changed, in a warm builder",
              .unit = "ms",
              .ours = changed.ours,
              .floor = changed.floor,
              .floor_name = "the same tools by hand in the builder"});
  report.add({.name = "what mvm adds to them",
              .unit = "ms",
              .ours = changed.differences(),
              .at_most = 1500});
  run_ok({place.mvmctl, "builder", "stop"});
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc == 3 ? argv[2] : "";
  if (argc < 2 || argc > 3 || (argc == 3 && what != "builder" && what != "debian"))
    die("usage: bench_build MVMCTL [builder|debian]");
  const char* tmp = ::getenv("MVM_BENCH_DIR");
  const sys::TempDir dir = must(sys::TempDir::create(tmp != nullptr ? tmp : "/tmp", "mvm-bench-"));
  ::setenv("MVM_HOME", (dir.path() + "/home").c_str(), 1);
  Place place{argv[1], dir.path()};
  Report report(what.empty() ? "bench_build" : "bench_build_" + what);
  if (what == "builder")
    bench_builder(place, report);
  else if (what == "debian")
    bench_debian(place, report);
  else
    bench_native(place, report);
  return report.finish();
}

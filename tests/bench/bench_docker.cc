// SPDX-License-Identifier: Apache-2.0
// `mvmctl run --backend docker` against `docker run` of the same image, with the daemon that
// DOCKER_HOST names: tests/with_docker has one.
#include <cstdlib>

#include "bench.h"
#include "sys/files.h"

int main(int argc, char** argv) {
  using namespace mvm;
  using namespace mvm::bench;
  if (argc != 2) die("usage: bench_docker MVMCTL");
  const std::string mvmctl = argv[1];
  const sys::TempDir home = must(sys::TempDir::create("/tmp", "mvm-bench-"));
  ::setenv("MVM_HOME", home.path().c_str(), 1);
  run_ok({mvmctl, "run", "-q", "--backend", "docker", "--", "true"});
  std::string image = run_ok({"docker", "images", "--format", "{{.Repository}}:{{.Tag}}"});
  image.resize(image.find('\n'));
  const Pair pair = alternate(
      10,
      [&] {
        return time_ms([&] { run_ok({mvmctl, "run", "-q", "--backend", "docker", "--", "true"}); });
      },
      [&] {
        return time_ms([&] { run_ok({"docker", "run", "--rm", "--entrypoint", "true", image}); });
      });
  Report report("bench_docker");
  report.add({.name = "run -- true in a container",
              .unit = "ms",
              .ours = pair.ours,
              .floor = pair.floor,
              .floor_name = "docker run --rm of the same image"});
  report.add(
      {.name = "what mvm adds to it", .unit = "ms", .ours = pair.differences(), .at_most = 80});
  return report.finish();
}

// SPDX-License-Identifier: Apache-2.0
// A Debian tree to an image, against tar and mkfs.erofs doing the same by hand; and what finding a
// cached image costs.
#include <unistd.h>

#include "bench.h"
#include "image/pull.h"
#include "store/catalog.h"
#include "sys/files.h"
#include "sys/io.h"

namespace {

using namespace mvm;
using namespace mvm::bench;

constexpr int kRounds = 5;

// The tree is unpacked and packed where mvm does it too, on one file system, and thrown away
// outside the time.
double by_hand(const std::string& tar, const std::string& dir) {
  run_ok({"rm", "-rf", dir});
  run_ok({"mkdir", "-p", dir + "/tree"});
  ::sync();
  return time_ms([&] {
    run_ok({"tar", "-x", "--xattrs", "--xattrs-include=*", "-f", tar, "-C", dir + "/tree"});
    run_ok({"mkfs.erofs", "--quiet", dir + "/image", dir + "/tree"});
  });
}

double by_mvm(const std::string& mvmctl, const std::string& tar) {
  ::sync();
  return time_ms([&] { run_ok({mvmctl, "image", "pull", "--force", "tar:" + tar}); });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) die("usage: bench_image MVMCTL [DEBIAN_TAR]");
  const char* tmp = ::getenv("MVM_BENCH_DIR");
  const sys::TempDir home = must(sys::TempDir::create(tmp != nullptr ? tmp : "/tmp", "mvm-bench-"));
  ::setenv("MVM_HOME", home.path().c_str(), 1);
  std::string tar = argc == 3 ? argv[2] : home.path() + "/debian.tar";
  if (argc == 2) run_ok({"mmdebstrap", "--quiet", "--variant=minbase", "bookworm", tar});
  const Pair pair = alternate(
      kRounds, [&] { return by_mvm(argv[1], tar); },
      [&] { return by_hand(tar, home.path() + "/hand"); });
  Report report("bench_image");
  report.add({.name = "Debian tar to image, digest and catalogue",
              .unit = "ms",
              .ours = pair.ours,
              .floor = pair.floor,
              .floor_name = "tar -x; mkfs.erofs",
              .ratio_at_most = 1.3});
  const store::Layout layout = must(store::Layout::from_environment());
  const Samples cached = repeat(50, [&] {
    return time_ms([&] {
      store::Catalog catalog = must(store::Catalog::open(layout));
      image::NoProgress progress;
      image::PullRequest request;
      request.source = "tar:" + tar;
      must(image::resolve(request, layout, catalog, progress));
    });
  });
  report.add({.name = "finding a cached image", .unit = "ms", .ours = cached, .at_most = 10});
  return report.finish();
}

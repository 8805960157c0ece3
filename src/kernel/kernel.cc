// SPDX-License-Identifier: Apache-2.0
#include "kernel/kernel.h"

#include <nlohmann/json.hpp>

#include "kernel/vmlinux.h"

namespace mvm::kernel {
namespace {

constexpr int kSchema = 1;
using nlohmann::json;

std::string relative(const std::string& path, const std::string& base) {
  return path.starts_with(base + "/") ? path.substr(base.size() + 1) : path;
}

std::string absolute(const std::string& path, const std::string& base) {
  return path.empty() || path.front() == '/' ? path : base + "/" + path;
}

std::string text_of(const json& root, const char* key) {
  const auto it = root.find(key);
  return it != root.end() && it->is_string() ? it->get<std::string>() : std::string();
}

}  // namespace

std::string to_json(const Kernel& kernel, const std::string& base_dir) {
  const json root = {{"schema", kSchema},
                     {"release", kernel.release},
                     {"arch", arch_name(kernel.arch)},
                     {"package", kernel.package},
                     {"vmlinux", relative(kernel.vmlinux_path, base_dir)},
                     {"vmlinux_sha256", kernel.digest},
                     {"vmlinux_bytes", kernel.size.count},
                     {"modules", relative(kernel.modules_dir, base_dir)}};
  return root.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<Kernel> from_json(std::string_view text, const std::string& base_dir) {
  const json root = json::parse(text, nullptr, false);
  if (!root.is_object()) return Error(Errc::kCorrupt, "kernel note is no JSON object");
  const auto schema = root.find("schema");
  if (schema == root.end() || !schema->is_number_integer())
    return Error(Errc::kCorrupt, "kernel note has no schema");
  if (*schema != kSchema)
    return Error(Errc::kUnsupported, "kernel note has schema " + schema->dump() +
                                         ", this mvm reads " + std::to_string(kSchema));
  Kernel kernel;
  kernel.release = text_of(root, "release");
  kernel.package = text_of(root, "package");
  kernel.digest = text_of(root, "vmlinux_sha256");
  kernel.vmlinux_path = absolute(text_of(root, "vmlinux"), base_dir);
  kernel.modules_dir = absolute(text_of(root, "modules"), base_dir);
  const auto size = root.find("vmlinux_bytes");
  if (size != root.end() && size->is_number_unsigned())
    kernel.size = Bytes{size->get<std::uint64_t>()};
  const std::string arch = text_of(root, "arch");
  if (arch != "x86_64" && arch != "aarch64")
    return Error(Errc::kCorrupt, "kernel note names no known architecture");
  kernel.arch = arch == "aarch64" ? spec::Arch::kAarch64 : spec::Arch::kX86_64;
  if (kernel.vmlinux_path.empty() || kernel.digest.size() != 64)
    return Error(Errc::kCorrupt, "kernel note lacks the image path or its digest");
  return kernel;
}

}  // namespace mvm::kernel

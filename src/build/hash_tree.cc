// SPDX-License-Identifier: Apache-2.0
#include "build/hash_tree.h"

#include <unistd.h>

#include <filesystem>

#include "sys/sha256.h"

namespace mvm::build {
namespace {

constexpr std::uint64_t kBlock = 4096;

// dm-verity's own superblock wants one.
std::string uuid_of(const std::string& digest) {
  return digest.substr(0, 8) + "-" + digest.substr(8, 4) + "-4" + digest.substr(12, 3) + "-8" +
         digest.substr(15, 3) + "-" + digest.substr(18, 12);
}

}  // namespace

std::string root_hash_in(std::string_view output) {
  constexpr std::string_view kLabel = "Root hash:";
  const std::size_t at = output.find(kLabel);
  if (at == std::string_view::npos) return "";
  output.remove_prefix(at + kLabel.size());
  const std::size_t begin = output.find_first_of("0123456789abcdef");
  if (begin == std::string_view::npos) return "";
  const std::string hash(output.substr(begin, 64));
  const bool whole =
      hash.size() == 64 && hash.find_first_not_of("0123456789abcdef") == std::string::npos;
  return whole ? hash : "";
}

Result<seal::Verity> append_hash_tree(const Shop& shop, const std::string& image) {
  seal::Verity out;
  out.salt = MVM_TRY(sys::sha256_file(image));
  const std::uint64_t size = std::filesystem::file_size(image);
  out.data_blocks = (size + kBlock - 1) / kBlock;
  const std::uint64_t data_size = out.data_blocks * kBlock;
  if (::truncate(image.c_str(), static_cast<off_t>(data_size)) != 0)
    return Error::from_errno("pad " + image);
  out.hash_block = out.data_blocks + 1;  // behind dm-verity's superblock
  const std::string printed = MVM_TRY(run_tool(
      shop, {.step = "seal",
             .argv = {"veritysetup", "format", "--hash=sha256", "--data-block-size=4096",
                      "--hash-block-size=4096", "--data-blocks=" + std::to_string(out.data_blocks),
                      "--hash-offset=" + std::to_string(data_size), "--salt=" + out.salt,
                      "--uuid=" + uuid_of(out.salt), image, image}}));
  out.root_hash = root_hash_in(printed);
  if (out.root_hash.empty()) return Error(Errc::kIo, "veritysetup has told no root hash");
  return out;
}

}  // namespace mvm::build

// SPDX-License-Identifier: Apache-2.0
#include "agent/boot/seal.h"

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "seal/ed25519.h"
#include "sys/io.h"

namespace mvm::agent {
namespace {

constexpr const char* kDeviceName = "mvm-image";
constexpr std::uint64_t kSectorsPerBlock = 8;

// A request of the device mapper: the header, and what belongs to it behind.
class Request {
 public:
  explicit Request(std::size_t room = 0) : buffer_(sizeof(dm_ioctl) + room) {
    dm_ioctl& header = this->header();
    header.version[0] = DM_VERSION_MAJOR;
    header.data_size = static_cast<std::uint32_t>(buffer_.size());
    header.data_start = sizeof(dm_ioctl);
    std::strcpy(header.name, kDeviceName);
  }
  dm_ioctl& header() { return *reinterpret_cast<dm_ioctl*>(buffer_.data()); }
  std::byte* data() { return buffer_.data() + sizeof(dm_ioctl); }
  Result<> send(int control, unsigned long command, const char* what) {
    if (::ioctl(control, command, buffer_.data()) == 0) return {};
    return Error::from_errno(what);
  }

 private:
  std::vector<std::byte> buffer_;
};

Result<> load_table(int control, const std::string& table, std::uint64_t sectors) {
  Request request(sizeof(dm_target_spec) + table.size() + 1);
  request.header().flags = DM_READONLY_FLAG;
  request.header().target_count = 1;
  dm_target_spec target{};
  target.length = sectors;
  std::strcpy(target.target_type, "verity");
  std::memcpy(request.data(), &target, sizeof target);
  std::memcpy(request.data() + sizeof target, table.c_str(), table.size() + 1);
  return request.send(control, DM_TABLE_LOAD, "load dm-verity's table");
}

Error broken(const std::string& what) {
  return Error(Errc::kCorrupt, what).with_hint("have it made again with: mvmctl cache prune");
}

}  // namespace

Result<std::optional<seal::Manifest>> read_seal(const std::string& directory,
                                                const std::string& signer) {
  const bool there = sys::path_exists(directory + "/manifest");
  if (signer.empty() && !there) return std::optional<seal::Manifest>();
  if (signer.empty()) return broken("the initramfs has a signed manifest, but no signer is named");
  if (!there)
    return broken("the machine is to be sealed, but its initramfs has no signed manifest");
  const seal::PublicKey key = MVM_TRY(seal::public_key_from_hex(signer));
  const std::string text = MVM_TRY(sys::read_file(directory + "/manifest", seal::kLargestManifest));
  const seal::Signature signature = MVM_TRY(
      seal::signature_from_bytes(MVM_TRY(sys::read_file(directory + "/signature", kibibytes(4)))));
  if (!seal::verify(key, text, signature))
    return broken("the signed manifest in the initramfs is not what was signed");
  seal::Manifest manifest = MVM_TRY(seal::manifest_from_text(text));
  if (!manifest.sealed()) return broken("the signed manifest is not of a sealed image");
  return std::optional<seal::Manifest>(std::move(manifest));
}

std::string verity_table(const std::string& disk, const seal::Verity& verity) {
  return "1 " + disk + " " + disk + " 4096 4096 " + std::to_string(verity.data_blocks) + " " +
         std::to_string(verity.hash_block) + " sha256 " + verity.root_hash + " " + verity.salt +
         " 1 panic_on_corruption";
}

Result<std::string> open_verity(const std::string& disk, const seal::Verity& verity) {
  const sys::UniqueFd control = MVM_TRY(sys::open_file("/dev/mapper/control", O_RDWR));
  Request create;
  MVM_TRY(create.send(control.get(), DM_DEV_CREATE, "create the device of dm-verity"));
  const unsigned number = ::minor(static_cast<dev_t>(create.header().dev));
  MVM_TRY(
      load_table(control.get(), verity_table(disk, verity), verity.data_blocks * kSectorsPerBlock));
  Request resume;  // without the flag of suspending
  MVM_TRY(resume.send(control.get(), DM_DEV_SUSPEND, "start the device of dm-verity"));
  return "/dev/dm-" + std::to_string(number);
}

Result<> admit(seal::Policy& policy, const wire::Open& open) {
  MVM_TRY(policy.admit(open));
  if (open.file.path.empty() || open.kind == wire::OpenKind::kConnect) return {};
  const std::unique_ptr<char, void (*)(void*)> resolved(::realpath(open.file.path.c_str(), nullptr),
                                                        std::free);
  if (resolved) return policy.admit_path(resolved.get());
  // What is not there leads nowhere; of what cannot be resolved nobody knows where it leads.
  if (errno == ENOENT || errno == ENOTDIR) return {};
  return Error::from_errno("the image is sealed: " + open.file.path);
}

}  // namespace mvm::agent

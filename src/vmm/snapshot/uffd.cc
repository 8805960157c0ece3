// SPDX-License-Identifier: Apache-2.0
#include "vmm/snapshot/uffd.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>

#include "sys/io.h"
#include "sys/socket.h"

#ifndef USERFAULTFD_IOC_NEW  // Linux 6.1
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

namespace mvm::vmm {
namespace {

constexpr int kUffdFlags = O_CLOEXEC | O_NONBLOCK;  // the handler polls it

// By the device, which a file mode gives to whom it may; then by the system call.
Result<sys::UniqueFd> new_uffd() {
  if (const auto device = sys::open_file("/dev/userfaultfd", O_RDWR)) {
    const int fd = ::ioctl(device->get(), USERFAULTFD_IOC_NEW, kUffdFlags);
    if (fd >= 0) return sys::UniqueFd(fd);
  }
  const auto fd = static_cast<int>(::syscall(SYS_userfaultfd, kUffdFlags));
  if (fd >= 0) return sys::UniqueFd(fd);
  Error error = Error::from_errno("userfaultfd");
  if (error.errnum() == ENOSYS) return std::move(error).with_code(Errc::kUnavailable);
  return std::move(error).with_hint(
      "give this user read and write access to /dev/userfaultfd, or set "
      "vm.unprivileged_userfaultfd=1");
}

Result<> register_parts(int uffd, std::span<const MemoryPart> parts) {
  uffdio_api api{};
  api.api = UFFD_API;
  // Without it a handler would bring back what the balloon has given away.
  api.features = UFFD_FEATURE_EVENT_REMOVE;
  if (::ioctl(uffd, UFFDIO_API, &api) != 0) return Error::from_errno("userfaultfd api");
  for (const MemoryPart& part : parts) {
    uffdio_register request{};
    request.range.start = reinterpret_cast<std::uintptr_t>(part.host);
    request.range.len = part.region.size;
    request.mode = UFFDIO_REGISTER_MODE_MISSING;
    if (::ioctl(uffd, UFFDIO_REGISTER, &request) != 0)
      return Error::from_errno("register guest memory with userfaultfd");
  }
  return {};
}

std::string mappings(std::span<const MemoryPart> parts) {
  auto list = nlohmann::json::array();
  for (const MemoryPart& part : parts) {
    list.push_back({{"base_host_virt_addr", reinterpret_cast<std::uintptr_t>(part.host)},
                    {"size", part.region.size},
                    {"offset", part.region.file_offset},
                    {"page_size", kSnapshotPage},
                    {"page_size_kib", kSnapshotPage}});
  }
  return list.dump();
}

sys::UniqueFd watch_peer(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid <= 0) return {};
  return sys::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0)));
}

}  // namespace

Result<UffdBackend> UffdBackend::connect(const std::string& socket_path,
                                         std::span<const MemoryPart> parts) {
  const sys::UniqueFd socket = MVM_TRY_CTX(sys::connect_unix(socket_path), "page fault handler");
  sys::UniqueFd uffd = MVM_TRY(new_uffd());
  MVM_TRY(register_parts(uffd.get(), parts));
  // A short list goes whole; a handler that reads once relies on that.
  MVM_TRY_CTX(sys::send_fds(socket.get(), mappings(parts), std::array{uffd.get()}),
              "page fault handler " + socket_path);
  return UffdBackend(std::move(uffd), watch_peer(socket.get()));
}

}  // namespace mvm::vmm

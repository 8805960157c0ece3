// SPDX-License-Identifier: Apache-2.0
#include "vmm/snapshot/uffd.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "sys/files.h"
#include "sys/socket.h"
#include "vmm/snapshot/testing_memory.h"

namespace mvm::vmm {
namespace {

using testing::HasSubstr;

struct Handover {
  nlohmann::json list;
  sys::UniqueFd uffd;
};

// What a handler receives on the connection.
Handover receive(int connection) {
  char text[4096];
  iovec data{text, sizeof text};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t n = ::recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
  Handover out;
  if (n > 0) out.list = nlohmann::json::parse(text, text + n, nullptr, false);
  if (const cmsghdr* header = CMSG_FIRSTHDR(&message)) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    out.uffd.reset(fd);
  }
  return out;
}

// Answers every fault with a page that holds its number in the memory file, until its connection's
// owner ends it. Runs as a process of its own, as a handler does.
[[noreturn]] void handle_faults(int listener) {
  pollfd waiting{listener, POLLIN, 0};
  ::poll(&waiting, 1, 10'000);
  const auto connection = sys::accept_connection(listener);
  if (!connection) ::_exit(1);
  waiting = {connection->get(), POLLIN, 0};
  ::poll(&waiting, 1, 10'000);
  const Handover handover = receive(connection->get());
  for (;;) {
    waiting = {handover.uffd.get(), POLLIN, 0};
    uffd_msg event{};
    if (::poll(&waiting, 1, -1) != 1) continue;
    if (::read(handover.uffd.get(), &event, sizeof event) != sizeof event) continue;
    const std::uint64_t at = event.arg.pagefault.address & ~(kSnapshotPage - 1);
    for (const auto& region : handover.list) {
      const auto base = region.at("base_host_virt_addr").get<std::uint64_t>();
      if (at < base || at - base >= region.at("size").get<std::uint64_t>()) continue;
      std::uint64_t page[kSnapshotPage / 8] = {};
      page[0] = (at - base + region.at("offset").get<std::uint64_t>()) / kSnapshotPage;
      uffdio_copy copy{at, reinterpret_cast<std::uintptr_t>(page), kSnapshotPage, 0, 0};
      ::ioctl(handover.uffd.get(), UFFDIO_COPY, &copy);
    }
  }
}

class Uffd : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "userfaultfd of kernel faults needs root";
  }
  sys::TempDir dir_ = sys::TempDir::create("/tmp", "mvm-uffd-").value();
  TestMemory memory_{4, 2};
  std::string path() const { return dir_.path() + "/handler"; }
  std::uint64_t number_in(std::uint64_t page) {
    std::uint64_t out = 0;
    std::memcpy(&out, memory_.page(page), sizeof out);
    return out;
  }
};

TEST_F(Uffd, HasPagesProvidedByTheHandler) {
  const sys::UniqueFd listener = sys::listen_unix(path()).value();
  const pid_t handler = ::fork();
  if (handler == 0) handle_faults(listener.get());
  {
    const auto backend = UffdBackend::connect(path(), memory_.source().parts);
    ASSERT_TRUE(backend) << backend.error().text();
    EXPECT_EQ(number_in(3), 3U);
    EXPECT_EQ(number_in(5), 5U);
    EXPECT_EQ(number_in(4), 4U);
    // A fault of the kernel itself, as KVM has them.
    const sys::UniqueFd sink = sys::memory_file("sink", "").value();
    EXPECT_EQ(::write(sink.get(), memory_.page(2), kSnapshotPage),
              static_cast<ssize_t>(kSnapshotPage));
    // The process that listens is the one that made the listener: us.
    EXPECT_GE(backend->handler_pidfd(), 0);
  }
  ::kill(handler, SIGKILL);
  ASSERT_EQ(::waitpid(handler, nullptr, 0), handler);
}

TEST_F(Uffd, TellsTheHandlerWhereEveryRegionIs) {
  const sys::UniqueFd listener = sys::listen_unix(path()).value();
  const auto backend = UffdBackend::connect(path(), memory_.source().parts);
  ASSERT_TRUE(backend) << backend.error().text();
  const auto connection = sys::accept_connection(listener.get()).value();
  const Handover handover = receive(connection.get());
  EXPECT_TRUE(static_cast<bool>(handover.uffd));
  ASSERT_EQ(handover.list.size(), 2U);
  EXPECT_EQ(handover.list[1].at("base_host_virt_addr"),
            reinterpret_cast<std::uintptr_t>(memory_.source().parts[1].host));
  EXPECT_EQ(handover.list[1].at("size"), 2 * kSnapshotPage);
  EXPECT_EQ(handover.list[1].at("offset"), 4 * kSnapshotPage);
  EXPECT_EQ(handover.list[1].at("page_size"), kSnapshotPage);
  EXPECT_EQ(handover.list[1].at("page_size_kib"), kSnapshotPage);
}

TEST_F(Uffd, NamesASocketWhereNobodyListens) {
  const Error error = UffdBackend::connect(path(), memory_.source().parts).error();
  EXPECT_EQ(error.code(), Errc::kNotFound);
  EXPECT_THAT(error.text(), HasSubstr(path()));
}

TEST_F(Uffd, RefusesMemoryThatIsMissing) {
  const sys::UniqueFd listener = sys::listen_unix(path()).value();
  const MemoryPart nowhere{{0, kSnapshotPage, 0}, nullptr};
  EXPECT_THAT(UffdBackend::connect(path(), std::span(&nowhere, 1)).error().text(),
              HasSubstr("register guest memory"));
}

}  // namespace
}  // namespace mvm::vmm

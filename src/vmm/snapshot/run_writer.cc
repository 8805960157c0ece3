// SPDX-License-Identifier: Apache-2.0
#include "vmm/snapshot/run_writer.h"

#include <fcntl.h>

#include <algorithm>
#include <vector>

#include "sys/io.h"
#include "vmm/snapshot/memory_trailer.h"

namespace mvm::vmm {
namespace {

constexpr std::size_t kDirectFrom = 128 << 10;
// A hole costs a transaction of the file system; less than this is cheaper to write.
constexpr std::uint64_t kHoleFrom = 64 << 10;
constexpr std::uint64_t kWritebackStep = 4 << 20;

}  // namespace

bool RunWriter::set_direct(bool on) {
  if (direct_ == on) return true;
  const int flags = ::fcntl(fd_, F_GETFL);
  if (flags < 0 || ::fcntl(fd_, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) != 0)
    return false;
  direct_ = on;
  return true;
}

void RunWriter::start_writeback(std::uint64_t end) {
  if (direct_allowed_ || end < started_ + kWritebackStep) return;
  // Only a matter of speed: the sync at the end is what counts, and it reports errors.
  ::sync_file_range(fd_, static_cast<off_t>(started_), static_cast<off_t>(end - started_),
                    SYNC_FILE_RANGE_WRITE);
  started_ = end;
}

Result<> RunWriter::write(std::span<const std::byte> pages, std::uint64_t offset) {
  const std::string context = "writing " + path_;
  written_ += pages.size();
  if (pages.size() >= kDirectFrom && direct_allowed_ && set_direct(true)) {
    auto done = sys::write_at(fd_, pages, offset);
    if (done) return {};
    if (done.error().errnum() != EINVAL) return std::move(done.error()).with_context(context);
    direct_allowed_ = false;  // this file system only says so when written to
  }
  if (!set_direct(false)) return Error::from_errno("fcntl " + path_);
  MVM_TRY_CTX(sys::write_at(fd_, pages, offset), context);
  start_writeback(offset + pages.size());
  return {};
}

Result<> RunWriter::write_zeros(std::uint64_t offset, std::uint64_t length) {
  const std::vector<std::byte> zeros(std::min(length, kHoleFrom));
  while (length > 0) {
    const std::uint64_t step = std::min<std::uint64_t>(length, zeros.size());
    MVM_TRY(write(std::span(zeros).first(step), offset));
    offset += step;
    length -= step;
  }
  return {};
}

Result<> RunWriter::clear(std::uint64_t offset, std::uint64_t length) {
  if (length < kHoleFrom) return write_zeros(offset, length);
  if (::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                  static_cast<off_t>(length)) == 0)
    return {};
  if (errno != EOPNOTSUPP && errno != ENOSYS) return Error::from_errno("punch hole in " + path_);
  return write_zeros(offset, length);
}

}  // namespace mvm::vmm

// SPDX-License-Identifier: Apache-2.0
// A tar stream of the guest, as `cp` unpacks it on the host: through libarchive and, for large
// files, past it.
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

#include "agent_client/tar_stream.h"
#include "sys/io.h"
#include "tar/tar_pipe.h"

namespace {

// Below kLargeFile, so that small inputs reach the way past libarchive too.
constexpr std::int64_t kLarge = 600;

void read_all(archive* in, mvm::tar::TarPipeReader& pipe, int sink) {
  archive_entry* entry = nullptr;
  for (int n = 0; n < 1000 && archive_read_next_header(in, &entry) >= ARCHIVE_WARN; ++n) {
    const char* name = archive_entry_pathname(entry);
    if (name != nullptr) (void)mvm::agent_client::rebase_member(name, "renamed");
    const la_int64_t size = archive_entry_size(entry);
    if (size >= kLarge && archive_entry_sparse_count(entry) == 0 && pipe.can_move()) {
      if (!pipe.move_to(sink, size)) return;
      continue;
    }
    pipe.expect(mvm::tar::stored_size(entry));
    const void* block = nullptr;
    std::size_t length = 0;
    la_int64_t offset = 0;
    while (archive_read_data_block(in, &block, &length, &offset) == ARCHIVE_OK) {
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int sink = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  auto pipe = mvm::sys::make_pipe();
  if (!pipe || sink < 0) std::abort();
  // A pipe holds 64 KiB, which is what the runner makes inputs of.
  if (!mvm::sys::set_nonblocking(pipe->write_end.get(), true)) std::abort();
  (void)mvm::sys::write_some(pipe->write_end.get(), std::as_bytes(std::span(data, size)));
  pipe->write_end.reset();
  mvm::tar::TarPipeReader reader(pipe->read_end.get());
  const std::unique_ptr<archive, int (*)(archive*)> in(archive_read_new(), archive_read_free);
  archive_read_support_format_tar(in.get());
  if (reader.open(in.get())) read_all(in.get(), reader, sink);
  return 0;
}

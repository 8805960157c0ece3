// SPDX-License-Identifier: Apache-2.0
// Bytes of a peer: cut into frames, in reads of uneven size, and every payload given to every
// decoder that its type may meet, and to those it may not.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "wire/frame.h"
#include "wire/messages.h"

namespace {

void decode(std::span<const std::byte> payload) {
  namespace wire = mvm::wire;
  (void)wire::decode_hello(payload).has_value();
  (void)wire::decode_configure(payload).has_value();
  (void)wire::decode_ready(payload).has_value();
  (void)wire::decode_shutdown(payload).has_value();
  (void)wire::decode_open(payload).has_value();
  (void)wire::decode_closed(payload).has_value();
  (void)wire::decode_vm_state(payload).has_value();
  (void)wire::decode_stop(payload).has_value();
  (void)wire::decode_u32(payload).has_value();
  (void)wire::decode_resize(payload).has_value();
  (void)wire::decode_data_at(payload).has_value();
  std::string records(reinterpret_cast<const char*>(payload.data()), payload.size());
  for (auto info = wire::take_file_info(records); info.has_value() && info->has_value();)
    info = wire::take_file_info(records);
  records.assign(reinterpret_cast<const char*>(payload.data()), payload.size());
  for (auto service = wire::take_service_record(records);
       service.has_value() && service->has_value();)
    service = wire::take_service_record(records);
  records.assign(reinterpret_cast<const char*>(payload.data()), payload.size());
  for (auto entry = wire::take_diff_entry(records); entry.has_value() && entry->has_value();)
    entry = wire::take_diff_entry(records);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto bytes = std::as_bytes(std::span(data, size));
  decode(bytes);
  mvm::wire::FrameParser parser;
  for (std::size_t step = 1; !bytes.empty(); step = step * 3 + 1) {
    const std::size_t count = std::min(step, bytes.size());
    const auto space = parser.prepare(count);
    std::memcpy(space.data(), bytes.data(), count);
    parser.commit(count);
    bytes = bytes.subspan(count);
    for (;;) {
      mvm::wire::Frame frame;
      const auto more = parser.next(frame);
      if (!more.has_value()) return 0;
      if (!*more) break;
      decode(frame.payload);
    }
  }
  return 0;
}

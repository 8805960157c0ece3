// SPDX-License-Identifier: Apache-2.0
// A hostile guest of the metadata service: frames as they come, segments of a connection that is
// nearly right, requests, and documents.
#include <cstdlib>
#include <string>
#include <string_view>

#include "virtio_script.h"
#include "vmm/mmds/stack.h"
#include "vmm/mmds/testing_client.h"

namespace {

using namespace mvm;
using namespace mvm::vmm;

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class Session {
 public:
  explicit Session(const std::shared_ptr<Mmds>& service)
      : service_(service), stack_(service, MmdsStackSettings{}) {}

  void step(fuzz::Script& script) {
    switch (script.take<std::uint8_t>() % 7) {
      case 0:  // any frame, if it is for the service
        frame(script.bytes(script.take<std::uint8_t>()));
        break;
      case 1:  // the connection's next segment, with data
        client_.port = static_cast<std::uint16_t>(script.take<std::uint8_t>() % 40);
        send(script.take<std::uint8_t>(), script.bytes(script.take<std::uint8_t>()));
        break;
      case 2:  // numbers that are not right
        client_.next += script.take<std::uint16_t>();
        client_.expected -= script.take<std::uint16_t>();
        client_.window = script.take<std::uint16_t>();
        break;
      case 3:
        now_ += Millis(script.take<std::uint16_t>());
        stack_.on_timeout(now_);
        break;
      case 4:
        take();
        break;
      case 5:
        (void)service_->put(text_of(script.bytes(script.take<std::uint8_t>()))).has_value();
        break;
      default:
        (void)service_->patch(text_of(script.bytes(script.take<std::uint8_t>()))).has_value();
    }
    if (stack_.connections() > MmdsStack::kMaxConnections) std::abort();
  }

 private:
  void frame(std::span<const std::byte> bytes) {
    if (stack_.claims(bytes)) stack_.input(bytes, MmdsStack::Checksum::kPartial, now_);
  }
  void send(std::uint8_t flags, std::span<const std::byte> data) {
    frame(client_.send(flags, text_of(data)));
  }
  // Everything that the service builds must be well-formed.
  void take() {
    if (!stack_.has_output()) return;
    if (ether_type(stack_.output()) == kEtherIpv4) {
      const auto packet = parse_ipv4(stack_.output());
      const auto segment = packet ? parse_tcp(*packet, true) : std::nullopt;
      if (!segment) std::abort();
      client_.expected = segment->sequence + segment->length();
    }
    stack_.pop_output(now_);
  }

  std::shared_ptr<Mmds> service_;
  MmdsStack stack_;
  testing_client::Client client_;
  Clock::time_point now_{std::chrono::seconds(1000)};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto service = std::make_shared<Mmds>();
  (void)service->put(R"({"key": "value", "list": [1], "more": {"inner": "x"}})").has_value();
  service->configure({size % 2 == 1, size % 3 == 0});
  fuzz::Script script(data, size);
  Session session(service);
  for (int steps = 0; steps < 500 && !script.empty(); ++steps) session.step(script);
  const std::string_view whole(reinterpret_cast<const char*>(data), size);
  if (const auto reply = service->respond(whole, Clock::time_point(std::chrono::seconds(1)));
      reply && (reply->consumed == 0 || reply->consumed > size))
    std::abort();
  return 0;
}

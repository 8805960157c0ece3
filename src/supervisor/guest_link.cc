// SPDX-License-Identifier: Apache-2.0
#include "supervisor/guest_link.h"

#include <algorithm>
#include <chrono>

#include "core/log.h"
#include "sys/random.h"

namespace mvm::supervisor {

using wire::FrameType;

namespace {

std::uint64_t wall_clock_ns() { return static_cast<std::uint64_t>(unix_time().count()); }

std::string guest_text(std::span<const std::byte> payload) {
  std::string out;
  for (const std::byte b : payload.first(std::min<std::size_t>(payload.size(), 2000))) {
    const char c = static_cast<char>(b);
    if (c >= ' ' && c < 127) out += c;
  }
  return out;
}

}  // namespace

GuestLink::GuestLink(sys::EventLoop& loop, sys::UniqueFd fd, Handlers handlers)
    : link_(loop, std::move(fd),
            {[this](const wire::Frame& frame) { return on_frame(frame); },
             [this](std::optional<Error> error) {
               handlers_.on_fault(error ? *error
                                        : Error(Errc::kGuestFault, std::string(kChannelEnded)));
             },
             {}}),
      handlers_(std::move(handlers)) {}

Result<> GuestLink::start(const wire::Configure& configure) {
  MVM_TRY(link_.start());
  link_.send_control(FrameType::kHello,
                     wire::encode(wire::Hello{wire::kProtocolVersion, "mvm-supervisor", ""}));
  link_.send_control(FrameType::kConfigure, wire::encode(configure));
  return {};
}

void GuestLink::tell_time() {
  link_.send_control(FrameType::kClock, wire::encode_u64(wall_clock_ns()));
}

void GuestLink::request_shutdown(const wire::Shutdown& shutdown) {
  link_.send_control(FrameType::kShutdown, wire::encode(shutdown));
}

Result<> GuestLink::on_frame(const wire::Frame& frame) {
  if (frame.type == FrameType::kHello && !greeted_) {
    const wire::Hello hello = MVM_TRY(wire::decode_hello(frame.payload));
    greeted_ = true;
    log::info("guest agent: " + guest_text(std::as_bytes(std::span(hello.software))) + ", " +
              guest_text(std::as_bytes(std::span(hello.system))));
    return {};
  }
  if (!greeted_) return Error(Errc::kGuestFault, "guest agent did not begin with hello");
  if (frame.stream != 0) return handlers_.on_stream(frame);
  switch (frame.type) {
    case FrameType::kReady:
      handlers_.on_ready(MVM_TRY(wire::decode_ready(frame.payload)));
      return {};
    case FrameType::kFault:
      return Error(Errc::kGuestFault, "guest agent: " + guest_text(frame.payload));
    case FrameType::kHalted:
      handlers_.on_halted();
      return {};
    case FrameType::kPong:
      return {};
    default:
      return Error(Errc::kGuestFault, "guest agent sent an unexpected control frame");
  }
}

static_assert(spec::kMaxVolumes == wire::kMaxVolumes);

wire::Configure configure_for(const spec::VmSpec& vm, const backend::LaunchPlan& plan) {
  wire::Configure out;
  out.hostname = vm.hostname;
  out.wall_clock_ns = wall_clock_ns();
  out.entropy = sys::random_bytes(64);
  if (plan.network)
    out.network = wire::NetworkConfig{
        plan.network->address, plan.network->prefix, plan.network->gateway, {plan.network->dns}};
  out.pids_limit = vm.limits.pids;
  for (std::size_t i = 0; i < vm.volumes.size(); ++i)
    out.volumes.push_back({spec::volume_serial(i), vm.volumes[i].name, vm.volumes[i].guest_path});
  return out;
}

}  // namespace mvm::supervisor

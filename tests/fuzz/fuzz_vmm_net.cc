// SPDX-License-Identifier: Apache-2.0
// A hostile driver of a network device, and a hostile process at the other end of its socket.
#include <sys/socket.h>

#include <array>
#include <cstdlib>

#include "sys/socket.h"
#include "virtio_script.h"
#include "vmm/net/net_device.h"
#include "vmm/net/stream_backend.h"

namespace {

using namespace mvm;
using namespace mvm::vmm;

constexpr Gpa kBuffer = 0x18'0000;

// A whole frame from the guest, in two pieces.
void transmit(fuzz::Script& script, testing_driver::Guest& guest) {
  const auto size = script.take<std::uint16_t>();
  const auto start = script.bytes(script.take<std::uint8_t>());
  guest.memory().write(kBuffer + 12, start);
  if (guest.failure) return;
  guest.driver(NetDevice::kTransmit).add({{kBuffer, 12, false}, {kBuffer + 12, size + 1U, false}});
  guest.notify(NetDevice::kTransmit);
}

void offer(fuzz::Script& script, testing_driver::Guest& guest) {
  const auto length = script.take<std::uint16_t>();
  if (guest.failure) return;
  guest.driver(NetDevice::kReceive).add({{kBuffer + 0x2'0000, length + 1U, true}});
  guest.notify(NetDevice::kReceive);
}

// What the network process sends: any bytes, or a frame with a true length.
void arrive(fuzz::Script& script, int peer, bool framed) {
  const auto bytes = script.bytes(script.take<std::uint8_t>());
  const std::array<std::uint8_t, 4> length = {0, 0, 0, static_cast<std::uint8_t>(bytes.size())};
  if (framed) (void)::send(peer, length.data(), length.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)::send(peer, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void drain(int peer) {
  std::array<std::byte, 65'536> ignored;
  while (::recv(peer, ignored.data(), ignored.size(), MSG_DONTWAIT) > 0) {
  }
}

std::unique_ptr<NetDevice> make_device(sys::UniqueFd fd, bool metadata) {
  NetSettings settings;
  settings.mac = {2, 0, 0, 0, 0, 1};
  settings.mtu = 1500;
  std::unique_ptr<MmdsStack> stack;
  if (metadata) stack = std::make_unique<MmdsStack>(std::make_shared<Mmds>(), MmdsStackSettings{});
  return std::make_unique<NetDevice>(StreamBackend::adopt(std::move(fd)).value(), settings,
                                     std::move(stack));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Script script(data, size);
  const auto flags = script.take<std::uint8_t>();
  sys::SocketPair pair = sys::make_socket_pair().value();
  const auto device = make_device(std::move(pair.first), (flags & 1) != 0);
  testing_driver::Guest guest(*device, mebibytes(2), (flags & 2) != 0);
  if (!guest.activate()) std::abort();
  for (int steps = 0; steps < 200 && !script.empty(); ++steps) {
    const auto operation = static_cast<std::uint8_t>(script.take<std::uint8_t>() % 14);
    if (fuzz::step(script, operation, *device, guest)) continue;
    if (operation == 8)
      transmit(script, guest);
    else if (operation == 9)
      offer(script, guest);
    else if (operation == 10 || operation == 11)
      arrive(script, pair.second.get(), operation == 10);
    else if (operation == 12)
      drain(pair.second.get());
    else
      pair.second.reset();
  }
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "sys/random.h"

#include <sys/random.h>

#include <cstdlib>

namespace mvm::sys {

std::vector<std::byte> random_bytes(std::size_t count) {
  std::vector<std::byte> out(count);
  // Up to 256 bytes getrandom(2) is never interrupted once the pool is ready; without it nothing
  // can go on.
  for (std::size_t done = 0; done < count;) {
    const ssize_t n = ::getrandom(out.data() + done, count - done, 0);
    if (n > 0)
      done += static_cast<std::size_t>(n);
    else if (errno != EINTR)
      std::abort();
  }
  return out;
}

std::string random_hex(std::size_t bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const std::byte b : random_bytes(bytes)) {
    out += kDigits[static_cast<unsigned>(b) >> 4];
    out += kDigits[static_cast<unsigned>(b) & 15];
  }
  return out;
}

}  // namespace mvm::sys

// SPDX-License-Identifier: Apache-2.0
// Every limit of the agent protocol. A peer that exceeds one has broken the contract.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mvm::wire {

constexpr std::uint16_t kProtocolVersion = 1;
constexpr std::size_t kHeaderSize = 12;
// Largest payload of any frame; a request with its arguments and environment must fit.
constexpr std::uint32_t kMaxPayload = 256 * 1024;
// Output is cut to frames of this size, so that one stream cannot hold the connection for long.
constexpr std::uint32_t kMaxDataChunk = 256 * 1024;
// Input may come in larger frames: a slot of the exchange disk takes one as a whole.
constexpr std::uint32_t kMaxInputChunk = 1024 * 1024;
// Bytes that may be under way on one channel before the receiver grants more. Each grant interrupts
// a guest that is at work.
constexpr std::uint32_t kInputWindow = 4 * 1024 * 1024;
constexpr std::uint32_t kOutputWindow = 4 * 1024 * 1024;
// The exchange disk, where the bytes of kDataAt frames lie: first the host's, then the guest's.
constexpr std::uint32_t kExchangeInput = 8 * 1024 * 1024;
constexpr std::uint32_t kExchangeOutput = 8 * 1024 * 1024;
constexpr std::uint32_t kExchangeSize = kExchangeInput + kExchangeOutput;
constexpr std::uint32_t kExchangeBlock = 4096;
constexpr std::size_t kMaxStreams = 1024;
constexpr std::size_t kMaxStringLength = 128 * 1024;
constexpr std::size_t kMaxListLength = 8192;
constexpr std::size_t kMaxServices = 64;
constexpr std::size_t kMaxVolumes = 8;
constexpr std::size_t kMaxPath = 4096;
constexpr std::size_t kMaxSeed = 512;
// Unsent bytes on a link above which streams stop producing (they go on when it drains).
constexpr std::size_t kLinkHighWater = 1024 * 1024;

}  // namespace mvm::wire

// SPDX-License-Identifier: Apache-2.0
#include "supervisor/main_process.h"

namespace mvm::supervisor {

wire::Open start_request(const spec::ProcessSpec& process) {
  wire::Open open;
  open.exec.argv = process.argv;
  open.exec.env = process.env;
  open.exec.working_dir = process.working_dir;
  open.exec.make_working_dir = true;
  open.exec.user = process.user;
  return open;
}

MainProcess::MainProcess(Router& router, RotatingLog& log,
                         std::function<void(const wire::Closed&)> on_end)
    : log_(log), on_end_(std::move(on_end)), streams_(router) {}

Result<> MainProcess::start(const spec::ProcessSpec& process) {
  agent_client::StreamHandlers handlers;
  handlers.on_data = [this](std::uint8_t channel, std::span<const std::byte> bytes) {
    log_.append(bytes);
    stream_->consumed(channel, bytes.size());
  };
  handlers.on_closed = [this](const wire::Closed& closed) { on_end_(closed); };
  stream_ = MVM_TRY(streams_.open(start_request(process), std::move(handlers)));
  stream_->send_eof();
  return {};
}

}  // namespace mvm::supervisor

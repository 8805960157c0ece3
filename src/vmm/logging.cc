// SPDX-License-Identifier: Apache-2.0
#include "vmm/logging.h"

#include <fcntl.h>
#include <unistd.h>

#include "core/log.h"
#include "sys/io.h"

namespace mvm::vmm {
namespace {

log::Level level_of(LogLevel level) {
  switch (level) {
    case LogLevel::kOff:
      return log::Level::kOff;
    case LogLevel::kError:
      return log::Level::kError;
    case LogLevel::kWarning:
      return log::Level::kWarn;
    case LogLevel::kInfo:
      return log::Level::kInfo;
    case LogLevel::kDebug:
    case LogLevel::kTrace:
      return log::Level::kDebug;
  }
  return log::Level::kInfo;
}

}  // namespace

Result<> configure_log(const LoggerConfig& config, const std::string& id) {
  // A pipe without a reader must not keep us waiting; the descriptor stays for the process's life.
  int fd = STDERR_FILENO;
  if (config.log_path)
    fd = MVM_TRY(sys::open_file(*config.log_path, O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK, 0600))
             .release();
  log::init(fd, level_of(config.level.value_or(LogLevel::kInfo)), "mvm-vmm " + id + ": ");
  return {};
}

}  // namespace mvm::vmm

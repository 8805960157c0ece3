// SPDX-License-Identifier: Apache-2.0
#include "core/log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <string>

namespace mvm::log {
namespace {

// Sends the log into a pipe; the standard target comes back afterwards.
class Log : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::pipe(ends_), 0); }
  void TearDown() override {
    init(2, Level::kWarn, "");
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  std::string logged() {
    EXPECT_EQ(::write(ends_[1], ".", 1), 1);
    std::array<char, 4096> text;
    const ssize_t n = ::read(ends_[0], text.data(), text.size());
    return std::string(text.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  }
  int ends_[2];
};

TEST_F(Log, WritesOneLineWithPrefixAndLevel) {
  init(ends_[1], Level::kInfo, "mvmctl: ");
  warn("disk is slow");
  info("started");
  error("gone");
  EXPECT_EQ(logged(), "mvmctl: warning: disk is slow\nmvmctl: started\nmvmctl: error: gone\n.");
}

TEST_F(Log, DropsWhatIsBelowTheLeastLevel) {
  init(ends_[1], Level::kWarn, "");
  info("quiet");
  debug("quieter");
  EXPECT_FALSE(enabled(Level::kInfo));
  EXPECT_EQ(logged(), ".");
}

}  // namespace
}  // namespace mvm::log

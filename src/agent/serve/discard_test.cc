// SPDX-License-Identifier: Apache-2.0
#include "agent/serve/discard.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include "sys/io.h"

namespace mvm::agent {
namespace {

TEST(DiscardOutputs, LetsAWriterWriteMoreThanThePipeHoldsAndEndsBehindIt) {
  ::signal(SIGPIPE, SIG_IGN);
  sys::Pipe pipe = sys::make_pipe().value();
  ASSERT_TRUE(sys::set_nonblocking(pipe.read_end.get(), true));
  std::vector<sys::UniqueFd> outputs;
  outputs.push_back(std::move(pipe.read_end));
  discard_outputs(std::move(outputs));
  const std::vector<std::byte> much(1 << 20);
  EXPECT_TRUE(sys::write_full(pipe.write_end.get(), much));
  pipe.write_end.reset();
  int status = -1;
  EXPECT_GT(::waitpid(-1, &status, 0), 0);
  EXPECT_EQ(status, 0);
}

TEST(DiscardOutputs, MakesNoChildForNothing) {
  discard_outputs({});
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
}

}  // namespace
}  // namespace mvm::agent

// SPDX-License-Identifier: Apache-2.0
#include "vmm/mmds/token.h"

#include <gtest/gtest.h>

namespace mvm::vmm {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const Clock::time_point kNow = Clock::time_point(seconds(1000));

TEST(TokenAuthority, AcceptsItsTokenUntilItExpires) {
  const TokenAuthority authority;
  const std::string token = authority.issue(60, kNow);
  EXPECT_TRUE(authority.valid(token, kNow));
  EXPECT_TRUE(authority.valid(token, kNow + seconds(60) - milliseconds(1)));
  EXPECT_FALSE(authority.valid(token, kNow + seconds(60)));
}

TEST(TokenAuthority, IssuesAnotherTokenEachTime) {
  const TokenAuthority authority;
  EXPECT_NE(authority.issue(60, kNow), authority.issue(60, kNow));
}

TEST(TokenAuthority, RefusesTheTokenOfAnother) {
  const TokenAuthority authority;
  const TokenAuthority other;
  EXPECT_FALSE(authority.valid(other.issue(60, kNow), kNow));
}

TEST(TokenAuthority, RefusesATokenWithAnyCharacterChanged) {
  const TokenAuthority authority;
  const std::string token = authority.issue(60, kNow);
  for (std::size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(authority.valid(changed, kNow)) << i;
  }
}

TEST(TokenAuthority, RefusesWhatIsNoToken) {
  const TokenAuthority authority;
  const std::string token = authority.issue(60, kNow);
  for (const std::string& text : {std::string(), token + "=", token.substr(1),
                                  std::string(token.size(), '!'), std::string(1 << 20, 'A')})
    EXPECT_FALSE(authority.valid(text, kNow));
}

}  // namespace
}  // namespace mvm::vmm

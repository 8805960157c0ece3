// SPDX-License-Identifier: Apache-2.0
#include "supervisor/console_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "supervisor/status.h"
#include "sys/files.h"
#include "sys/io.h"

namespace mvm::supervisor {
namespace {

using testing::HasSubstr;
using testing::Not;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

class Logs : public testing::Test {
 protected:
  sys::TempDir dir_ = sys::TempDir::create("/tmp", "mvm-log-").value();
  std::string path() const { return dir_.path() + "/console.log"; }
};

TEST_F(Logs, StayWithinTwiceTheirLimitWhateverIsWritten) {
  RotatingLog log = RotatingLog::open(path(), kibibytes(64)).value();
  for (int i = 0; i < 1000; ++i) log.append(bytes_of(std::string(1000, 'x')));
  EXPECT_LE(sys::read_file(path()).value().size(), 65536U);
  EXPECT_LE(sys::read_file(path() + ".1").value().size(), 65536U);
}

TEST_F(Logs, KeepTheLatestTextInOrder) {
  RotatingLog log = RotatingLog::open(path(), Bytes{10}).value();
  for (const char* text : {"aaaa", "bbbb", "cccc", "dddd"}) log.append(bytes_of(text));
  EXPECT_EQ(sys::read_file(path() + ".1").value() + sys::read_file(path()).value(),
            "aaaabbbbccccdddd");
}

TEST_F(Logs, GoOnInAFileThatIsThereAlready) {
  ASSERT_TRUE(sys::write_file(path(), "12345678"));
  RotatingLog log = RotatingLog::open(path(), Bytes{10}).value();
  log.append(bytes_of("9999"));
  EXPECT_EQ(sys::read_file(path() + ".1").value(), "12345678");
  EXPECT_EQ(sys::read_file(path()).value(), "9999");
}

TEST_F(Logs, DoNotFollowALink) {
  ASSERT_EQ(::symlink("/dev/null", path().c_str()), 0);
  EXPECT_FALSE(RotatingLog::open(path(), kibibytes(1)).has_value());
}

TEST(ConsoleScannerTest, FindsAPanicAcrossEverySplit) {
  const std::string text = "[ 1.0] fine\r\n[ 2.0] Kernel panic - not syncing: VFS: no root\r\nrest";
  for (std::size_t at = 0; at <= text.size(); ++at) {
    ConsoleScanner scanner;
    const auto first = scanner.feed(text.substr(0, at));
    const auto second = scanner.feed(text.substr(at));
    ASSERT_EQ(first.value_or("") + second.value_or(""), "VFS: no root") << at;
  }
}

TEST(ConsoleScannerTest, FindsNoPanicWhereThereIsNone) {
  ConsoleScanner scanner;
  EXPECT_EQ(scanner.feed("Kernel panic\n - not syncing: x\n"), std::nullopt);
}

TEST(ConsoleScannerTest, FiltersControlCharacters) {
  ConsoleScanner scanner;
  EXPECT_EQ(scanner.feed("Kernel panic - not syncing: \x1b[31mred\x07 \x7f\n"), "[31mred");
  EXPECT_THAT(scanner.last_lines(3), Not(HasSubstr("\x1b")));
}

TEST(ConsoleScannerTest, TellsTheLastLines) {
  ConsoleScanner scanner;
  (void)scanner.feed("one\ntwo\nthree\n\n");
  EXPECT_EQ(scanner.last_lines(1), "three");
  EXPECT_EQ(scanner.last_lines(2), "two\nthree");
  EXPECT_EQ(scanner.last_lines(9), "one\ntwo\nthree");
  EXPECT_EQ(ConsoleScanner().last_lines(1), "");
}

TEST(ConsoleScannerTest, KeepsLittleOfAFloodWithoutLineEnds) {
  ConsoleScanner scanner;
  for (int i = 0; i < 1000; ++i) (void)scanner.feed(std::string(10'000, 'x'));
  EXPECT_LE(scanner.last_lines(1).size(), 2 * ConsoleScanner::kTail);
}

class StatusFile : public Logs {};

TEST_F(StatusFile, ComesBackWithEveryField) {
  const Status status{wire::VmPhase::kFailed, 11,       22, 33, 44, 55, -6, 7,
                      "why \"quoted\"",       "do that"};
  ASSERT_TRUE(write_status(dir_.path(), status));
  const Status again = read_status(dir_.path()).value();
  EXPECT_EQ(again.phase, wire::VmPhase::kFailed);
  EXPECT_EQ(again.supervisor_pid, 11);
  EXPECT_EQ(again.engine_pid, 22);
  EXPECT_EQ(again.started_ms, 33);
  EXPECT_EQ(again.ready_ms, 44);
  EXPECT_EQ(again.ended_ms, 55);
  EXPECT_EQ(again.exit_code, -6);
  EXPECT_EQ(again.restarts, 7U);
  EXPECT_EQ(again.message, "why \"quoted\"");
  EXPECT_EQ(again.hint, "do that");
}

TEST_F(StatusFile, KnowsEveryPhase) {
  using enum wire::VmPhase;
  for (const wire::VmPhase phase : {kStarting, kReady, kStopping, kStopped, kFailed}) {
    ASSERT_TRUE(write_status(dir_.path(), Status{phase, 0, 0, 0, 0, 0, 0, 0, "", ""}));
    EXPECT_EQ(read_status(dir_.path()).value().phase, phase);
  }
}

TEST_F(StatusFile, IsNotFoundBeforeItIsWritten) {
  EXPECT_EQ(read_status(dir_.path()).error().code(), Errc::kNotFound);
}

TEST_F(StatusFile, IsCorruptWhenItIsNotWhatWeWrite) {
  for (const char* text :
       {"", "{", "[]", "{\"schema\":2,\"phase\":\"running\"}", "{\"schema\":1}",
        "{\"schema\":1,\"phase\":\"flying\"}", "{\"schema\":\"1\",\"phase\":\"running\"}"}) {
    ASSERT_TRUE(sys::write_file(status_path(dir_.path()), text));
    EXPECT_EQ(read_status(dir_.path()).error().code(), Errc::kCorrupt) << text;
  }
}

}  // namespace
}  // namespace mvm::supervisor

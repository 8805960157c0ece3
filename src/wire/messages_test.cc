// SPDX-License-Identifier: Apache-2.0
#include "wire/messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "wire/codec.h"

namespace mvm::wire {
namespace {

using testing::HasSubstr;

// A message with every field set, what decoding and encoding it again gives, and how it is refused.
struct Sample {
  std::string name;
  Payload payload;
  std::function<Result<Payload>(Bytespan)> again;
};

template <class Decode>
Sample sample(const std::string& name, const Payload& payload, Decode decode) {
  return {name, payload,
          [decode](Bytespan in) -> Result<Payload> { return encode(MVM_TRY(decode(in))); }};
}

Configure full_configure() {
  Configure out;
  out.hostname = "web";
  out.wall_clock_ns = 0x1122334455667788;
  out.entropy = {std::byte{1}, std::byte{2}, std::byte{3}};
  out.network = NetworkConfig{"10.0.2.15", 24, "10.0.2.2", {"10.0.2.3", "1.1.1.1"}};
  out.pids_limit = 77;
  out.volumes = {{"mvm_volume_0", "data", "/srv"}};
  return out;
}

Open full_exec() {
  Open out;
  out.exec.argv = {"sh", "-c", ""};
  out.exec.env = {"A=b", "C="};
  out.exec.working_dir = "/srv";
  out.exec.user = "1000:100";
  out.exec.tty = true;
  out.exec.rows = 50;
  out.exec.columns = 132;
  out.exec.timeout_ms = 1'234'567;
  return out;
}

Open file_open(OpenKind kind) {
  Open out;
  out.kind = kind;
  out.file = {"/etc/passwd", 0640, "nobody", true};
  return out;
}

Open services_open() {
  Open out;
  out.kind = OpenKind::kServices;
  ServiceRequest& web = out.services.emplace_back();
  web.name = "web";
  web.exec = full_exec().exec;
  web.restart = ServiceRestart::kAlways;
  web.after = {"db", "cache"};
  web.stop_signal = 2;
  web.stop_grace_ms = 1500;
  web.health = HealthRequest{{}, 8080, "/alive", 1000, 500, 3, 250};
  ServiceRequest& main = out.services.emplace_back();
  main.name = "main";
  main.health = HealthRequest{{"true"}, 0, "", 1, 2, 3, 4};
  return out;
}

std::vector<Sample> samples() {
  Configure plain;
  plain.hostname = "none";
  std::vector<Sample> out = {
      sample("hello", encode(Hello{kProtocolVersion, "mvm-agent 0.1.0", "6.1 x86_64"}),
             decode_hello),
      sample("configure", encode(full_configure()), decode_configure),
      sample("configure without network", encode(plain), decode_configure),
      sample("ready", encode(Ready{11, 22}), decode_ready),
      sample("shutdown", encode(Shutdown{9, 2500}), decode_shutdown),
      sample("exec", encode(full_exec()), decode_open),
      sample("services", encode(services_open()), decode_open),
      sample("closed", encode(Closed{Outcome::kNotStarted, -2, "no such file"}), decode_closed),
      sample(
          "state",
          encode(VmState{VmPhase::kFailed, -1, "panic", "look at the console", Health::kUnhealthy}),
          decode_vm_state),
      sample("stop", encode(Stop{5000, true}), decode_stop),
      sample("request", encode(Request{RequestKind::kSave}), decode_request),
      sample("answer", encode(Answer{Error(Errc::kNoSpace, "disk full").with_hint("free some")}),
             decode_answer),
      sample("resize", encode(Resize{24, 80}), decode_resize),
      sample("data-at", encode(DataAt{8192, 262144}), decode_data_at)};
  for (int kind = 2; kind <= 9; ++kind) {
    out.push_back(sample("open " + std::to_string(kind),
                         encode(file_open(static_cast<OpenKind>(kind))), decode_open));
  }
  return out;
}

TEST(Messages, ComeBackAsTheyWereSent) {
  for (const Sample& s : samples()) EXPECT_EQ(s.again(s.payload).value(), s.payload) << s.name;
}

TEST(Messages, AreRefusedWhenTruncatedAnywhere) {
  for (const Sample& s : samples()) {
    for (std::size_t length = 0; length < s.payload.size(); ++length) {
      const auto got = s.again(Bytespan(s.payload).first(length));
      ASSERT_FALSE(got.has_value()) << s.name << " cut to " << length;
      EXPECT_EQ(got.error().code(), Errc::kGuestFault) << s.name << " cut to " << length;
    }
  }
}

TEST(Messages, AreRefusedWithAByteTooMany) {
  for (const Sample& s : samples()) {
    Payload longer = s.payload;
    longer.push_back(std::byte{0});
    ASSERT_FALSE(s.again(longer).has_value()) << s.name;
  }
}

TEST(Messages, KeepTheirFields) {
  const Configure configure = decode_configure(encode(full_configure())).value();
  EXPECT_EQ(configure.hostname, "web");
  EXPECT_EQ(configure.wall_clock_ns, 0x1122334455667788U);
  EXPECT_EQ(configure.entropy.size(), 3U);
  EXPECT_EQ(configure.network->dns, (std::vector<std::string>{"10.0.2.3", "1.1.1.1"}));
  EXPECT_EQ(configure.pids_limit, 77U);
  EXPECT_EQ(configure.volumes.at(0).path, "/srv");
  const Open open = decode_open(encode(full_exec())).value();
  EXPECT_EQ(open.exec.argv, (std::vector<std::string>{"sh", "-c", ""}));
  EXPECT_EQ(open.exec.timeout_ms, 1'234'567U);
  EXPECT_TRUE(open.exec.tty);
  const Closed closed = decode_closed(encode(Closed{Outcome::kNotStarted, -2, "no"})).value();
  EXPECT_EQ(closed.code, -2);
}

TEST(Hello, OfAnotherVersionNamesBoth) {
  const Error error = decode_hello(encode(Hello{9, "later", ""})).error();
  EXPECT_EQ(error.code(), Errc::kUnsupported);
  EXPECT_THAT(error.text(), HasSubstr("version 9 is not ours (1)"));
}

TEST(Hello, OfALaterVersionMayHaveMoreFields) {
  Payload later = encode(Hello{9, "later", ""});
  later.resize(later.size() + 40);
  EXPECT_EQ(decode_hello(later).error().code(), Errc::kUnsupported);
}

TEST(Hello, OfSomethingElseIsMalformed) {
  const Payload other =
      Writer().text("ssh-2.0!").number(kProtocolVersion).text("x").text("").take();
  EXPECT_EQ(decode_hello(other).error().text(), "agent protocol: malformed hello message");
}

TEST(OpenMessage, NeedsACommand) {
  Open open = full_exec();
  open.exec.argv.clear();
  EXPECT_EQ(decode_open(encode(open)).error().code(), Errc::kGuestFault);
}

TEST(OpenMessage, RefusesNulBytesInEveryText) {
  const std::string nul("a\0b", 3);
  std::vector<Open> opens(6, full_exec());
  opens[0].exec.argv[1] = nul;
  opens[1].exec.env[0] = nul;
  opens[2].exec.working_dir = nul;
  opens[3].exec.user = nul;
  opens[4] = file_open(OpenKind::kRead);
  opens[4].file.path = nul;
  opens[5] = file_open(OpenKind::kPut);
  opens[5].file.user = nul;
  for (const Open& open : opens) EXPECT_FALSE(decode_open(encode(open)).has_value());
}

TEST(OpenMessage, RefusesAnUnknownKindAndAnEmptyPath) {
  Payload payload = encode(file_open(OpenKind::kStat));
  payload[0] = std::byte{10};
  EXPECT_FALSE(decode_open(payload).has_value());
  payload[0] = std::byte{0};
  EXPECT_FALSE(decode_open(payload).has_value());
  Open open = file_open(OpenKind::kStat);
  open.file.path.clear();
  EXPECT_FALSE(decode_open(encode(open)).has_value());
}

TEST(OpenMessage, RefusesTextsAndListsOverTheirLimits) {
  Open open = file_open(OpenKind::kStat);
  open.file.path = std::string(kMaxPath + 1, 'p');
  EXPECT_FALSE(decode_open(encode(open)).has_value());
  open = full_exec();
  open.exec.env.assign(kMaxListLength + 1, "");
  EXPECT_FALSE(decode_open(encode(open)).has_value());
}

TEST(OpenMessage, RefusesABooleanThatIsNeitherTrueNorFalse) {
  Payload payload = encode(file_open(OpenKind::kStat));
  payload.back() = std::byte{2};
  EXPECT_FALSE(decode_open(payload).has_value());
}

TEST(ShutdownMessage, RefusesSignalsThatDoNotExist) {
  for (const int signum : {0, -1, 65})
    EXPECT_FALSE(decode_shutdown(encode(Shutdown{signum, 0})).has_value());
}

TEST(Enumerations, OutOfRangeAreRefused) {
  Payload closed = encode(Closed{});
  closed[0] = std::byte{6};
  EXPECT_FALSE(decode_closed(closed).has_value());
  Payload state = encode(VmState{});
  state[0] = std::byte{6};
  EXPECT_FALSE(decode_vm_state(state).has_value());
  Payload answer = encode(Answer{});
  answer[0] = std::byte{16};
  EXPECT_FALSE(decode_answer(answer).has_value());
  for (const int kind : {0, 5}) {
    Payload request = encode(Request{});
    request[0] = static_cast<std::byte>(kind);
    EXPECT_FALSE(decode_request(request).has_value()) << kind;
  }
}

TEST(AnswerMessage, KeepsAFailureWithItsCodeAndHint) {
  const Answer answer =
      decode_answer(encode(Answer{Error(Errc::kNoSpace, "disk full").with_hint("free some")}))
          .value();
  ASSERT_TRUE(answer.failure.has_value());
  EXPECT_EQ(answer.failure->code(), Errc::kNoSpace);
  EXPECT_EQ(answer.failure->text(), "disk full");
  EXPECT_EQ(answer.failure->hint(), "free some");
  EXPECT_FALSE(decode_answer(encode(Answer{})).value().failure.has_value());
}

TEST(Numbers, RoundTripAndMayNotBeShort) {
  EXPECT_EQ(decode_u32(encode_u32(0xdeadbeef)).value(), 0xdeadbeefU);
  const Payload payload = encode_u32(1);
  EXPECT_FALSE(decode_u32(Bytespan(payload).first(3)).has_value());
}

FileInfo full_info() {
  return {"link", FileType::kSymlink, 04755, 1000, 100, 1ULL << 40, -5, "../target"};
}

TEST(Records, ComeOneAfterTheOther) {
  std::string buffer = record(encode(full_info())) + record(encode(FileInfo{}));
  const auto first = take_file_info(buffer).value();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->name, "link");
  EXPECT_EQ(first->type, FileType::kSymlink);
  EXPECT_EQ(first->mode, 04755U);
  EXPECT_EQ(first->size_bytes, 1ULL << 40);
  EXPECT_EQ(first->mtime_ns, -5);
  EXPECT_EQ(first->link_target, "../target");
  EXPECT_TRUE(take_file_info(buffer).value().has_value());
  EXPECT_FALSE(take_file_info(buffer).value().has_value());
  EXPECT_EQ(buffer, "");
}

TEST(Records, WaitUntilTheyAreWhole) {
  const std::string whole = record(encode(full_info()));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    std::string buffer = whole.substr(0, length);
    ASSERT_FALSE(take_file_info(buffer).value().has_value()) << length;
    ASSERT_EQ(buffer.size(), length);
  }
}

TEST(Records, WithAFieldMissingAreRefused) {
  const Payload whole = encode(full_info());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    std::string buffer =
        record(Payload(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)));
    ASSERT_FALSE(take_file_info(buffer).has_value()) << length;
  }
}

TEST(Records, OfAbsurdLengthAreRefusedAtOnce) {
  std::string buffer("\xff\xff\xff\xff", 4);
  EXPECT_EQ(take_file_info(buffer).error().code(), Errc::kGuestFault);
  EXPECT_EQ(take_diff_entry(buffer).error().code(), Errc::kGuestFault);
}

TEST(Records, OfDifferencesCarryKindAndPath) {
  std::string buffer = record(encode(DiffEntry{DiffKind::kDeleted, "etc/motd"}));
  const auto entry = take_diff_entry(buffer).value();
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->kind, DiffKind::kDeleted);
  EXPECT_EQ(entry->path, "etc/motd");
}

TEST(Records, OfAnUnknownKindAreRefused) {
  Payload diff = encode(DiffEntry{});
  diff[0] = std::byte{'Z'};
  std::string buffer = record(diff);
  EXPECT_FALSE(take_diff_entry(buffer).has_value());
  FileInfo info;
  info.type = static_cast<FileType>(7);
  buffer = record(encode(info));
  EXPECT_FALSE(take_file_info(buffer).has_value());
}

TEST(Reader, ReadsZerosAfterItsFirstFailure) {
  const Payload payload = Writer().number<std::uint8_t>(1).take();
  Reader reader(payload);
  EXPECT_EQ(reader.number<std::uint32_t>(), 0U);
  EXPECT_EQ(reader.number<std::uint8_t>(), 0U);
  EXPECT_FALSE(reader.ok());
  EXPECT_FALSE(reader.done());
}

TEST(Reader, DoesNotTakeMemoryForAListThatIsNotThere) {
  const Payload payload = Writer().number<std::uint32_t>(kMaxListLength).take();
  Reader reader(payload);
  EXPECT_LE(reader.texts().size(), 1U);
  EXPECT_FALSE(reader.ok());
}

TEST(DataAtMessage, OutsideTheDiskOrNotInWholeBlocksIsRefused) {
  const DataAt bad[] = {{0, 0},
                        {4095, 4096},
                        {0, 4095},
                        {kExchangeSize, 4096},
                        {kExchangeSize - 4096, 8192},
                        {0xffff'f000, 4096},
                        {0, kMaxInputChunk + 4096}};
  for (const DataAt& where : bad)
    EXPECT_FALSE(decode_data_at(encode(where)).has_value()) << where.offset << " " << where.length;
  EXPECT_TRUE(decode_data_at(encode(DataAt{kExchangeSize - 4096, 4096})).has_value());
}

TEST(ServicesMessage, WithoutAProgramAndWithoutACheckIsRefused) {
  Open nothing;
  nothing.kind = OpenKind::kServices;
  nothing.services.emplace_back().name = "idle";
  EXPECT_FALSE(decode_open(encode(nothing)).has_value());
  nothing.services[0].health = HealthRequest{};  // neither a command nor a port
  EXPECT_FALSE(decode_open(encode(nothing)).has_value());
  nothing.services[0].health->port = 80;
  EXPECT_TRUE(decode_open(encode(nothing)).has_value());
  nothing.services.resize(kMaxServices + 1, nothing.services[0]);
  EXPECT_FALSE(decode_open(encode(nothing)).has_value());
}

TEST(ServiceRecords, ComeOneByOneAndWhole) {
  const ServiceState state{"web", ServicePhase::kBackoff, Health::kUnhealthy, 77, 3, "signal 9"};
  std::string stream =
      record(encode(ServiceRecord{state, std::nullopt})) +
      record(encode(ServiceRecord{std::nullopt, ServiceOutput{"web", std::string("x\0y", 3)}}));
  const std::string last = stream.substr(stream.size() - 3);
  stream.resize(stream.size() - 3);
  const auto first = take_service_record(stream).value();
  EXPECT_EQ(first->state->name, "web");
  EXPECT_EQ(first->state->phase, ServicePhase::kBackoff);
  EXPECT_EQ(first->state->health, Health::kUnhealthy);
  EXPECT_EQ(first->state->pid, 77);
  EXPECT_EQ(first->state->restarts, 3U);
  EXPECT_EQ(first->state->message, "signal 9");
  EXPECT_FALSE(take_service_record(stream).value().has_value());
  stream += last;
  EXPECT_EQ(take_service_record(stream).value()->output->text, std::string("x\0y", 3));
  EXPECT_TRUE(stream.empty());
}

TEST(ServiceRecords, OfAnUnknownKindAreRefused) {
  std::string stream = record(Writer().number(std::uint8_t{100}).text("web").take());
  EXPECT_EQ(take_service_record(stream).error().code(), Errc::kGuestFault);
}

}  // namespace
}  // namespace mvm::wire

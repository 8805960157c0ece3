// SPDX-License-Identifier: Apache-2.0
// The builtins as a host uses them: through a stream of the agent.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <thread>

#include "agent/serve/test_host.h"
#include "sys/files.h"
#include "sys/io.h"
#include "sys/process.h"

namespace mvm::agent {
namespace {

using testing::HasSubstr;
using wire::OpenKind;

class Files : public testing::Test {
 protected:
  sys::TempDir dir_ = sys::TempDir::create("/tmp", "agent-").value();
  std::string path(const std::string& name) const { return dir_.path() + "/" + name; }
  TestHost host_;

  std::string shell(const std::string& script) {
    sys::Command command;
    command.argv = {"sh", "-c", script};
    command.working_dir = dir_.path();
    return sys::run_checked(command).value();
  }
};

TEST_F(Files, WriteThenReadGivesTheSameBytes) {
  wire::Open open;
  open.kind = OpenKind::kWrite;
  open.file.path = path("f");
  open.file.mode = 0640;
  EXPECT_EQ(host_.run(open, "content").result.code, 0);
  EXPECT_EQ(host_.file(OpenKind::kRead, path("f")).out, "content");
  struct stat st;
  ASSERT_EQ(::stat(path("f").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0640U);
}

TEST_F(Files, WriteKeepsTheModeOfAnExistingFile) {
  ASSERT_TRUE(sys::write_file(path("f"), "long old content", 0755));
  EXPECT_EQ(host_.file(OpenKind::kWrite, path("f"), "new").result.code, 0);
  EXPECT_EQ(shell("cat f; stat -c %a f"), "new755\n");
}

TEST_F(Files, ReadNamesAMissingFileAndItsErrno) {
  const Reply reply = host_.file(OpenKind::kRead, path("none"));
  EXPECT_EQ(reply.result.code, ENOENT);
  EXPECT_THAT(reply.err, HasSubstr(path("none") + ": No such file or directory"));
}

TEST_F(Files, StatDescribesASymbolicLinkItself) {
  ASSERT_EQ(::symlink("target", path("link").c_str()), 0);
  std::string out = host_.file(OpenKind::kStat, path("link")).out;
  const auto info = wire::take_file_info(out).value();
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->name, "link");
  EXPECT_EQ(info->type, wire::FileType::kSymlink);
  EXPECT_EQ(info->link_target, "target");
}

TEST_F(Files, ListSortsTheEntries) {
  shell("touch b a; mkdir c");
  std::string out = host_.file(OpenKind::kList, dir_.path()).out;
  EXPECT_EQ(wire::take_file_info(out).value()->name, "a");
  EXPECT_EQ(wire::take_file_info(out).value()->name, "b");
  EXPECT_EQ(wire::take_file_info(out).value()->type, wire::FileType::kDirectory);
}

TEST_F(Files, GetThenPutKeepsTheTree) {
  shell(
      "mkdir -p src/sub; echo one > src/a; ln src/a src/hard; ln -s a src/soft; printf 'x' > "
      "'src/sub/\303\244 name';"
      "chmod 4711 src/a; mkfifo src/pipe; truncate -s 3M src/sparse; touch -d '2001-02-03 "
      "04:05:06.789' src/sub; chmod 700 src/sub");
  const Reply got = host_.file(OpenKind::kGet, path("src"));
  ASSERT_EQ(got.result.code, 0) << got.err;
  const auto id = host_.open([&] {
    wire::Open open;
    open.kind = OpenKind::kPut;
    open.file.path = path("new/dst");
    return open;
  }());
  for (std::size_t at = 0; at < got.out.size(); at += wire::kMaxDataChunk)
    host_.data(id, std::string_view(got.out).substr(at, wire::kMaxDataChunk));
  host_.eof(id);
  const Reply put = host_.wait(id);
  ASSERT_EQ(put.result.code, 0) << put.err;
  const std::string list = "find . -printf '%p %y %m %s %n %l %T@\\n' | sort";
  EXPECT_EQ(shell("cd new/dst/src; " + list), shell("cd src; " + list));
  EXPECT_EQ(shell("stat -c %i new/dst/src/a"), shell("stat -c %i new/dst/src/hard"));
  EXPECT_LT(got.out.size(), 64U * 1024);  // the hole is not sent
}

TEST_F(Files, GetCanBeReadByTar) {
  shell("mkdir src; echo one > src/a; ln src/a src/b");
  const Reply got = host_.file(OpenKind::kGet, path("src"));
  ASSERT_TRUE(sys::write_file(path("t.tar"), got.out));
  EXPECT_EQ(shell("tar -tf t.tar"), "src/\nsrc/a\nsrc/b\n");
}

TEST_F(Files, PutTakesWhatTarWrites) {
  shell("mkdir src; echo one > src/a; mknod src/dev c 1 3 || true; tar -C src -cf t.tar .");
  const std::string tar = sys::read_file(path("t.tar")).value();
  const Reply put = host_.file(OpenKind::kPut, path("dst"), tar);
  ASSERT_EQ(put.result.code, 0) << put.err;
  EXPECT_EQ(shell("cat dst/a; stat -c %t:%T dst/dev"), "one\n1:3\n");
}

TEST_F(Files, PutGivesTheFilesToTheNamedUser) {
  shell("mkdir src; echo one > src/a; tar -cf t.tar src");
  wire::Open open;
  open.kind = OpenKind::kPut;
  open.file.path = dir_.path() + "/dst";
  open.file.user = "1234:4321";
  ASSERT_EQ(host_.run(open, sys::read_file(path("t.tar")).value()).result.code, 0);
  EXPECT_EQ(shell("stat -c %u:%g dst/src/a"), "1234:4321\n");
}

TEST_F(Files, PutRefusesMembersThatClimbOut) {
  shell("echo bad > evil; mkdir in; cd in; tar -P -cf ../t.tar ../evil; rm ../evil");
  const Reply put = host_.file(OpenKind::kPut, path("dst"), sys::read_file(path("t.tar")).value());
  EXPECT_NE(put.result.code, 0);
  EXPECT_THAT(put.err, HasSubstr(".."));
  EXPECT_FALSE(sys::path_exists(path("evil")));
}

TEST_F(Files, PutRefusesATruncatedStream) {
  shell("head -c 100000 /dev/zero > big; tar -cf t.tar big");
  const std::string tar = sys::read_file(path("t.tar")).value().substr(0, 50'000);
  EXPECT_NE(host_.file(OpenKind::kPut, path("dst"), tar).result.code, 0);
}

TEST_F(Files, PutRefusesAFileInThePlaceOfTheDirectory) {
  shell("touch f; tar -cf t.tar f");
  const Reply put = host_.file(OpenKind::kPut, path("f"), sys::read_file(path("t.tar")).value());
  EXPECT_EQ(put.result.code, ENOTDIR);
}

TEST_F(Files, ConnectRelaysBothWaysWithHalfClose) {
  const sys::UniqueFd listener = sys::listen_tcp({"127.0.0.1", 0}).value();
  ASSERT_TRUE(sys::set_nonblocking(listener.get(), false));
  std::string seen;
  std::thread peer([&] {
    const sys::UniqueFd socket(::accept(listener.get(), nullptr, nullptr));
    seen = sys::read_fd(socket.get()).value_or("");
    (void)sys::write_full(socket.get(), std::string_view("answer to " + seen));
  });
  const std::string address =
      "127.0.0.1:" + std::to_string(sys::bound_port(listener.get()).value());
  const Reply reply = host_.file(OpenKind::kConnect, address, "question");
  peer.join();
  EXPECT_EQ(reply.out, "answer to question");
  EXPECT_EQ(reply.result.code, 0) << reply.err;
}

TEST_F(Files, ConnectTellsARefusedConnection) {
  const Reply reply = host_.file(OpenKind::kConnect, "127.0.0.1:1");
  EXPECT_EQ(reply.result.code, ECONNREFUSED);
  EXPECT_EQ(host_.file(OpenKind::kConnect, "nonsense").result.code, 1);
}

TEST_F(Files, DiffWithoutAnOverlayIsAnError) {
  EXPECT_THAT(host_.file(OpenKind::kDiff, "/").err, HasSubstr("no overlay"));
}

}  // namespace
}  // namespace mvm::agent

// SPDX-License-Identifier: Apache-2.0
// For tests: a program that, started in a jail, says what it sees there. Static, as in a jail
// nothing else would run.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <string>

namespace {

void list(const std::string& path) {
  DIR* dir = ::opendir(path.c_str());
  if (dir == nullptr) return;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat st{};
    ::lstat((path + name).c_str(), &st);
    std::printf("file %s%s %o %u:%u\n", path.c_str(), name.c_str(), st.st_mode & 07777U, st.st_uid,
                st.st_gid);
    if (S_ISDIR(st.st_mode)) list(path + name + "/");
  }
  ::closedir(dir);
}

}  // namespace

int main(int argc, char** argv, char** environment) {
  for (int i = 0; i < argc; ++i) std::printf("argument %s\n", argv[i]);
  for (; *environment != nullptr; ++environment) std::printf("environment %s\n", *environment);
  for (int fd = 0; fd < 1024; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) std::printf("descriptor %d\n", fd);
  }
  std::printf("user %u:%u\n", ::geteuid(), ::getegid());
  std::printf("process %d\n", ::getpid());
  list("/");
  return 42;
}

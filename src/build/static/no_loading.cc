// SPDX-License-Identifier: Apache-2.0
// SQLite can load extensions, and a static program cannot: the linker has its dlopen() mean this.
// NOLINTBEGIN(bugprone-reserved-identifier): the name is the linker's, see --wrap in ld(1).
extern "C" void* __wrap_dlopen(const char* file, int mode);
extern "C" void* __wrap_dlopen(const char* /*file*/, int /*mode*/) { return nullptr; }
// NOLINTEND(bugprone-reserved-identifier)

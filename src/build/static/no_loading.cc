// SPDX-License-Identifier: Apache-2.0
// SQLite can load extensions, and a static program cannot: the linker has its dlopen() mean this.
extern "C" void* __wrap_dlopen(const char* /*file*/, int /*mode*/);
extern "C" void* __wrap_dlopen(const char* /*file*/, int /*mode*/) { return nullptr; }

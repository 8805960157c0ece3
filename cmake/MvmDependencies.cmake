# SPDX-License-Identifier: Apache-2.0
# Every library comes from a Debian package of tools/packages.txt; nothing is downloaded.
# Static archives where Debian has them: the CLI starts in milliseconds because few shared objects are loaded.

find_package(PkgConfig REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
find_package(tl-expected REQUIRED)
include(GoogleTest)
if(MVM_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()

set(CMAKE_FIND_LIBRARY_SUFFIXES_SAVED ${CMAKE_FIND_LIBRARY_SUFFIXES})
set(CMAKE_FIND_LIBRARY_SUFFIXES .a .so)
find_library(MVM_NETTLE nettle REQUIRED)
find_library(MVM_HOGWEED hogweed REQUIRED)
find_library(MVM_GMP gmp REQUIRED)
find_library(MVM_SQLITE sqlite3 REQUIRED)
find_library(MVM_ARCHIVE archive REQUIRED)
find_library(MVM_ACL acl REQUIRED)
find_library(MVM_ZLIB z REQUIRED)
find_library(MVM_LZMA lzma REQUIRED)
find_library(MVM_ZSTD zstd REQUIRED)
find_library(MVM_LZ4 lz4 REQUIRED)
find_library(MVM_BZ2 bz2 REQUIRED)
find_library(MVM_HTTP_PARSER http_parser REQUIRED)
find_library(MVM_SECCOMP seccomp REQUIRED)
set(CMAKE_FIND_LIBRARY_SUFFIXES ${CMAKE_FIND_LIBRARY_SUFFIXES_SAVED})

add_library(mvm_nettle_lib INTERFACE)
target_link_libraries(mvm_nettle_lib INTERFACE ${MVM_NETTLE})
# Public-key signatures; GMP is its arithmetic.
add_library(mvm_hogweed_lib INTERFACE)
target_link_libraries(mvm_hogweed_lib INTERFACE ${MVM_HOGWEED} ${MVM_NETTLE} ${MVM_GMP})
add_library(mvm_sqlite_lib INTERFACE)
target_link_libraries(mvm_sqlite_lib INTERFACE ${MVM_SQLITE} dl pthread m)
# Tar, cpio and the compression filters; the xml-based formats of libarchive are never referenced and so not linked.
add_library(mvm_archive_lib INTERFACE)
target_link_libraries(mvm_archive_lib INTERFACE ${MVM_ARCHIVE} ${MVM_ACL} ${MVM_LZMA} ${MVM_ZSTD} ${MVM_LZ4} ${MVM_BZ2} ${MVM_ZLIB} ${MVM_NETTLE})
# Only mvm-netd links it: it brings GLib.
pkg_check_modules(MVM_SLIRP REQUIRED IMPORTED_TARGET slirp)
add_library(mvm_slirp_lib INTERFACE)
target_link_libraries(mvm_slirp_lib INTERFACE PkgConfig::MVM_SLIRP)

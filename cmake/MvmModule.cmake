# SPDX-License-Identifier: Apache-2.0
# mvm_module(<name> [DEPS <modules>] [LIBS <libraries>]): the static library mvm_<name> from every *.cc of this
# folder except *_test.cc (and main.cc), which become the test program <name>_test.

add_library(mvm_options INTERFACE)
target_compile_options(mvm_options INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Wold-style-cast -Woverloaded-virtual
  -Werror=unused-result -ffunction-sections -fdata-sections)
target_link_options(mvm_options INTERFACE -Wl,--gc-sections)
# -iquote, not -I: src/sys/ must not hide the C library's <sys/socket.h>.
target_compile_options(mvm_options INTERFACE -iquote ${CMAKE_SOURCE_DIR}/src)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  target_compile_options(mvm_options INTERFACE -Wno-restrict -Wno-stringop-overflow)  # false alarms of GCC 12
endif()
target_compile_definitions(mvm_options INTERFACE _FILE_OFFSET_BITS=64)
if(MVM_SANITIZE)
  target_compile_options(mvm_options INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  target_link_options(mvm_options INTERFACE -fsanitize=address,undefined)
endif()
if(MVM_SANITIZE_THREAD)
  if(MVM_SANITIZE)
    message(FATAL_ERROR "MVM_SANITIZE and MVM_SANITIZE_THREAD exclude each other")
  endif()
  # -Wno-tsan: fences, which ThreadSanitizer does not know, stand where acquire and release order what it checks.
  target_compile_options(mvm_options INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(mvm_options INTERFACE -fsanitize=thread)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    target_compile_options(mvm_options INTERFACE -Wno-tsan)
  endif()
endif()
if(MVM_BUILD_FUZZERS)
  target_compile_options(mvm_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Everything that runs under the label `unit`, so that the sanitizer build need not build the rest.
add_custom_target(unit_tests)

function(mvm_module name)
  cmake_parse_arguments(ARG "" "" "DEPS;LIBS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER sources EXCLUDE REGEX "(_test|/main)\\.cc$")
  if(sources)
    add_library(mvm_${name} STATIC ${sources})
    set(scope PUBLIC)
  else()
    add_library(mvm_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_link_libraries(mvm_${name} ${scope} mvm_options ${ARG_LIBS})
  foreach(dep ${ARG_DEPS})
    target_link_libraries(mvm_${name} ${scope} mvm_${dep})
  endforeach()
  if(tests AND MVM_BUILD_TESTS)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE mvm_${name} GTest::gmock GTest::gtest_main)
    target_compile_definitions(${name}_test PRIVATE MVM_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    add_dependencies(unit_tests ${name}_test)
    # Tests that measure memory must not see what ASan keeps of freed blocks (256 MiB of them by default).
    gtest_discover_tests(${name}_test DISCOVERY_MODE PRE_TEST
      PROPERTIES LABELS unit TIMEOUT 120 ENVIRONMENT ASAN_OPTIONS=quarantine_size_mb=8)
  endif()
endfunction()

# SPDX-License-Identifier: Apache-2.0
# The Debian package (`./dev package`): what `cmake --install` installs, below /usr, with its dependencies.

install(FILES ${CMAKE_SOURCE_DIR}/packaging/copyright DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/mvm)
file(GLOB pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/*.md ${CMAKE_SOURCE_DIR}/LICENSE)
install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/mvm)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs/ DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/mvm/docs
        FILES_MATCHING PATTERN "*.md")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME mvm)
set(CPACK_PACKAGE_VENDOR "the mvm authors")
set(CPACK_PACKAGE_CONTACT "the mvm authors <mvm@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "build Linux images and boot them as local microVMs")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"mvmctl makes a read-only image from a directory, an archive, an OCI image or a
Debian suite, boots it as a virtual machine of its own, runs a command in it,
and returns the command's output and exit code. There is no daemon.")
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)

# libc6 and the like come from what the programs link. The programs that mvm starts are listed here and in [run] of
# tools/packages.txt.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
file(WRITE ${CMAKE_BINARY_DIR}/MvmShlibdeps.cmake "set(SHLIBDEPS_EXECUTABLE ${CMAKE_SOURCE_DIR}/packaging/shlibdeps)\n")
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_BINARY_DIR}/MvmShlibdeps.cmake)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "apt, busybox-static, e2fsprogs, erofs-utils, fakeroot, kmod, qemu-system-x86")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "buildah, ca-certificates, cryptsetup-bin, fakechroot, mmdebstrap, nix-bin, runc, skopeo")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "bc, bison, docker.io, flex, gcc, libcurl4, libelf-dev, make, xz-utils")
include(CPack)

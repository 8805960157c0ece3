// SPDX-License-Identifier: Apache-2.0
// What the agent does itself, without a program of the image: files, tar streams, differences, TCP
// connections.
//
// Each runs in a forked child whose 0, 1 and 2 are the stream's channels, and blocks as it likes.
// Errors: every function answers with an error that names the path; report() turns it into the
// child's end.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "core/result.h"
#include "wire/messages.h"

namespace mvm::agent::builtin {

// Who owns what put and write make, when `set`.
struct Owner {
  bool set = false;
  uid_t uid = 0;
  gid_t gid = 0;
};

// Unpacks the tar stream on stdin below the directory `path`, which is made with its parents when
// missing. Modes, owners, times, extended attributes, hard links, devices and holes are kept.
// Members that climb out ("..") are refused.
Result<> put(const wire::FileRequest& request, const Owner& owner);
// Writes `path` and what is below it as a pax tar stream to stdout. Member names start with the
// last component of `path`. Pseudo file systems found below (proc, sysfs, …) are left out; sockets
// cannot be in a tar and are skipped.
Result<> get(const wire::FileRequest& request);
// Writes one FileInfo record.
Result<> stat(const wire::FileRequest& request);
// Writes a FileInfo record per entry of a directory, sorted by name.
Result<> list(const wire::FileRequest& request);
// Copies a file to stdout.
Result<> read(const wire::FileRequest& request);
// Replaces a file's content by stdin; makes it with `mode` when missing.
Result<> write(const wire::FileRequest& request, const Owner& owner);
// Writes a DiffEntry record for each path by which the overlay's upper directory differs from the
// image.
Result<> diff(int upper, int lower);
// The same into a function, sorted by path.
Result<> walk_diff(int upper, int lower,
                   const std::function<Result<>(const wire::DiffEntry&)>& emit);
// Connects to `path` = "IP:PORT" ("[IP6]:PORT") and relays both directions, with half-close.
Result<> connect(const wire::FileRequest& request);

// Exit code of a builtin: 0, or the error's errno (1 without one), with its text on stderr.
int report(const Result<>& result);

}  // namespace mvm::agent::builtin

// SPDX-License-Identifier: Apache-2.0
// One machine as a container: image, container, its life and its removal.
#pragma once

#include <string>

#include "core/result.h"
#include "docker/engine_api.h"

namespace mvm::docker {

// Of every container and image of ours. Its value for a container is the lock file that its
// supervisor holds; for an image the digest.
inline constexpr char kContainerLabel[] = "mvm.lock";
inline constexpr char kImageLabel[] = "mvm.image";
// An image's name: this and its digest.
inline constexpr char kRepository[] = "mvm-image";

// What backend/docker asks for, as JSON of schema 1: name; lock; image {digest, path of the EROFS
// file}; create, the body of POST /containers/create without Image and Labels.
struct Order {
  std::string name;
  std::string lock;
  std::string digest;
  std::string image;
  std::string create;  // JSON
};
Result<Order> parse_order(std::string_view text);

// Imports an image that the daemon does not have yet, by one command at a time.
// Errors: the daemon's; those of reading the image's file: nothing is kept then.
Result<> need_image(EngineApi& api, const std::string& digest, const std::string& path);

// The container's id. What this host has no processors for is left out of its limits. A container
// of the same name that nobody uses any more is replaced.
// Errors: kAlreadyExists for a name that another program's container has.
Result<std::string> create(EngineApi& api, const Order& order);
// Errors: kBusy for a port; the container is removed then.
Result<> start(EngineApi& api, const std::string& id);
Result<> pause(EngineApi& api, const std::string& id);
Result<> resume(EngineApi& api, const std::string& id);
// Ends it, held or not; fine when it is gone already.
Result<> remove(EngineApi& api, const std::string& id);

// Removes the containers of this home, whose locks lie below `locks`, that have no supervisor any
// more; a daemon that was away, or a container that was held, could not do it itself.
Result<> sweep(EngineApi& api, const std::string& locks);

struct Pruned {
  std::size_t images = 0;
  std::uint64_t bytes = 0;
};
// Removes the images that no container uses, or counts them only.
Result<Pruned> prune(EngineApi& api, bool dry_run);

// The text of a container's log, without the eight bytes before each piece of it. Source: Docker
// Engine API, ContainerAttach, "Stream format".
class LogText {
 public:
  std::string feed(std::string_view bytes);

 private:
  std::string head_;
  std::size_t left_ = 0;  // of the piece
};

}  // namespace mvm::docker

// SPDX-License-Identifier: Apache-2.0
#include "image/prepare.h"

#include "image/host_trees.h"
#include "image/oci_layout.h"
#include "image/skopeo.h"
#include "spec/vm_spec_json.h"

namespace mvm::image {
namespace {

Result<> use_oci_layout(const std::string& dir, const std::string& tag, const PullRequest& request,
                        Prepared& prepared) {
  OciImage image = MVM_TRY(read_oci_layout(dir, tag, request.arch));
  prepared.plan.layers = std::move(image.layers);
  prepared.config = std::move(image.config);
  prepared.source_digest = image.manifest_digest;
  return {};
}

Result<> use_host_tree(const Source& source, const PullRequest& request, const std::string& work,
                       Prepared& prepared) {
  if (request.arch != host_arch()) {
    return Error(Errc::kUnsupported, source.ref() +
                                         " can only be made for this host's architecture, " +
                                         std::string(spec::to_string(host_arch())))
        .with_hint(
            "for another architecture pull from a registry, as in docker.io/library/" +
            std::string(source.kind == SourceKind::kDebian ? "debian:stable" : "busybox:latest"));
  }
  const std::string tar = work + "/source.tar";
  if (source.kind == SourceKind::kDebian) {
    MVM_TRY(write_debian_tar(source, work, tar));
  } else {
    MVM_TRY(write_busybox_tar(MVM_TRY(find_static_busybox()), tar));
  }
  prepared.plan.layers = {LayerFile{.path = tar, .digest = {}, .size = {}}};
  prepared.config = host_tree_config();
  return {};
}

}  // namespace

Result<Prepared> prepare(const Source& source, const PullRequest& request, const std::string& work,
                         Progress& progress) {
  Prepared prepared;
  prepared.plan.work_dir = work;
  prepared.plan.output = work + "/image.erofs";
  progress.update("fetching " + source.ref(), {}, {});
  switch (source.kind) {
    case SourceKind::kBusybox:
    case SourceKind::kDebian:
      MVM_TRY(use_host_tree(source, request, work, prepared));
      break;
    case SourceKind::kDirectory:
      prepared.plan.directory = source.path;
      break;
    case SourceKind::kTar:
      prepared.plan.layers = {LayerFile{.path = source.path, .digest = {}, .size = {}}};
      break;
    case SourceKind::kOciLayout:
      MVM_TRY(use_oci_layout(source.path, source.tag, request, prepared));
      break;
    case SourceKind::kBuild:
      return Error(Errc::kNotFound, "there is no such build")
          .with_hint("list what there is with: mvmctl manifest ls");
    case SourceKind::kBundle:
      return Error(Errc::kNotFound, "there is no such bundle")
          .with_hint("import it with: mvmctl bundle import FILE");
    case SourceKind::kOciArchive:
    case SourceKind::kDockerArchive:
    case SourceKind::kRegistry: {
      const FetchOptions options{.arch = request.arch,
                                 .creds = request.creds,
                                 .authfile = request.authfile,
                                 .cert_dir = request.cert_dir,
                                 .tls_verify = request.tls_verify};
      MVM_TRY(fetch_with_skopeo(source, options, work + "/layout", work));
      MVM_TRY(use_oci_layout(work + "/layout", kFetchedTag, request, prepared));
      break;
    }
  }
  return prepared;
}

}  // namespace mvm::image

// SPDX-License-Identifier: Apache-2.0
// Finding libnccl, binding its functions, and refusing versions that are too old.
#include "library.hpp"

#include <dlfcn.h>

#include <map>
#include <memory>
#include <mutex>

#include "onebit/error.hpp"

namespace onebit::nccl {
namespace {

constexpr const char* kFile = "libnccl.so.2";
constexpr int kOldest = 2803;

// Up to 2.8 a version is 2803, from 2.9 on 20900.
int comparable(int version) { return version >= 10000 ? version : version / 1000 * 10000 + version % 1000; }

// Never closed: a communicator's threads may still be in it when the process ends.
void* open(const std::string& file) {
  if (!file.empty()) {
    if (void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) return handle;
    throw Error(Code::unavailable, std::string("communicator.library can't be loaded: ") + dlerror());
  }
  if (void* loaded = dlopen(kFile, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD)) return loaded;
  if (void* found = dlopen(kFile, RTLD_NOW | RTLD_LOCAL)) return found;
  throw Error(Code::unavailable, std::string("NCCL was not found: this process has not loaded ") + kFile +
                                     ", and the loader says: " + dlerror() +
                                     ". Install NCCL 2.8.3 or later, or add its folder to LD_LIBRARY_PATH");
}

std::string file_of(const void* function, const std::string& fallback) {
  Dl_info info{};
  return dladdr(function, &info) != 0 && info.dli_fname != nullptr ? info.dli_fname : fallback;
}

class Binder {
 public:
  explicit Binder(const std::string& file) : handle_(open(file)), file_(file.empty() ? kFile : file) {}

  template <class F>
  void optional(F& function, const char* name) {
    void* found = dlsym(handle_, name);
    function = reinterpret_cast<F>(found);
    if (found != nullptr && !known_) file_ = file_of(found, file_), known_ = true;
  }
  template <class F>
  void required(F& function, const char* name) {
    optional(function, name);
    if (function == nullptr)
      throw Error(Code::unavailable, file_ + " has no function " + name + ": it is not NCCL, or one before 2.8.3");
  }
  const std::string& file() const { return file_; }

 private:
  void* handle_;
  std::string file_;
  bool known_ = false;
};

std::unique_ptr<Library> bind(const std::string& file) {
  Binder binder(file);
  auto made = std::make_unique<Library>();
  Api& api = made->api;
  binder.required(api.get_version, "ncclGetVersion");
  made->file = binder.file();
  if (const Result code = api.get_version(&made->version); code != kSuccess)
    throw Error(Code::unavailable, made->file + ": ncclGetVersion failed with " + std::to_string(code), code);
  if (comparable(made->version) < comparable(kOldest))
    throw Error(Code::unavailable,
                made->file + " is NCCL " + version_text(made->version) + "; " + version_text(kOldest) +
                    " or later is needed, for grouped sends and receives of 64 GPUs and more go wrong before");
  binder.required(api.get_unique_id, "ncclGetUniqueId");
  binder.required(api.comm_init_rank, "ncclCommInitRank");
  binder.required(api.comm_abort, "ncclCommAbort");
  binder.required(api.comm_get_async_error, "ncclCommGetAsyncError");
  binder.required(api.get_error_string, "ncclGetErrorString");
  binder.optional(api.get_last_error, "ncclGetLastError");
  binder.required(api.group_start, "ncclGroupStart");
  binder.required(api.group_end, "ncclGroupEnd");
  binder.required(api.send, "ncclSend");
  binder.required(api.recv, "ncclRecv");
  binder.required(api.all_gather, "ncclAllGather");
  binder.required(api.broadcast, "ncclBroadcast");
  return made;
}

}  // namespace

const Library& library(const std::string& file) {
  static std::mutex mutex;
  // For good: a thread that NCCL keeps may outlive the program's end.
  static auto& bound = *new std::map<std::string, std::unique_ptr<Library>>;
  const std::lock_guard lock(mutex);
  std::unique_ptr<Library>& found = bound[file];
  if (!found) found = bind(file);
  return *found;
}

std::string version_text(int version) {
  const int all = comparable(version);
  return std::to_string(all / 10000) + '.' + std::to_string(all / 100 % 100) + '.' + std::to_string(all % 100);
}

}  // namespace onebit::nccl

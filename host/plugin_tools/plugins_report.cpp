// SPDX-License-Identifier: Apache-2.0
// The child's end of the pipe.
#include "plugin_tools/plugins_report.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace onebit::host {

Report::Report(int descriptor) : descriptor_(descriptor) {
  if (::fcntl(descriptor, F_SETFD, FD_CLOEXEC) != 0)
    throw Error(Code::invalid_argument, "--report-to " + std::to_string(descriptor) + ": expected an open pipe", errno);
  const rlimit none = {0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void Report::stage(const std::string& doing) {
  stage_ = doing;
  tell({{"stage", doing}});
}

void Report::stage(LoadStage stage) {
  switch (stage) {
    case LoadStage::check:
      return this->stage("the check of its file");
    case LoadStage::load:
      return this->stage("its static constructors");
    case LoadStage::entry:
      return this->stage("its entry");
    case LoadStage::tables:
      return this->stage("the check of its tables");
    case LoadStage::probe:
      return this->stage("its probe");
  }
}

void Report::end() {
  stage("its static destructors");
  tell({{"end", true}});
}

void Report::tell(const nlohmann::ordered_json& message) const {
  const std::string line = message.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  for (size_t done = 0; done < line.size();) {
    const ssize_t written = ::write(descriptor_, line.data() + done, line.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throw Error(Code::internal, "the pipe to the parent is gone", errno);
    done += static_cast<size_t>(written);
  }
}

}  // namespace onebit::host

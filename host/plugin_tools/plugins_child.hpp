// SPDX-License-Identifier: Apache-2.0
// A child process that tries a plugin, as its parent sees it: whatever the plugin does there, the parent hears how it ended,
// waits no longer than it was told, and leaves neither a zombie nor a process of the plugin's behind.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace onebit::host {

struct ChildEnd {
  std::string trouble;  // "crashed with SIGSEGV while its entry ran"; "" where all that it was told to do ended well
  std::string stage;    // that it came to last
  std::string said;     // the end of what it wrote to stdout and stderr, at most 16 KiB
};

// Runs `onebit plugins examine ARGUMENTS` with this very program. seconds: that one stage may take. hear: what the child tells
// besides its stages, as it comes.
ChildEnd run_child(const std::vector<std::string>& arguments, double seconds,
                   const std::function<void(const nlohmann::ordered_json&)>& hear);

// What a child said, as lines of a report for people; "" when it said nothing.
std::string quoted_lines(const std::string& said);

}  // namespace onebit::host

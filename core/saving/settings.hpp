// SPDX-License-Identifier: Apache-2.0
// A configuration's text, line by line: what differs between two of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace onebit {

struct SettingLine {
  std::string heading;  // "[optimizer]"
  std::string table;    // "optimizer"; of groups "optimizer.group 2"
  std::string key, value;
};
// Of Configuration::compared(). A long array or string goes on in the lines that follow.
std::vector<SettingLine> settings_of(const std::string& configuration);
// "" where there is none.
std::string value_in(const std::vector<SettingLine>& settings, std::string_view table, std::string_view key);
// "optimizer.lr: 0.001 when it was saved, 0.002 now". Not of session.overlap and exchange.ahead_bytes, which change no bit.
std::vector<std::string> changed_settings(const std::vector<SettingLine>& before, const std::vector<SettingLine>& now);

// The option that names this step, as far as one can tell from outside; else the step alone.
std::string freeze_told(const std::vector<SettingLine>& settings, int64_t step);

}  // namespace onebit

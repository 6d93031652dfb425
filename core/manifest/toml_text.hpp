// SPDX-License-Identifier: Apache-2.0
// The text of a manifest as it is handed to toml11, and the way back from there to where things were written. They differ where
// a table stands below an array of tables that is in it, such as [optimizer] below [[optimizer.group]]: TOML 1.0 allows that,
// toml11 3.7 takes it for a second table of the same name, and so it gets plain tables first.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "onebit/manifest.hpp"

namespace onebit {

class TomlText {
 public:
  // Throws as check_toml_bounds does.
  TomlText(std::string_view written, const std::string& name);
  TomlText(const TomlText&) = delete;
  TomlText& operator=(const TomlText&) = delete;

  const std::string& text() const { return text_; }
  const std::string& name() const { return name_; }
  // A line of text(), from 1, without its end; "" where there is none.
  std::string_view line(int64_t number) const;
  // Where line and column of text(), both from 1, were written.
  Location where(int64_t line, int64_t column) const;

 private:
  void order(std::string_view written, const std::vector<size_t>& headings);

  const std::string& name_;
  std::string text_;
  std::vector<size_t> starts_ = {0};  // of the lines of text_
  std::vector<int64_t> written_;      // by line of text_, its number as it was written; empty: the same
};

}  // namespace onebit

// SPDX-License-Identifier: Apache-2.0
// Data sets by name: what they are, and where they lie.
#include "data_sets/data_sets.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "data_sets/idx.hpp"
#include "data_sets/text.hpp"
#include "data_sets/words.hpp"
#include "onebit/error.hpp"

namespace onebit::host {
namespace {

DataSet fashion_mnist(const std::filesystem::path& folder, SampleKind) {
  FashionMnist images = read_fashion_mnist(folder);
  return image_data(std::move(images.train), std::move(images.test));
}

DataSet fortunes(const std::filesystem::path& folder, SampleKind kind) {
  const std::string text = read_fortunes(folder);
  return kind == SampleKind::words ? word_data(text, folder.string()) : text_data(text, folder.string());
}

DataSet fortunes_late(const std::filesystem::path& folder, SampleKind) {
  return late_text_data(read_fortunes(folder), folder.string());
}

struct Known {
  const char* name;
  std::vector<SampleKind> kinds;
  const char* folder;  // of Debian's package
  DataSet (*read)(const std::filesystem::path& folder, SampleKind kind);
};

const Known& known(const std::string& data) {
  static const Known all[] = {{"fashion_mnist", {SampleKind::images}, "/usr/share/datasets/fashion-mnist", fashion_mnist},
                              {"fortunes", {SampleKind::characters, SampleKind::words}, "/usr/share/games/fortunes", fortunes},
                              {"fortunes_late", {SampleKind::characters}, "/usr/share/games/fortunes", fortunes_late}};
  for (const Known& one : all)
    if (data == one.name) return one;
  throw Error(Code::invalid_argument, "unknown data set '" + data + "'; there are: fashion_mnist, fortunes, fortunes_late");
}

}  // namespace

bool has_samples(const std::string& data, SampleKind kind) {
  const std::vector<SampleKind>& kinds = known(data).kinds;
  return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

DataSet read_data(const std::string& data, SampleKind kind, const std::filesystem::path& folder) {
  const Known& one = known(data);
  return one.read(folder.empty() ? std::filesystem::path(one.folder) : folder, kind);
}

DataSet image_data(Images train, Images test) {
  return {std::make_unique<ImageSamples>(std::move(train)), std::make_unique<ImageSamples>(std::move(test))};
}

}  // namespace onebit::host

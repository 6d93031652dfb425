// SPDX-License-Identifier: Apache-2.0
// Data sets by name: what they are, and where they lie.
#include "data_sets/data_sets.hpp"

#include <utility>

#include "data_sets/idx.hpp"
#include "data_sets/text.hpp"
#include "onebit/error.hpp"

namespace onebit::host {
namespace {

DataSet fashion_mnist(const std::filesystem::path& folder) {
  FashionMnist images = read_fashion_mnist(folder);
  return image_data(std::move(images.train), std::move(images.test));
}

DataSet fortunes(const std::filesystem::path& folder) { return text_data(read_fortunes(folder), folder.string()); }

struct Known {
  const char* name;
  SampleKind kind;
  const char* folder;  // of Debian's package
  DataSet (*read)(const std::filesystem::path& folder);
};
constexpr Known kKnown[] = {{"fashion_mnist", SampleKind::images, "/usr/share/datasets/fashion-mnist", fashion_mnist},
                            {"fortunes", SampleKind::text, "/usr/share/games/fortunes", fortunes}};

const Known& known(const std::string& data) {
  for (const Known& one : kKnown)
    if (data == one.name) return one;
  throw Error(Code::invalid_argument, "unknown data set '" + data + "'; there are: fashion_mnist, fortunes");
}

}  // namespace

SampleKind kind_of_data(const std::string& data) { return known(data).kind; }

DataSet read_data(const std::string& data, const std::filesystem::path& folder) {
  const Known& one = known(data);
  return one.read(folder.empty() ? std::filesystem::path(one.folder) : folder);
}

DataSet image_data(Images train, Images test) {
  return {std::make_unique<ImageSamples>(std::move(train)), std::make_unique<ImageSamples>(std::move(test)), true};
}

}  // namespace onebit::host

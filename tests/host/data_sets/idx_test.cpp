// SPDX-License-Identifier: Apache-2.0
// IDX files: what is written is read, and what is absent, cut or wrong is said to be so.
#include "data_sets/idx.hpp"

#include <doctest/doctest.h>
#include <zlib.h>

#include <numeric>
#include <set>

#include "onebit/error.hpp"
#include "support/scratch_folder.hpp"

namespace {

using onebit::host::FashionMnist;
using onebit::host::read_fashion_mnist;

const char* const kInstalled = "/usr/share/datasets/fashion-mnist";

std::string big_endian(const std::vector<uint32_t>& values) {
  std::string bytes;
  for (const uint32_t v : values)
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(v >> shift));
  return bytes;
}

std::string packed(const ScratchFolder& folder, const std::string& bytes) {
  const std::string file = folder / "packed.gz";
  gzFile out = ::gzopen(file.c_str(), "wb");
  REQUIRE(::gzwrite(out, bytes.data(), static_cast<unsigned>(bytes.size())) == static_cast<int>(bytes.size()));
  REQUIRE(::gzclose(out) == Z_OK);
  return contents_of(file);
}

std::string images_of(uint32_t count) {
  return big_endian({0x00000803, count, 28, 28}) + std::string(static_cast<size_t>(count) * 28 * 28, '\x07');
}
std::string labels_of(uint32_t count, char label = 3) { return big_endian({0x00000801, count}) + std::string(count, label); }

// A whole data set of a few images, in which single files can then be spoilt.
struct Small {
  ScratchFolder folder;
  Small() {
    put("train-images-idx3-ubyte.gz", images_of(5));
    put("train-labels-idx1-ubyte.gz", labels_of(5));
    put("t10k-images-idx3-ubyte.gz", images_of(2));
    put("t10k-labels-idx1-ubyte.gz", labels_of(2));
  }
  void put(const char* name, const std::string& bytes) const { folder.file(name, packed(folder, bytes)); }
  std::string error() const {
    try {
      read_fashion_mnist(folder.path());
    } catch (const onebit::Error& e) {
      return e.what();
    }
    return "no error";
  }
};

#define CHECK_HAS(text, part) CHECK_MESSAGE((text).find(part) != std::string::npos, text)

}  // namespace

TEST_CASE("a data set is read") {
  const Small small;
  const FashionMnist data = read_fashion_mnist(small.folder.path());
  CHECK(data.train.count == 5);
  CHECK(data.test.count == 2);
  CHECK(data.train.rows == 28);
  CHECK(data.train.columns == 28);
  CHECK(data.train.pixels == std::vector<uint8_t>(5 * 28 * 28, 7));
  CHECK(data.test.labels == std::vector<uint8_t>(2, 3));
}

TEST_CASE("the installed Fashion-MNIST is read") {
  if (!std::filesystem::exists(kInstalled)) {
    MESSAGE("SKIPPED: Fashion-MNIST is not installed (apt-get install dataset-fashion-mnist)");
    return;
  }
  const FashionMnist data = read_fashion_mnist(kInstalled);
  CHECK(data.train.count == 60000);
  CHECK(data.test.count == 10000);
  CHECK(data.train.pixels.size() == 60000u * 28 * 28);
  CHECK(std::set<uint8_t>(data.test.labels.begin(), data.test.labels.end()).size() == 10);
  const double mean = std::accumulate(data.train.pixels.begin(), data.train.pixels.end(), 0.0) / (60000.0 * 28 * 28 * 255);
  CHECK(mean == doctest::Approx(0.2860).epsilon(0.001));  // the data set's published mean
}

TEST_CASE("an absent data set says how to install it") {
  const ScratchFolder folder;
  CHECK_THROWS_WITH_AS(read_fashion_mnist(folder / "nowhere"), doctest::Contains("apt-get install dataset-fashion-mnist"),
                       onebit::Error);
  const Small small;
  std::filesystem::remove(small.folder / "t10k-labels-idx1-ubyte.gz");
  CHECK_HAS(small.error(), "no " + (small.folder / "t10k-labels-idx1-ubyte.gz").string());
}

TEST_CASE("files that are not gzipped are read, too, and of both, the gzipped one") {
  const Small small;
  const FashionMnist expected = read_fashion_mnist(small.folder.path());
  for (const char* name : {"train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"})
    std::filesystem::remove(small.folder / (std::string(name) + ".gz"));
  small.folder.file("train-labels-idx1-ubyte", labels_of(5));
  small.folder.file("t10k-images-idx3-ubyte", images_of(2));
  small.folder.file("train-images-idx3-ubyte", "of no use");
  const FashionMnist found = read_fashion_mnist(small.folder.path());
  CHECK(found.train.labels == expected.train.labels);
  CHECK(found.train.pixels == expected.train.pixels);
  CHECK(found.test.pixels == expected.test.pixels);
  small.folder.file("t10k-images-idx3-ubyte", images_of(2).substr(0, 800));
  CHECK_HAS(small.error(), "t10k-images-idx3-ubyte: ends within its data (784 of 1568 bytes); the file is truncated");
  std::filesystem::remove(small.folder / "t10k-images-idx3-ubyte");
  CHECK_HAS(small.error(), "no " + (small.folder / "t10k-images-idx3-ubyte.gz").string() +
                               " and no t10k-images-idx3-ubyte beside it; install it with `apt-get install");
}

TEST_CASE("every cut of a compressed file is found") {
  const Small small;
  const std::string name = "train-labels-idx1-ubyte.gz";
  const std::string whole = contents_of(small.folder / name);
  for (size_t size = 0; size < whole.size(); ++size) {
    small.folder.file(name, whole.substr(0, size));
    CHECK_HAS(small.error(), name + ": ");
  }
}

TEST_CASE("a damaged compressed file is found") {
  const Small small;
  std::string bytes = contents_of(small.folder / "train-images-idx3-ubyte.gz");
  bytes[bytes.size() - 6] ^= 1;  // in the check sum
  small.folder.file("train-images-idx3-ubyte.gz", bytes);
  CHECK_HAS(small.error(), "cannot be unpacked: ");
}

TEST_CASE("headers that do not fit") {
  const Small small;
  small.put("train-images-idx3-ubyte.gz", labels_of(5));
  CHECK_HAS(small.error(), "expected it to begin with 0 0 8 3, found 0 0 8 1");
  small.put("train-images-idx3-ubyte.gz", images_of(5).substr(0, 3000));
  CHECK_HAS(small.error(), "ends within its data (2984 of 3920 bytes); the file is truncated");
  small.put("train-images-idx3-ubyte.gz", images_of(5).substr(0, 9));
  CHECK_HAS(small.error(), "ends within its header");
  small.put("train-images-idx3-ubyte.gz", images_of(5) + "x");
  CHECK_HAS(small.error(), "has more data than its header says");
  small.put("train-images-idx3-ubyte.gz", big_endian({0x00000803, 0xffffffff, 0xffffffff, 0xffffffff}));
  CHECK_HAS(small.error(), "promises more than 1 GiB");
  small.put("train-images-idx3-ubyte.gz", big_endian({0x00000803, 5, 2, 2}) + std::string(20, 'x'));
  CHECK_HAS(small.error(), "images of 2 x 2, expected 28 x 28");
}

TEST_CASE("labels that do not fit") {
  const Small small;
  small.put("train-labels-idx1-ubyte.gz", labels_of(4));
  CHECK_HAS(small.error(), "has 4 labels for the 5 images");
  small.put("train-labels-idx1-ubyte.gz", labels_of(5, 10));
  CHECK_HAS(small.error(), "label 10, expected 0 to 9");
}

// SPDX-License-Identifier: Apache-2.0
// Reading IDX: zlib checks what is compressed, this checks what it says.
#include "data_sets/idx.hpp"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "onebit/error.hpp"

namespace onebit::host {
namespace {

constexpr int64_t kMostBytes = int64_t{1} << 30;  // a header that promises more is wrong, or not for this reader
constexpr uint8_t kUnsignedByte = 8;              // IDX's type code

class GzipFile {
 public:
  explicit GzipFile(const std::filesystem::path& file) : file_(file), handle_(::gzopen(file.c_str(), "rbe"), &::gzclose) {
    if (handle_ == nullptr)
      throw Error(Code::unavailable, file.string() + ": cannot be opened: " + std::strerror(errno), errno);
  }
  [[noreturn]] void fail(const std::string& what) const { throw Error(Code::invalid_argument, file_.string() + ": " + what); }

  // The bytes read, fewer only at the end of the file.
  size_t read_some(uint8_t* out, size_t bytes) {
    size_t done = 0;
    while (done < bytes) {
      const auto piece = static_cast<unsigned>(std::min<size_t>(bytes - done, 1u << 24));
      const int got = ::gzread(handle_.get(), out + done, piece);
      if (got < 0) fail_gzip();
      if (got == 0) {
        check_end();
        break;
      }
      done += static_cast<size_t>(got);
    }
    return done;
  }
  void read(uint8_t* out, size_t bytes, const char* what) {
    const size_t got = read_some(out, bytes);
    if (got == bytes) return;
    fail(std::string("ends within its ") + what + " (" + std::to_string(got) + " of " + std::to_string(bytes) +
         " bytes); the file is truncated");
  }
  bool at_end() {
    uint8_t more = 0;
    return read_some(&more, 1) == 0;
  }

 private:
  // A file cut within its check sum has all its data, and only here says that something is missing.
  void check_end() {
    int code = Z_OK;
    ::gzerror(handle_.get(), &code);
    if (code != Z_OK) fail_gzip();
  }
  [[noreturn]] void fail_gzip() {
    int code = Z_OK;
    const char* text = ::gzerror(handle_.get(), &code);
    fail(std::string("cannot be unpacked: ") + (code == Z_ERRNO ? std::strerror(errno) : text) + "; the file is damaged");
  }

  const std::filesystem::path& file_;
  std::unique_ptr<gzFile_s, decltype(&::gzclose)> handle_;
};

std::vector<int64_t> read_shape(GzipFile& file, int dimensions) {
  uint8_t magic[4];
  file.read(magic, sizeof magic, "header");
  if (magic[0] != 0 || magic[1] != 0 || magic[2] != kUnsignedByte || magic[3] != dimensions)
    file.fail("is not an IDX file of unsigned bytes with " + std::to_string(dimensions) +
              " dimension(s): expected it to begin with 0 0 8 " + std::to_string(dimensions) + ", found " +
              std::to_string(magic[0]) + " " + std::to_string(magic[1]) + " " + std::to_string(magic[2]) + " " +
              std::to_string(magic[3]));
  std::vector<int64_t> shape;
  for (int i = 0; i < dimensions; ++i) {
    uint8_t big[4];
    file.read(big, sizeof big, "header");
    shape.push_back(int64_t{big[0]} << 24 | int64_t{big[1]} << 16 | int64_t{big[2]} << 8 | int64_t{big[3]});
  }
  return shape;
}

int64_t elements_of(const GzipFile& file, const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  for (const int64_t dim : shape)
    if (__builtin_mul_overflow(elements, dim, &elements) || elements > kMostBytes)
      file.fail("promises more than 1 GiB of data; the file is damaged");
  return elements;
}

// The file as it is published, gzipped, or unpacked, as some loaders leave it; zlib reads either.
std::filesystem::path packed_or_not(const std::filesystem::path& unpacked) {
  std::filesystem::path packed = unpacked;
  packed += ".gz";
  for (const auto& file : {packed, unpacked})
    if (std::filesystem::exists(file)) return file;
  throw Error(Code::unavailable,
              "Fashion-MNIST is not there: no " + packed.string() + " and no " + unpacked.filename().string() +
                  " beside it; install it with `apt-get install dataset-fashion-mnist`, or set train.data_folder to "
                  "the folder that has its four files");
}

Images read_images(const std::filesystem::path& folder, const std::string& part) {
  const auto images_file = packed_or_not(folder / (part + "-images-idx3-ubyte"));
  const auto labels_file = packed_or_not(folder / (part + "-labels-idx1-ubyte"));
  IdxArray pixels = read_idx(images_file, 3);
  IdxArray labels = read_idx(labels_file, 1);
  Images images{pixels.shape[0], pixels.shape[1], pixels.shape[2], 10, std::move(pixels.data), std::move(labels.data)};
  if (labels.shape[0] != images.count)
    throw Error(Code::invalid_argument, labels_file.string() + ": has " + std::to_string(labels.shape[0]) + " labels for the " +
                                            std::to_string(images.count) + " images of " + images_file.filename().string());
  const auto wrong = std::find_if(images.labels.begin(), images.labels.end(), [&](uint8_t l) { return l >= images.classes; });
  if (wrong != images.labels.end())
    throw Error(Code::invalid_argument, labels_file.string() + ": label " + std::to_string(*wrong) + ", expected 0 to 9");
  if (images.rows != 28 || images.columns != 28)
    throw Error(Code::invalid_argument, images_file.string() + ": images of " + std::to_string(images.rows) + " x " +
                                            std::to_string(images.columns) + ", expected 28 x 28");
  return images;
}

}  // namespace

IdxArray read_idx(const std::filesystem::path& path, int dimensions) {
  GzipFile file(path);
  IdxArray array;
  array.shape = read_shape(file, dimensions);
  array.data.resize(static_cast<size_t>(elements_of(file, array.shape)));
  file.read(array.data.data(), array.data.size(), "data");
  if (!file.at_end()) file.fail("has more data than its header says");
  return array;
}

FashionMnist read_fashion_mnist(const std::filesystem::path& folder) {
  return {read_images(folder, "train"), read_images(folder, "t10k")};
}

}  // namespace onebit::host

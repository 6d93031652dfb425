// SPDX-License-Identifier: Apache-2.0
// Reading safetensors: the header is checked as a whole, so that whatever passes can be read without another thought.
#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>

#include "files/dtypes.hpp"
#include "files/file_reader.hpp"
#include "onebit/error.hpp"
#include "onebit/safetensors.hpp"

namespace onebit {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian, and data is copied as it is");
using json = nlohmann::json;
using Entry = SafetensorsReader::Entry;

constexpr uint64_t kMaximumHeader = 100'000'000;  // the reference implementation's limit
constexpr int kDeepest = 3;                       // the header, a tensor, its shape

// Of two bytes.
float from_bf16(uint16_t half) { return std::bit_cast<float>(static_cast<uint32_t>(half) << 16U); }
float from_fp16(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000U) << 16U, magnitude = half & 0x7fffU;
  if (magnitude < 0x400U) {  // subnormal: counted in 2^-24
    const float value = static_cast<float>(magnitude) * 0x1p-24F;
    return sign != 0 ? -value : value;
  }
  const uint32_t rebias = magnitude < 0x7c00U ? (127U - 15U) << 23U : (255U - 31U) << 23U;
  return std::bit_cast<float>(sign | ((magnitude << 13U) + rebias));
}

// A name from the file, quoted and escaped, and short enough for an error.
std::string in_quotes(std::string_view name) {
  constexpr size_t kLongest = 120;
  const std::string text = json(name).dump(-1, ' ', true, json::error_handler_t::replace);
  return text.size() <= kLongest ? text : text.substr(0, kLongest) + "...\"";
}

// What every check needs to say where it failed.
struct Reading {
  const std::filesystem::path& file;

  [[noreturn]] void fail(const std::string& what, Code code = Code::invalid_argument) const {
    throw Error(code, file.string() + ": " + what);
  }
  [[noreturn]] void fail_tensor(std::string_view name, const std::string& what) const {
    fail("tensor " + in_quotes(name) + ": " + what);
  }
};

std::string read_header(const Reading& reading, const FileReader& file) {
  uint64_t size = 0;
  if (file.bytes() < sizeof size)
    reading.fail("has " + std::to_string(file.bytes()) + " bytes; a safetensors file begins with 8 bytes of header length");
  file.read(&size, sizeof size, 0);
  if (size > kMaximumHeader)
    reading.fail("header length " + std::to_string(size) + " is above the format's limit of " + std::to_string(kMaximumHeader) +
                 " bytes; is this a safetensors file?");
  if (size > file.bytes() - sizeof size)
    reading.fail("header length " + std::to_string(size) + " goes beyond the end of the file (" + std::to_string(file.bytes()) +
                 " bytes); the file is truncated or not in the safetensors format");
  std::string text(size, '\0');
  file.read(text.data(), size, sizeof size);
  return text;
}

// The parser keeps the last of two equal keys without a word, and would follow any depth; this refuses both.
json parse_header(const Reading& reading, const std::string& text) {
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > kDeepest) reading.fail("header is nested deeper than the format allows");
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(parsed.get_ref<const std::string&>()).second)
      reading.fail("header has the key " + in_quotes(parsed.get_ref<const std::string&>()) + " twice");
    return true;
  };
  json header;
  try {
    header = json::parse(text, watch);
  } catch (const json::exception& e) {
    reading.fail(std::string("header is not JSON: ") + e.what());
  }
  if (!header.is_object()) reading.fail(std::string("header is a JSON ") + header.type_name() + ", expected an object");
  return header;
}

TensorMetadata parse_metadata(const Reading& reading, const json& header) {
  TensorMetadata metadata;
  const auto found = header.find("__metadata__");
  if (found == header.end()) return metadata;
  if (!found->is_object()) reading.fail("__metadata__ is not an object");
  for (const auto& [key, value] : found->items()) {
    if (!value.is_string()) reading.fail("__metadata__ " + in_quotes(key) + " is not a string");
    metadata.emplace(key, value.get<std::string>());
  }
  return metadata;
}

const json& member(const Reading& reading, const std::string& name, const json& tensor, const char* key) {
  const auto found = tensor.find(key);
  if (found == tensor.end()) reading.fail_tensor(name, std::string("has no ") + key);
  return *found;
}

std::vector<uint64_t> whole_numbers(const Reading& reading, const std::string& name, const json& tensor, const char* key) {
  const json& array = member(reading, name, tensor, key);
  const auto whole = [](const json& number) { return number.is_number_unsigned(); };
  if (!array.is_array() || !std::all_of(array.begin(), array.end(), whole))
    reading.fail_tensor(name, std::string(key) + " is not an array of whole numbers from 0");
  return array.get<std::vector<uint64_t>>();
}

const std::string& parse_dtype(const Reading& reading, const std::string& name, const json& tensor) {
  const json& dtype = member(reading, name, tensor, "dtype");
  if (!dtype.is_string()) reading.fail_tensor(name, "dtype is not a string");
  return dtype.get_ref<const std::string&>();
}

// dims multiplied, or nothing when that or a dimension does not fit in an int64_t.
std::optional<uint64_t> elements_of(const std::vector<uint64_t>& dims) {
  constexpr auto kMost = static_cast<uint64_t>(INT64_MAX);
  uint64_t product = 1;
  for (const uint64_t dim : dims) {
    if (dim > kMost || __builtin_mul_overflow(product, dim, &product)) return std::nullopt;
  }
  return product <= kMost ? std::optional(product) : std::nullopt;
}

// Answers how many elements there are, having found that they make these bytes, where the dtype tells.
uint64_t check_size(const Reading& reading, const std::string& name, const json& tensor, const std::vector<uint64_t>& shape,
                    std::string_view dtype, uint64_t found) {
  // A file may have dtypes of later versions: their sizes can't be checked, and nobody needs to read them.
  const std::optional<uint64_t> known = bits_of(dtype);
  const std::optional<uint64_t> elements = elements_of(shape);
  uint64_t bits = 0;
  if (!elements || __builtin_mul_overflow(*elements, known.value_or(1), &bits))
    reading.fail_tensor(name, "shape " + tensor["shape"].dump().substr(0, 200) + " has more elements than can be counted");
  if (!known) return *elements;
  if (bits % 8 != 0) reading.fail_tensor(name, "shape and dtype make " + std::to_string(bits) + " bits, not whole bytes");
  if (bits / 8 != found)
    reading.fail_tensor(name,
                        "shape and dtype make " + std::to_string(bits / 8) + " bytes, data_offsets " + std::to_string(found));
  return *elements;
}

Entry parse_tensor(const Reading& reading, const std::string& name, const json& tensor, uint64_t data_begin,
                   uint64_t data_size) {
  if (!tensor.is_object()) reading.fail_tensor(name, "is not described by an object");
  const std::string& dtype = parse_dtype(reading, name, tensor);
  const std::vector<uint64_t> shape = whole_numbers(reading, name, tensor, "shape");
  const std::vector<uint64_t> range = whole_numbers(reading, name, tensor, "data_offsets");
  if (range.size() != 2 || range[0] > range[1]) reading.fail_tensor(name, "data_offsets are not [begin, end]");
  if (range[1] > data_size)
    reading.fail_tensor(name, "data ends at byte " + std::to_string(range[1]) + ", but the file has " +
                                  std::to_string(data_size) + " bytes of data; the file is truncated or its header is wrong");
  const uint64_t bytes = range[1] - range[0], elements = check_size(reading, name, tensor, shape, dtype, bytes);
  return {name, dtype, {shape.begin(), shape.end()}, elements, data_begin + range[0], bytes};
}

// Data must cover the file exactly: bytes of two tensors or of none are a lie, or somebody's hidden message.
void check_cover(const Reading& reading, const std::vector<Entry>& sorted, uint64_t data_begin, uint64_t file_size) {
  uint64_t end = data_begin;
  for (const Entry& entry : sorted) {
    if (entry.offset < end) reading.fail_tensor(entry.name, "its data overlaps that of another tensor");
    if (entry.offset > end)
      reading.fail_tensor(entry.name,
                          "there are " + std::to_string(entry.offset - end) + " bytes of no tensor before its data");
    end = entry.offset + entry.bytes;
  }
  if (end != file_size) reading.fail("has " + std::to_string(file_size - end) + " bytes after the last tensor");
}

}  // namespace

SafetensorsReader::SafetensorsReader(const std::filesystem::path& file) : reader_(std::make_unique<FileReader>(file)) {
  const Reading reading{file};
  const uint64_t file_size = reader_->bytes();
  const std::string text = read_header(reading, *reader_);
  const json header = parse_header(reading, text);
  const uint64_t data_begin = sizeof(uint64_t) + text.size();
  metadata_ = parse_metadata(reading, header);
  for (const auto& [name, tensor] : header.items())
    if (name != "__metadata__") entries_.push_back(parse_tensor(reading, name, tensor, data_begin, file_size - data_begin));
  const auto place = [](const Entry& e) { return std::tie(e.offset, e.bytes, e.name); };
  std::sort(entries_.begin(), entries_.end(), [&](const Entry& a, const Entry& b) { return place(a) < place(b); });
  check_cover(reading, entries_, data_begin, file_size);
  for (size_t i = 0; i < entries_.size(); ++i) by_name_.emplace(entries_[i].name, i);
}

SafetensorsReader::~SafetensorsReader() = default;

const Entry* SafetensorsReader::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &entries_[found->second];
}

const Entry& SafetensorsReader::at(std::string_view name) const {
  const Entry* entry = find(name);
  if (entry == nullptr) Reading{reader_->file()}.fail("has no tensor " + in_quotes(name));
  return *entry;
}

bool SafetensorsReader::reads(std::string_view dtype) { return dtype == "F32" || dtype == "BF16" || dtype == "F16"; }

void SafetensorsReader::require_readable(const Entry& entry) const {
  if (!reads(entry.dtype))
    Reading{reader_->file()}.fail("tensor " + in_quotes(entry.name) + " has dtype " + in_quotes(entry.dtype) +
                                      ", only F32, BF16 and F16 can be read; convert it first",
                                  Code::unsupported);
}

void SafetensorsReader::read(const Entry& entry, float* out) const {
  require_readable(entry);
  if (entry.dtype == "F32") return reader_->read(out, entry.bytes, entry.offset);
  const auto convert = entry.dtype == "BF16" ? from_bf16 : from_fp16;
  uint16_t piece[4096];
  for (uint64_t done = 0; done < entry.elements;) {
    const uint64_t count = std::min<uint64_t>(std::size(piece), entry.elements - done);
    reader_->read(piece, count * sizeof(uint16_t), entry.offset + done * sizeof(uint16_t));
    out = std::transform(piece, piece + count, out, convert);
    done += count;
  }
}

void SafetensorsReader::read_bytes(const Entry& entry, uint64_t begin, uint64_t bytes, void* out) const {
  if (begin > entry.bytes || bytes > entry.bytes - begin)
    throw Error(Code::internal, reader_->file().string() + ": tensor " + in_quotes(entry.name) + " has " +
                                    std::to_string(entry.bytes) + " bytes, asked for were " + std::to_string(bytes) +
                                    " from byte " + std::to_string(begin));
  reader_->read(out, bytes, entry.offset + begin);
}

std::vector<float> SafetensorsReader::read(std::string_view name) const {
  const Entry& entry = at(name);
  require_readable(entry);  // before memory is taken for it
  std::vector<float> values(entry.elements);
  read(entry, values.data());
  return values;
}

}  // namespace onebit

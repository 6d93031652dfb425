// SPDX-License-Identifier: Apache-2.0
// Encoded payloads of any bytes, as a stranger's rank might send them, decoded by the built-in compressor through the plugin
// boundary and by the codecs of dense rounds; then any values encoded. Buffers have exactly their size, so that the sanitizer
// sees one byte beyond.
#include <cstring>
#include <memory>

#include "dtypes/dense_codec.hpp"
#include "onebit/registry.hpp"

namespace {

using namespace onebit;

std::unique_ptr<Compressor> make(const std::string& scale) {
  static Registry& registry = *new Registry;
  static const bool loaded = (registry.load(Registry::default_folder() / "onebit_plugin_onebit.so"), true);
  (void)loaded;
  const Manifest manifest = Manifest::parse("[compressor]\nplugin = \"onebit\"\nscale = \"" + scale + "\"\n", "fuzz", "/");
  const ComponentInfo& component = registry.find(Kind::compressor, "onebit");
  return registry.make_compressor(component, ResolvedTable(manifest, "compressor", component.options, true));
}

const std::vector<std::unique_ptr<Compressor>>& codecs() {
  static const auto& all = *[] {
    auto* made = new std::vector<std::unique_ptr<Compressor>>;
    for (const char* scale : {"block", "tensor", "bucket"}) made->push_back(make(scale));
    for (const WireType type : {WireType::fp32, WireType::fp16, WireType::bf16})
      made->push_back(std::make_unique<DenseCodec>(type));
    return made;
  }();
  return all;
}

// Takes the input apart, with zeros after its end.
class Input {
 public:
  Input(const uint8_t* bytes, size_t size) : at_(bytes), left_(size) {}
  void take(void* to, size_t size) {
    const size_t some = std::min(size, left_);
    if (some > 0) std::memcpy(to, at_, some);
    std::memset(static_cast<char*>(to) + some, 0, size - some);
    at_ += some;
    left_ -= some;
  }
  template <class T>
  T number() {
    T value;
    take(&value, sizeof value);
    return value;
  }

 private:
  const uint8_t* at_;
  size_t left_;
};

std::vector<Piece> pieces_of(const Compressor& codec, Input& in) {
  std::vector<Piece> pieces(1 + in.number<uint8_t>() % 3);
  int64_t first = 0, payload = 0, index = 0;
  for (Piece& piece : pieces) {
    piece = {first, 1 + in.number<uint16_t>() % codec.describe().block, payload, index++, in.number<uint8_t>()};
    first += piece.count;
    payload += static_cast<int64_t>(codec.payload_size(piece.count));
  }
  return pieces;
}

void check(const Compressor& codec, Input& in) {
  const std::vector<Piece> pieces = pieces_of(codec, in);
  Batch batch{};
  batch.struct_size = sizeof batch;
  batch.piece_count = pieces.size();
  batch.pieces = pieces.data();
  const Piece& last = pieces.back();
  const auto count = static_cast<size_t>(last.first + last.count);
  const size_t bytes = static_cast<size_t>(last.payload) + codec.payload_size(last.count);
  const auto weight = in.number<float>();
  const std::unique_ptr<std::byte[]> payload(new std::byte[bytes]);
  in.take(payload.get(), bytes);
  const std::unique_ptr<float[]> once(new float[count]), twice(new float[count]), errors(new float[count]());
  codec.decode(batch, payload.get(), weight, false, once.get());
  codec.decode(batch, payload.get(), weight, false, twice.get());
  if (std::memcmp(once.get(), twice.get(), count * sizeof(float)) != 0) __builtin_trap();
  codec.decode(batch, payload.get(), weight, true, twice.get());

  // What was decoded, NaN and infinities with it, is as good as any to encode.
  const std::unique_ptr<double[]> statistics(new double[8 * pieces.size()]());
  codec.measure(batch, once.get(), errors.get(), statistics.get());
  codec.encode(batch, once.get(), errors.get(), errors.get(), statistics.get(), payload.get());
  codec.decode(batch, payload.get(), weight, false, twice.get());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input in(bytes, size);
  check(*codecs()[in.number<uint8_t>() % codecs().size()], in);
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// Written against the bare tables, in C++, without what keeps exceptions in: throws from WHERE, which no host should have to
// bear.
#include <stdexcept>

#include "onebit/plugin.hpp"

namespace {

struct OwnType {};

class Quiet final : public onebit::BlockCompressor {
 public:
  static onebit::Slice<const onebit_schema> options() { return {nullptr, 0}; }
  Quiet(const onebit::Services&, const onebit::Options&) {}
  onebit::Codec describe() const override { return {sizeof(onebit::Codec), 32, 0, ONEBIT_SPAN_BLOCK, 0}; }
  size_t payload_size(int64_t count) const override { return static_cast<size_t>(count) * 4; }
  void measure_block(const float*, const float*, int64_t, double*) const override {}
  void encode_block(const float*, const float*, float*, int64_t, const double*, std::byte*) const override {}
  void decode_block(const std::byte*, int64_t, float, bool, float*) const override {}
};

enum Place { ENTRY_EXCEPTION, ENTRY_INT, PROBE, SHUTDOWN, CREATE, PAYLOAD, ENCODE, DESTROY };
constexpr Place where = WHERE;

void (*sound_destroy)(onebit_compressor*) = nullptr;

onebit_compressor_api changed(onebit_compressor_api api) {
  if (where == CREATE)
    api.create = [](const onebit_host*, const onebit_config*, onebit_compressor**, onebit_error*) -> onebit_code {
      throw std::runtime_error("thrown on purpose");
    };
  if (where == PAYLOAD) api.payload_size = [](onebit_compressor*, int64_t) -> size_t { throw OwnType(); };
  if (where == ENCODE)
    api.encode = [](onebit_compressor*, const onebit_batch*, const float*, const float*, float*, const double*, void*,
                    onebit_error*) -> onebit_code { throw 3; };
  sound_destroy = api.destroy;
  if (where == DESTROY)
    api.destroy = [](onebit_compressor* self) {
      sound_destroy(self);
      throw std::runtime_error("thrown on purpose");
    };
  return api;
}

}  // namespace

extern "C" ONEBIT_EXPORT const onebit_plugin* onebit_plugin_entry_v1(const onebit_host*, onebit_error*) {
  if (where == ENTRY_EXCEPTION) throw std::runtime_error("thrown on purpose");
  if (where == ENTRY_INT) throw 3;
  static const onebit::PluginTables sound("crossing", "1.0.0", {onebit::component<Quiet>("crossing")});
  static onebit_plugin table = *sound.get();
  static onebit_component component = *table.components[0];
  static const onebit_compressor_api api = changed(*static_cast<const onebit_compressor_api*>(component.api));
  static const onebit_component* const components[] = {&component};
  component.api = &api;
  table.components = components;
  if (where == PROBE) table.probe = [](onebit_error*) -> onebit_code { throw OwnType(); };
  if (where == SHUTDOWN) table.shutdown = [] { throw std::runtime_error("thrown on purpose"); };
  return &table;
}

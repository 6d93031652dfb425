// SPDX-License-Identifier: Apache-2.0
// From C++ classes to the tables of abi.h. A plugin ends with one line:
//
//   ONEBIT_PLUGIN("my_plugin", "1.0.0", onebit::component<MyOptimizer>("my_optimizer"))
//
// where MyOptimizer derives from Optimizer, Compressor or Communicator, has a constructor (const Services&, const Options&) -
// communicators: (const Services&, const Options&, const Rendezvous&) - and `static Slice<const onebit_schema> options()`.
#pragma once

#include <initializer_list>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "onebit/abi.h"
#include "onebit/communicator.hpp"
#include "onebit/compressor.hpp"
#include "onebit/error.hpp"
#include "onebit/optimizer.hpp"
#include "onebit/options.hpp"
#include "onebit/services.hpp"
#if defined(ONEBIT_FOR_CUDA)
#include "onebit/cuda.hpp"
#endif

namespace onebit {
namespace detail {

// The plugin's side of an opaque handle: the object, and what outlives a single call.
struct OptimizerHandle {
  std::unique_ptr<Optimizer> object;
  Plan plan;
  onebit_round rounds[2];
  const onebit_round* round_pointers[2];
};

template <class Object, class Handle>
Object& object(Handle* handle) {
  return *reinterpret_cast<Object*>(handle);
}
inline OptimizerHandle& handle(onebit_optimizer* self) { return *reinterpret_cast<OptimizerHandle*>(self); }

inline void publish(OptimizerHandle& self, onebit_plan* out) {
  size_t i = 0;
  for (const Plan::Round& round : self.plan.rounds()) {
    self.rounds[i] = {sizeof(onebit_round), static_cast<int32_t>(round.kind), static_cast<int32_t>(round.of), round.retain};
    self.round_pointers[i] = &self.rounds[i];
    ++i;
  }
  out->rounds = self.round_pointers;
  out->round_count = i;
  out->release = self.plan.releases().data;
  out->release_count = self.plan.releases().size;
  out->reset_error = self.plan.reset_error;
  out->apply = self.plan.apply;
  out->previous_in_consume = self.plan.previous_in_consume;
  out->mean_in_apply = self.plan.mean_in_apply;
  if (ONEBIT_HAS(out, onebit_plan, flags)) out->flags = self.plan.freezes ? uint64_t{ONEBIT_PLAN_FREEZES} : 0;
  if (!ONEBIT_HAS(out, onebit_plan, acquire_count)) return;
  out->acquire = self.plan.acquires().data;
  out->acquire_count = self.plan.acquires().size;
}

template <class T>
const onebit_optimizer_api* optimizer_api() {
  static const onebit_optimizer_api api = {
      sizeof(onebit_optimizer_api),
      [](const onebit_host* host, const onebit_config* cfg, onebit_optimizer** out, onebit_error* err) noexcept {
        return guard(err, [&] {
          auto made = std::make_unique<OptimizerHandle>();
          made->object = std::make_unique<T>(Services(host), Options(cfg));
          *out = reinterpret_cast<onebit_optimizer*>(made.release());
        });
      },
      [](onebit_optimizer* self) noexcept { delete &handle(self); },
      [](onebit_optimizer* self, const onebit_tensor_info* const* tensors, size_t count, const onebit_state* state,
         onebit_error* err) noexcept {
        return guard(err, [&] {
          StateDeclarer declarer(state);
          handle(self).object->declare({tensors, count}, declarer);
        });
      },
      [](onebit_optimizer* self, const onebit_step* step, const onebit_totals* totals, onebit_plan* out,
         onebit_error* err) noexcept {
        return guard(err, [&] {
          OptimizerHandle& h = handle(self);
          h.plan.clear();
          h.object->plan(*step, *totals, h.plan);
          publish(h, out);
        });
      },
      [](onebit_optimizer* self, const onebit_step* step, int32_t round, const onebit_tile* tile, onebit_error* err) noexcept {
        return guard(err, [&] { handle(self).object->produce(*step, round, *tile); });
      },
      [](onebit_optimizer* self, const onebit_step* step, int32_t round, const onebit_tile* tile, onebit_error* err) noexcept {
        return guard(err, [&] { handle(self).object->consume(*step, round, *tile); });
      },
      [](onebit_optimizer* self, const onebit_step* step, const onebit_totals* totals, onebit_error* err) noexcept {
        return guard(err, [&] { handle(self).object->combine(*step, *totals); });
      },
      [](onebit_optimizer* self, const onebit_step* step, const onebit_tile* tile, onebit_error* err) noexcept {
        return guard(err, [&] { handle(self).object->apply(*step, *tile); });
      }};
  return &api;
}

template <class T>
const onebit_compressor_api* compressor_api() {
  static const onebit_compressor_api api = {
      sizeof(onebit_compressor_api),
      [](const onebit_host* host, const onebit_config* cfg, onebit_compressor** out, onebit_error* err) noexcept {
        return guard(err, [&] {
          std::unique_ptr<Compressor> made = std::make_unique<T>(Services(host), Options(cfg));
          *out = reinterpret_cast<onebit_compressor*>(made.release());
        });
      },
      [](onebit_compressor* self) noexcept { delete &object<Compressor>(self); },
      [](onebit_compressor* self, onebit_codec* out, onebit_error* err) noexcept {
        return guard(err, [&] {
          const Codec codec = object<Compressor>(self).describe();
          out->block = codec.block;
          out->statistics = codec.statistics;
          out->span = codec.span;
          out->feedback = codec.feedback;
        });
      },
      [](onebit_compressor* self, int64_t count) noexcept {
        size_t bytes = 0;  // where it throws
        (void)guard(nullptr, [&] { bytes = object<Compressor>(self).payload_size(count); });
        return bytes;
      },
      [](onebit_compressor* self, const onebit_batch* batch, const float* values, const float* errors, double* statistics,
         onebit_error* err) noexcept {
        return guard(err, [&] { object<Compressor>(self).measure(*batch, values, errors, statistics); });
      },
      [](onebit_compressor* self, const onebit_folding* folding, const double* blocks, double* out,
         onebit_error* err) noexcept { return guard(err, [&] { object<Compressor>(self).fold(*folding, blocks, out); }); },
      [](onebit_compressor* self, const onebit_batch* batch, const float* values, const float* errors, float* new_errors,
         const double* statistics, void* payload, onebit_error* err) noexcept {
        return guard(err, [&] { object<Compressor>(self).encode(*batch, values, errors, new_errors, statistics, payload); });
      },
      [](onebit_compressor* self, const onebit_batch* batch, const void* payload, float weight, int32_t add, float* out,
         onebit_error* err) noexcept {
        return guard(err, [&] { object<Compressor>(self).decode(*batch, payload, weight, add != 0, out); });
      }};
  return &api;
}

inline Call as_call(const onebit_call* call) {
  Call made(call->tag, call->timeout_ns);
  made.stream = call->stream;
  return made;
}
inline Communicator& communicator(onebit_communicator* self) { return object<Communicator>(self); }
inline Request* request(onebit_request* handle) { return reinterpret_cast<Request*>(handle); }
inline onebit_communicator* release(std::unique_ptr<Communicator> made) {
  return reinterpret_cast<onebit_communicator*>(made.release());
}
// Starts a collective: f answers the Request that goes out as an opaque handle.
template <class F>
onebit_code start(onebit_request** req, onebit_error* err, F&& f) noexcept {
  return guard(err, [&] { *req = reinterpret_cast<onebit_request*>(static_cast<Request*>(f())); });
}

template <class T>
const onebit_communicator_api* communicator_api() {
  static const onebit_communicator_api api = {
      sizeof(onebit_communicator_api),
      [](const onebit_host* host, const onebit_config* cfg, const onebit_rendezvous* rv, onebit_communicator** out,
         onebit_error* err) noexcept {
        return guard(err, [&] { *out = release(std::make_unique<T>(Services(host), Options(cfg), Rendezvous(rv))); });
      },
      [](onebit_communicator* self) noexcept { delete &communicator(self); },
      [](onebit_communicator* self, int32_t* rank, int32_t* size, onebit_error* err) noexcept {
        return guard(err, [&] {
          *rank = communicator(self).rank();
          *size = communicator(self).size();
        });
      },
      [](onebit_communicator* self, const onebit_tensor* in, onebit_tensor* out, int32_t op, const onebit_call* call,
         onebit_request** req, onebit_error* err) noexcept {
        return start(req, err,
                     [&] { return communicator(self).all_reduce(*in, *out, static_cast<ReduceOp>(op), as_call(call)); });
      },
      [](onebit_communicator* self, const void* in, void* out, const onebit_part* out_parts, const onebit_call* call,
         onebit_request** req, onebit_error* err) noexcept {
        return start(req, err, [&] { return communicator(self).all_gather(in, out, out_parts, as_call(call)); });
      },
      [](onebit_communicator* self, const void* in, const onebit_part* in_parts, void* out, const onebit_part* out_parts,
         const onebit_call* call, onebit_request** req, onebit_error* err) noexcept {
        return start(req, err, [&] { return communicator(self).all_to_all(in, in_parts, out, out_parts, as_call(call)); });
      },
      [](onebit_communicator* self, onebit_tensor* io, int32_t root, const onebit_call* call, onebit_request** req,
         onebit_error* err) noexcept {
        return start(req, err, [&] { return communicator(self).broadcast(*io, root, as_call(call)); });
      },
      [](onebit_communicator* self, const onebit_call* call, onebit_error* err) noexcept {
        return guard(err, [&] { communicator(self).barrier(as_call(call)); });
      },
      [](onebit_communicator* self, onebit_request* req, int32_t* done, onebit_error* err) noexcept {
        return guard(err, [&] { *done = communicator(self).test(request(req)); });
      },
      [](onebit_communicator* self, onebit_request* req, int64_t timeout_ns, onebit_error* err) noexcept {
        return guard(err, [&] { communicator(self).wait(request(req), timeout_ns); });
      },
      [](onebit_communicator* self, int32_t color, int32_t key, onebit_communicator** out, onebit_error* err) noexcept {
        return guard(err, [&] { *out = release(communicator(self).split(color, key)); });
      },
      [](onebit_communicator* self, onebit_str reason, onebit_error* err) noexcept {
        return guard(err, [&] { communicator(self).abort(view(reason)); });
      },
      [](onebit_communicator* self, uint64_t* out, onebit_error* err) noexcept {
        return guard(err, [&] { *out = communicator(self).machine(); });
      }};
  return &api;
}

}  // namespace detail

template <class T, class = void>
struct CapabilitiesOf : std::integral_constant<uint64_t, 0> {};
template <class T>
struct CapabilitiesOf<T, std::void_t<decltype(T::capabilities)>> : std::integral_constant<uint64_t, T::capabilities> {};

// Whether what T needs is there: T::probe() throws Error(Code::unavailable) with the reason where it is not. What is built for
// CUDA needs a device.
using Probe = onebit_code (*)(onebit_error* err);
namespace detail {
#if defined(ONEBIT_FOR_CUDA)
inline onebit_code probe_cuda(onebit_error* err) noexcept {
  return guard(err, [] { cuda::probe(); });
}
constexpr int64_t built_for = ONEBIT_DEVICE_CUDA;
constexpr Probe default_probe = &probe_cuda;
#else
constexpr int64_t built_for = ONEBIT_DEVICE_CPU;
constexpr Probe default_probe = nullptr;
#endif
}  // namespace detail
template <class T, class = void>
struct ProbeOf {
  static constexpr Probe value = detail::default_probe;
};
template <class T>
struct ProbeOf<T, std::void_t<decltype(T::probe())>> {
  static onebit_code call(onebit_error* err) noexcept {
    return detail::guard(err, [] { T::probe(); });
  }
  static constexpr Probe value = &call;
};

// Describes class T as a component. Its kind follows from its base class, its capabilities from a constant of that name.
struct Component {
  onebit_component table;
  Slice<const onebit_schema> options;
  Probe probe;  // the library's is the first that its components have
};
template <class T>
Component component(const char* name, int64_t device = detail::built_for) {
  const Slice<const onebit_schema> options = T::options();
  Component made = {{sizeof(onebit_component), 0, name, device, CapabilitiesOf<T>::value, nullptr, options.size, nullptr},
                    options,
                    ProbeOf<T>::value};
  if constexpr (std::is_base_of_v<Optimizer, T>) {
    made.table.kind = ONEBIT_KIND_OPTIMIZER;
    made.table.api = detail::optimizer_api<T>();
  } else if constexpr (std::is_base_of_v<Compressor, T>) {
    made.table.kind = ONEBIT_KIND_COMPRESSOR;
    made.table.api = detail::compressor_api<T>();
  } else {
    static_assert(std::is_base_of_v<Communicator, T>, "T is an Optimizer, a Compressor or a Communicator");
    made.table.kind = ONEBIT_KIND_COMMUNICATOR;
    made.table.api = detail::communicator_api<T>();
  }
  return made;
}

// The tables of one library, built at its entry and kept for its life.
class PluginTables {
 public:
  PluginTables(const char* name, const char* version, std::initializer_list<Component> components) : components_(components) {
    size_t options = 0;
    for (const Component& c : components_) options += c.options.size;
    option_pointers_.reserve(options);
    for (Component& c : components_) {
      c.table.options = option_pointers_.data() + option_pointers_.size();
      for (const onebit_schema& schema : c.options) option_pointers_.push_back(&schema);
      component_pointers_.push_back(&c.table);
    }
    plugin_ = {sizeof(onebit_plugin),      ONEBIT_ABI_MINOR,           name,    version, toolchain(),
               component_pointers_.data(), component_pointers_.size(), nullptr, nullptr};
    for (const Component& c : components_)
      if (plugin_.probe == nullptr) plugin_.probe = c.probe;
  }
  PluginTables(const PluginTables&) = delete;
  PluginTables& operator=(const PluginTables&) = delete;
  const onebit_plugin* get() const { return &plugin_; }

 private:
  static const char* toolchain() {
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#else
    return "unknown";
#endif
  }
  std::vector<Component> components_;
  std::vector<const onebit_schema*> option_pointers_;
  std::vector<const onebit_component*> component_pointers_;
  onebit_plugin plugin_{};
};

}  // namespace onebit

#define ONEBIT_PLUGIN(name, version, ...)                                                                       \
  extern "C" ONEBIT_EXPORT const onebit_plugin* onebit_plugin_entry_v1(const onebit_host*, onebit_error* err) { \
    const onebit_plugin* plugin = nullptr;                                                                      \
    (void)::onebit::detail::guard(err, [&] {                                                                    \
      static const ::onebit::PluginTables tables(name, version, {__VA_ARGS__});                                 \
      plugin = tables.get();                                                                                    \
    });                                                                                                         \
    return plugin;                                                                                              \
  }

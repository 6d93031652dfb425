// SPDX-License-Identifier: Apache-2.0
// The components under test, as a host gets them: from the plugins beside the core, through its registry.
#pragma once

#include <memory>
#include <string>

#include "device/device.hpp"
#include "onebit/configuration.hpp"
#include "onebit/registry.hpp"

namespace onebit::gpu_bench {

inline constexpr const char* optimizers[] = {"adam", "lamb", "onebit_adam", "onebit_lamb", "zeroone_adam"};

const Registry& registry();
std::unique_ptr<Device> make_device();
// The compressor `onebit` with its default options.
std::unique_ptr<Compressor> make_onebit();
double payload_per_element();  // of its payload, in bytes
// The communicator `mirror`, as rank 0 of 2.
std::unique_ptr<Communicator> make_mirror();
// An optimizer from the lines of its table.
std::unique_ptr<Optimizer> make_optimizer(const std::string& name, const std::string& options);
// Of a session on the device, over `mirror`. tables: more of the manifest.
Configuration configuration_of(const std::string& optimizer, const std::string& options, const std::string& tables = "",
                               const std::string& mirror = "");

// The table [exchange].
std::string exchange_of(int64_t bucket_bytes);

// Of rank 0 of 2, which meets nobody.
onebit_rendezvous nowhere();

}  // namespace onebit::gpu_bench

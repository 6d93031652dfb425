/* SPDX-License-Identifier: Apache-2.0 */
/* A library that exports a plugin's entry and does nothing: small, for a fuzzer to bend. */
#define EXPORT __attribute__((visibility("default")))

EXPORT const void* onebit_plugin_entry_v1(const void* host, void* error);
const void* onebit_plugin_entry_v1(const void* host, void* error) {
  (void)host, (void)error;
  return 0;
}

EXPORT const void* onebit_plugin_entry_v2(const void* host, void* error);
const void* onebit_plugin_entry_v2(const void* host, void* error) { return onebit_plugin_entry_v1(host, error); }

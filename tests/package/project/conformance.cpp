// SPDX-License-Identifier: Apache-2.0
// What the plugin's author tests it with.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <onebit/conformance/doctest.hpp>

ONEBIT_OPTIMIZER_CONFORMANCE(PLUGIN_FILE)

// What the contract asks of every compressor, as tests; `build/conformance --list-test-cases` names them. Add your own here:
// what your codec loses, only you know.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <onebit/conformance/doctest.hpp>

ONEBIT_CONFORMANCE(PLUGIN_FILE)

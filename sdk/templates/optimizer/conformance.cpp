// What the contract asks of every optimizer, as tests; `build/conformance --list-test-cases` names them. Add your own here:
// what your arithmetic is, only you know.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <onebit/conformance/doctest.hpp>

ONEBIT_CONFORMANCE(PLUGIN_FILE)

// One rank of the communicator conformance on `mpi`: run it under mpirun. Arguments: the cases to run; none: all.
// Exit status: 0 when this rank found what it expects in every case.
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>

#include "communicator_conformance.hpp"
#include "mpi_rank.hpp"

namespace {

using onebit::conformance::Rank;

struct Case {
  const char* name;
  void (*run)(Rank&);
};

#define ONEBIT_CASE(name) Case{#name, onebit::conformance::name},
const Case cases[] = {ONEBIT_COMMUNICATOR_CASES(ONEBIT_CASE)};
#undef ONEBIT_CASE

bool chosen(const Case& one, int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (std::strcmp(argv[i], one.name) == 0) return true;
  return argc == 1;
}

bool run(const Case& one, Rank& self) {
  try {
    one.run(self);
    self->barrier(onebit::Call());
    return true;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: rank %d of %d: %s\n", one.name, self->rank(), self->size(), e.what());
    return false;
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    onebit::Registry registry;
    Rank self = onebit::test::mpi_communicator(registry);
    int count = 0;
    for (const Case& one : cases) {
      if (!chosen(one, argc, argv)) continue;
      if (!run(one, self)) return 1;  // the ranks are out of step now
      ++count;
    }
    if (self->rank() == 0) std::printf("%d cases on %d ranks\n", count, self->size());
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}

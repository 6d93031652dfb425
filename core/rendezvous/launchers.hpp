// SPDX-License-Identifier: Apache-2.0
// Launchers as witnesses: what each tells a process of its rank, in variables of its own. One table, for the rendezvous here
// and for the host's command (host/launch). Several may speak at once, for they start each other, and a shell keeps what its
// own launcher said.
#pragma once

#include <array>
#include <string>
#include <vector>

namespace onebit {

// Names of variables; NULL: this launcher has none. Of two names the first that is set counts.
struct Launcher {
  const char *by, *rank, *size;
  std::array<const char*, 2> local_rank, local_size;  // among the processes of this machine
  bool mpi;                                           // what it starts finds its kind through MPI
};

struct Witness {
  const Launcher* launcher = nullptr;
  int rank = 0;
  int size = 0;                         // 0: it does not say
  int local_rank = -1, local_size = 0;  // -1, 0: it does not say
  std::string said() const;             // "OMPI_COMM_WORLD_RANK=1, OMPI_COMM_WORLD_SIZE=4"
  // It certainly started others besides this process.
  bool of_many() const { return size > 1 || rank > 0; }
};

// Those that speak, the innermost first. One whose words make no sense throws Error(invalid_argument) with the variable's name
// or, where `strict` is false, is passed over.
std::vector<Witness> witnesses(bool strict = true);

// The one to believe of these: torchrun where its agent started this process; else who started many before who started it
// alone, and then the innermost. NULL: none.
const Witness* strongest(const std::vector<Witness>& all, bool only_mpi = false);

// Throws Error(invalid_argument) where RANK and WORLD_SIZE contradict another launcher: both tell of many, and neither can have
// started the other.
void require_agreement(const std::vector<Witness>& all);
// What else does not fit together, in one sentence: it may be as it should, but nobody can tell from here. "": nothing.
std::string doubt(const std::vector<Witness>& all);

// Where rank `rank` of `size` is among those of its machine, by whoever knows it as such; -1, 0 where nobody tells.
struct LocalPlace {
  int rank = -1, size = 0;
};
LocalPlace local_place(const std::vector<Witness>& all, int rank, int size);

}  // namespace onebit

// SPDX-License-Identifier: Apache-2.0
// Reading what torchrun and its kin put into the environment, and believing none of it unseen.
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "onebit/error.hpp"
#include "onebit/rendezvous.hpp"
#include "rendezvous/store_protocol.hpp"

namespace onebit {
namespace {

constexpr int kMostPorts = 65535;
constexpr int kNeighbours = 8;

[[noreturn]] void refuse_variable(const std::string& text) { throw Error(Code::invalid_argument, text); }

// "": not set; a launcher's variable that is empty says as little.
std::string_view text_of(const char* variable) {
  const char* text = std::getenv(variable);
  return text == nullptr ? "" : text;
}
bool is_set(const char* variable) { return !text_of(variable).empty(); }

int number_in(const char* variable, int least, int most) {
  const std::string_view text = text_of(variable);
  int value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed == std::errc() && end == text.data() + text.size() && value >= least && value <= most) return value;
  refuse_variable(std::string(variable) + " is '" + std::string(text) + "': expected a number from " + std::to_string(least) +
                  " to " + std::to_string(most));
}

void require(const char* variable, const char* because, const char* what) {
  if (!is_set(variable))
    refuse_variable(std::string(variable) + " is not set, but " + because + " is: a launcher such as torchrun sets both; set " +
                    variable + " to " + what + ", or unset " + because);
}

int rank_in(const char* variable, int size, const char* size_variable) {
  const int rank = number_in(variable, 0, store::kMostRanks - 1);
  if (rank >= size)
    refuse_variable(std::string(variable) + " is " + std::to_string(rank) + ", but " + size_variable + " is " +
                    std::to_string(size) + ": ranks are counted from 0 to " + std::to_string(size - 1));
  return rank;
}

// Where nobody told them, ranks count on as if all were on one machine: those of each still differ, and devices are dealt out
// in turn.
void read_local(LaunchedRank& self) {
  self.local_rank = self.rank;
  self.local_size = self.size;
  if (!is_set("LOCAL_RANK") && !is_set("LOCAL_WORLD_SIZE")) return;
  require("LOCAL_RANK", "LOCAL_WORLD_SIZE", "this rank's number among those of its machine");
  require("LOCAL_WORLD_SIZE", "LOCAL_RANK", "the number of ranks on this machine");
  self.local_size = number_in("LOCAL_WORLD_SIZE", 1, self.size);
  self.local_rank = rank_in("LOCAL_RANK", self.local_size, "LOCAL_WORLD_SIZE");
}

// torchrun takes any free port, and the sockets of its own workers may have those beside it: one neighbour would not be enough.
void read_port(LaunchedRank& self) {
  const bool chosen = is_set("ONEBIT_PORT");
  self.port = static_cast<uint16_t>(number_in(chosen ? "ONEBIT_PORT" : "MASTER_PORT", 1, kMostPorts));
  if (chosen || text_of("TORCHELASTIC_USE_AGENT_STORE") != "True") return;
  const int after = kMostPorts - self.port;
  if (after == 0)
    refuse_variable(
        "MASTER_PORT is 65535, where torchrun's own store is, and there is no port after it: set ONEBIT_PORT to one that is "
        "free on rank 0's machine, the same on all ranks");
  self.job += ':' + std::to_string(self.port);  // no other job has that store, but some may be named alike and have ours nearby
  ++self.port;
  self.ports = static_cast<uint16_t>(std::min(after, kNeighbours));
}

void read_place(LaunchedRank& self) {
  if (self.size == 1) return;  // it meets nobody: any port will do
  require("MASTER_ADDR", "WORLD_SIZE", "the name or address of rank 0's machine");
  if (!is_set("ONEBIT_PORT")) require("MASTER_PORT", "MASTER_ADDR", "a port that is free on rank 0's machine");
  self.host = text_of("MASTER_ADDR");
  if (self.host.find_first_of(" \t\r\n/") != std::string::npos)
    refuse_variable("MASTER_ADDR is '" + self.host + "': expected the name or address of rank 0's machine, and nothing else");
  read_port(self);
}

}  // namespace

std::optional<LaunchedRank> launched_rank_from_environment() {
  if (!is_set("RANK") && !is_set("WORLD_SIZE")) return std::nullopt;
  require("RANK", "WORLD_SIZE", "this process's number, from 0");
  require("WORLD_SIZE", "RANK", "the number of processes");
  LaunchedRank self;
  self.size = number_in("WORLD_SIZE", 1, store::kMostRanks);
  self.rank = rank_in("RANK", self.size, "WORLD_SIZE");
  self.job = text_of("TORCHELASTIC_RUN_ID");
  read_local(self);
  read_place(self);
  return self;
}

}  // namespace onebit

// SPDX-License-Identifier: Apache-2.0
#include "exchange/machines.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace onebit {
namespace {

std::string list(const std::vector<int>& ranks) {
  std::string text;
  for (const int rank : ranks) text += (text.empty() ? "" : ", ") + std::to_string(rank);
  return text;
}

std::vector<std::vector<int>> ranks_by_machine(const std::vector<uint64_t>& machine_of_rank) {
  std::vector<std::vector<int>> machines;
  for (size_t rank = 0; rank < machine_of_rank.size(); ++rank) {
    const auto known = std::find_if(machines.begin(), machines.end(), [&](const std::vector<int>& ranks) {
      return machine_of_rank[static_cast<size_t>(ranks[0])] == machine_of_rank[rank];
    });
    (known != machines.end() ? *known : machines.emplace_back()).push_back(static_cast<int>(rank));
  }
  return machines;
}

void require_even(const std::vector<std::vector<int>>& machines) {
  const auto even = [&](const std::vector<int>& ranks) { return ranks.size() == machines[0].size(); };
  if (std::all_of(machines.begin(), machines.end(), even)) return;
  std::string found;
  for (size_t m = 0; m < machines.size(); ++m)
    found += (m == 0 ? "machine " : "; machine ") + std::to_string(m) + " has " + std::to_string(machines[m].size()) +
             (machines[m].size() == 1 ? " (rank " : " (ranks ") + list(machines[m]) + ")";
  throw Error(Code::invalid_argument, "exchange.topology = \"hierarchical\" wants equally many ranks on every machine, but " +
                                          found + ": start as many on each, or set exchange.topology = \"flat\"");
}

std::vector<uint64_t> gather_machines(MeteredCommunicator& all, Communicator& host) {
  const auto ranks = static_cast<size_t>(all.size());
  std::vector<uint64_t> machines(ranks);
  std::vector<onebit_part> parts;
  for (size_t rank = 0; rank < ranks; ++rank)
    parts.push_back({static_cast<int64_t>(rank * sizeof(uint64_t)), static_cast<int64_t>(sizeof(uint64_t))});
  const uint64_t own = all.machine();
  all.enter(Stage::agreement);
  host.wait(host.all_gather(&own, machines.data(), parts.data(), Call()), -1);
  all.enter(Stage::other);
  return machines;
}

Place place_of(int rank, const std::vector<std::vector<int>>& machines) {
  Place place;
  place.machines = static_cast<int>(machines.size());
  place.locals = static_cast<int>(machines[0].size());
  for (size_t m = 0; m < machines.size(); ++m) {
    const auto found = std::find(machines[m].begin(), machines[m].end(), rank);
    if (found == machines[m].end()) continue;
    place.machine = static_cast<int>(m);
    place.local = static_cast<int>(found - machines[m].begin());
  }
  return place;
}

}  // namespace

LayoutOptions laid_out_for(const Place& place) {
  LayoutOptions options;
  options.rank = place.local * place.machines + place.machine;
  options.ranks = place.machines * place.locals;
  options.locals = place.alone() ? 1 : place.locals;  // on the only machine, rounds run among its ranks as they do in flat
  return options;
}

Machines::Machines(MeteredCommunicator& all, Communicator& host, bool hierarchical) : all_(all) {
  place_.machine = all.rank();
  place_.machines = all.size();
  if (!hierarchical || all.size() == 1) return;
  const std::vector<std::vector<int>> machines = ranks_by_machine(gather_machines(all, host));
  require_even(machines);
  place_ = place_of(all.rank(), machines);
  if (place_.locals == 1) return;  // every rank has a machine of its own: flat
  std::vector<int> peers;
  for (const std::vector<int>& ranks : machines) peers.push_back(ranks[static_cast<size_t>(place_.local)]);
  const std::vector<int>& own = machines[static_cast<size_t>(place_.machine)];
  inside_ = std::make_unique<MeteredCommunicator>(all, place_.machine, place_.local, list(own));
  if (!place_.alone()) between_ = std::make_unique<MeteredCommunicator>(all, place_.local, place_.machine, list(peers));
}

void Machines::close() {
  if (between_) between_->close();
  if (inside_) inside_->close();
}

}  // namespace onebit

// SPDX-License-Identifier: Apache-2.0
#include "table.hpp"

#include <fmt/core.h>

#include <ostream>
#include <string>

#include "row.hpp"

namespace onebit::bench {
namespace {

using Run = benchmark::BenchmarkReporter::Run;

double value(const Run& run, const char* name) {
  const auto found = run.counters.find(name);
  return found == run.counters.end() ? 0 : found->second.value;
}

std::string count(double elements) { return fmt::format("{:.0f}M", elements / static_cast<double>(mega)); }

void print_bandwidth(std::ostream& out, const Run& run) {
  const double goal = value(run, counter::goal), ratio = value(run, counter::ratio);
  const std::string verdict = goal == 0 ? "" : fmt::format(">= {:.2f} {}", goal, ratio >= goal ? "yes" : "NO");
  out << fmt::format("{:<38}{:>9}{:>8.1f}{:>12.3f}{:>9.2f}{:>10.3f}  {:<12} {}\n", run.run_name.function_name,
                     count(value(run, counter::elements)), value(run, counter::bytes), value(run, counter::nanoseconds),
                     value(run, counter::gigabytes), ratio, verdict, run.report_label);
}

void print_overhead(std::ostream& out, const Run& run) {
  const double goal = value(run, counter::goal), cost = value(run, counter::nanoseconds);
  out << fmt::format("{:<38}{:>9}{:>8}{:>12.3f}{:>9}{:>10}  {:<12} {}\n", run.run_name.function_name,
                     count(value(run, counter::elements)), "", cost, "", "",
                     fmt::format("< {:.0f} ns {}", goal, cost < goal ? "yes" : "NO"), run.report_label);
}

void print_loading(std::ostream& out, const Run& run) {
  const double goal = value(run, counter::goal), cost = value(run, counter::milliseconds);
  out << fmt::format("{:<38}{:>9.0f}{:>41}{} {:.1f} ms, {:.2f} times what dlopen alone takes\n", run.run_name.function_name,
                     value(run, counter::libraries), "", fmt::format("< {:.0f} ms {:<4}", goal, cost < goal ? "yes" : "NO"),
                     cost, value(run, counter::of_dlopen));
}

void print_checkpoint(std::ostream& out, const Run& run) {
  const bool least = run.counters.count(counter::at_least) != 0;
  const double goal = value(run, least ? counter::at_least : counter::at_most), found = value(run, counter::found);
  const bool met = least ? found >= goal : found <= goal;
  out << fmt::format("{:<38}{:>9}{:>8.1f}{:>12.3f}{:>9.2f}{:>10}  {:<12} {:.4g} {}\n", run.run_name.function_name,
                     fmt::format("{:.1f}e6", value(run, counter::elements) / 1e6), value(run, counter::bytes),
                     value(run, counter::nanoseconds), value(run, counter::gigabytes), "",
                     fmt::format("{} {:g} {}", least ? ">=" : "<=", goal, met ? "yes" : "NO"), found, run.report_label);
}

}  // namespace

bool Table::ReportContext(const Context& context) {
  GetOutputStream() << fmt::format("{} processors, {:.0f} MHz; medians, each sample between two runs of its yardstick\n\n",
                                   context.cpu_info.num_cpus, context.cpu_info.cycles_per_second / 1e6)
                    << fmt::format("{:<38}{:>9}{:>8}{:>12}{:>9}{:>10}  {:<12} {}\n", "what", "elements", "B/elem.",
                                   "ns/element", "GB/s", "of triad", "goal", "bytes that must move");
  return true;
}

void Table::ReportRuns(const std::vector<Run>& runs) {
  for (const Run& run : runs) {
    if (run.error_occurred)
      GetErrorStream() << run.run_name.function_name << ": " << run.error_message << '\n';
    else if (run.counters.count(counter::ratio) != 0)
      print_bandwidth(GetOutputStream(), run);
    else if (run.counters.count(counter::of_dlopen) != 0)
      print_loading(GetOutputStream(), run);
    else if (run.counters.count(counter::found) != 0)
      print_checkpoint(GetOutputStream(), run);
    else
      print_overhead(GetOutputStream(), run);
  }
  GetOutputStream().flush();
}

}  // namespace onebit::bench

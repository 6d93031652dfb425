// SPDX-License-Identifier: Apache-2.0
#include "saving/agreed.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <new>
#include <string_view>

namespace onebit {
namespace {

// "+TEXT", or "-CODE NATIVE TEXT".
std::string outcome_of(const std::function<std::string()>& work) {
  const auto failed = [](Code code, int native, const char* what) {
    return "-" + std::to_string(static_cast<onebit_code>(code)) + " " + std::to_string(native) + " " + what;
  };
  try {
    return "+" + work();
  } catch (const Error& e) {
    return failed(e.code(), e.native(), e.what());
  } catch (const std::bad_alloc&) {
    return failed(Code::out_of_memory, 0, "out of memory");
  } catch (const std::exception& e) {
    return failed(Code::internal, 0, e.what());
  }
}

std::vector<std::string> gather(Communicator& communicator, const std::string& own) {
  const auto ranks = static_cast<size_t>(communicator.size());
  if (ranks == 1) return {own};
  std::vector<int64_t> sizes(ranks);
  std::vector<onebit_part> parts;
  for (size_t rank = 0; rank < ranks; ++rank) parts.push_back({static_cast<int64_t>(rank * sizeof(int64_t)), 8});
  const auto bytes = static_cast<int64_t>(own.size());
  communicator.wait(communicator.all_gather(&bytes, sizes.data(), parts.data(), Call()), -1);
  int64_t total = 0;
  for (size_t rank = 0; rank < ranks; total += sizes[rank++]) parts[rank] = {total, sizes[rank]};
  std::string all(static_cast<size_t>(total), '\0');
  communicator.wait(communicator.all_gather(own.data(), all.data(), parts.data(), Call()), -1);
  std::vector<std::string> texts;
  for (const onebit_part& part : parts)
    texts.push_back(all.substr(static_cast<size_t>(part.offset), static_cast<size_t>(part.bytes)));
  return texts;
}

// Of "-CODE NATIVE TEXT". rank: "" or what goes before the text.
Error failure_of(std::string_view outcome, const std::string& rank, std::string& reason) {
  onebit_code code = 0;
  int native = 0;
  const char* const end = outcome.data() + outcome.size();
  const char* const after_code = std::from_chars(outcome.data() + 1, end, code).ptr;
  const char* const after = std::from_chars(after_code + 1, end, native).ptr;
  reason.assign(after + 1, end);
  return {code_of(code), rank + reason, native};
}

}  // namespace

Told tell_all(Communicator& communicator, const std::function<std::string()>& work) {
  Told told;
  const std::vector<std::string> outcomes = gather(communicator, outcome_of(work));
  const bool alike = std::count(outcomes.begin(), outcomes.end(), outcomes.front()) == static_cast<int64_t>(outcomes.size());
  for (size_t rank = 0; rank < outcomes.size(); ++rank) {
    if (outcomes[rank].front() == '-' && !told.error)
      told.error = failure_of(outcomes[rank], alike ? "" : "rank " + std::to_string(rank) + ": ", told.reason);
    told.texts.push_back(outcomes[rank].substr(1));
  }
  return told;
}

}  // namespace onebit

// SPDX-License-Identifier: Apache-2.0
// Who writes which bytes of a file that all ranks have, and how what they wrote becomes one record.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/record.hpp"

namespace onebit {

struct ByteRange {
  uint64_t begin, end;
};

// A rank's part of a file: the ranks' parts follow one another. They begin at multiples of a power of two, at most 1 MiB and a
// sixteenth of an even part, so that none is above 1.1 times that. It is at least 4 KiB, a page, for two hosts that write one
// page of a network file system can lose what the other wrote; so parts below 64 KiB may differ by more, which is at most a
// page.
ByteRange share_of(uint64_t bytes, uint64_t rank, uint64_t ranks);

// What one rank wrote, as text for the rank that commits.
std::string files_text(const std::vector<RecordedFile>& files);
// Of all ranks' texts: each file once, with all its pieces. Throws Error(internal) when a byte of one was written by nobody or
// by two, or ranks do not agree on its size.
std::vector<RecordedFile> join_files(const std::vector<std::string>& texts);

}  // namespace onebit

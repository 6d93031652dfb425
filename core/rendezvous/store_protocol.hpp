// SPDX-License-Identifier: Apache-2.0
// What ranks and rank 0's store say to each other over TCP. Integers are little-endian.
//
//   A connection carries one request and its answer; the one of a join then stays open, idle, until its rank leaves.
//   request  Prefix, Head, key, value     the same first 16 bytes in every version of the protocol
//   answer   Reply, bytes                 code ONEBIT_OK and the value of a get, or another code and its text
//   join     rank `rank` of `size` is there, as `visitor`, a number by chance. kTaken: another visitor is that rank; kGone:
//            another was, and has gone, and a store for others is not yet open. In both cases it may come again
//   put      key has this value from now on
//   get      waits for the key up to timeout_ns, 0 without limit; answered TIMEOUT with who is missing
//   Refused in words: another version, job (code kElsewhere), number of ranks; sizes beyond the limits below. Who does not
//   begin with the magic bytes, or has not sent its request within kPatience, is cut off without a word.
#pragma once

#include <array>
#include <boost/endian/arithmetic.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "onebit/abi.h"

namespace onebit::store {

using boost::endian::little_int64_t;
using boost::endian::little_uint32_t;
using boost::endian::little_uint64_t;

using Magic = std::array<char, 8>;
constexpr Magic kMagic = {'o', 'n', 'e', 'b', 'i', 't', '\r', '\n'};
constexpr uint32_t kVersion = 1;

enum class Verb : uint32_t { join = 1, put = 2, get = 3 };

struct Prefix {
  Magic magic = kMagic;
  little_uint32_t version{kVersion};
  little_uint32_t verb{0};
};
struct Head {
  little_uint32_t rank{0}, size{0};
  little_uint64_t job{0}, visitor{0};
  little_int64_t timeout_ns{0};
  little_uint32_t key_bytes{0}, value_bytes{0};
};
struct Request {
  Prefix prefix;
  Head head;
};
struct Reply {
  Magic magic = kMagic;
  little_uint32_t version{kVersion};
  little_uint32_t code{0};
  little_uint32_t bytes{0};
};
static_assert(sizeof(Prefix) == 16 && sizeof(Request) == 56 && sizeof(Reply) == 20, "no padding on the wire");

// Codes of a reply besides ONEBIT_'s. kElsewhere: this is not the store that the caller looks for.
constexpr uint32_t kElsewhere = ONEBIT_INTERNAL + 1, kTaken = kElsewhere + 1, kGone = kTaken + 1;
constexpr uint32_t kMostKey = 4096;
constexpr uint32_t kMostValue = 16 << 20;
constexpr size_t kMostStored = 64 << 20;                     // all values together
constexpr auto kPatience = std::chrono::seconds(30);         // with who is slow to send or to take what it asked for
constexpr auto kLongestWait = std::chrono::hours(24 * 365);  // of a get without limit: no clock overflows
constexpr int kMostRanks = 65536;

}  // namespace onebit::store

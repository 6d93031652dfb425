// SPDX-License-Identifier: Apache-2.0
// A mean that was kept as payloads, read by a session whose blocks or codec are other ones: decoded once, and kept as fp32
// until the next.
#pragma once

#include <filesystem>

#include "onebit/safetensors.hpp"
#include "saving/description.hpp"
#include "saving/parts.hpp"

namespace onebit {

class RetainedForm {
 public:
  // Throws Error(invalid_argument) where the codec as it was can't be made any more, or payloads are not its.
  RetainedForm(const SessionParts& parts, const RunFacts& facts, const SavedSession& saved, const SafetensorsReader& state);
  void restore() const;

 private:
  bool same_blocks() const;
  void check_sizes() const;
  void copy_payloads() const;
  void copy_floats() const;
  void decode() const;
  void decode_tensor(size_t tensor, const Compressor* codec, float* out) const;

  const SessionParts& parts_;
  const SavedSession& saved_;
  const SafetensorsReader& state_;
  std::unique_ptr<Compressor> old_codec_;  // where its options are other ones
  std::unique_ptr<Layout> old_;            // NULL: nothing was kept, or as fp32
  bool same_codec_ = true;
};

}  // namespace onebit

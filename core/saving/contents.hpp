// SPDX-License-Identifier: Apache-2.0
// Which tensors the files of a checkpoint have, and where a session has them: the same lists serve to save and to load.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "exchange/layout.hpp"
#include "onebit/optimizer.hpp"
#include "saving/parts.hpp"
#include "saving/stored.hpp"

namespace onebit {

// model.safetensors: the parameters that all ranks share.
std::vector<Stored> model_contents(const SessionParts& parts);
// What is there of a slot: "elements:SLOT/NAME", of a released one the elements of exempt tensors; "tensors:SLOT";
// "model:SLOT". Sums of blocks are made anew in every step, and an anchor is in the model's file.
std::vector<Stored> slot_contents(const SessionParts& parts, size_t slot);
// The mean that is kept, "retained/NAME": payloads as they came, block after block, or fp32 where another session kept them.
std::vector<Stored> retained_contents(const SessionParts& parts);
// What is still to be added to a mean: "carried/NAME".
std::vector<Stored> carried_contents(const SessionParts& parts);
// "parameter/NAME", where ranks have parameters of their own.
std::vector<Stored> own_parameter_contents(const SessionParts& parts);
// "worker_error/NAME@FIRST" and "server_error/NAME@FIRST": elements of a tensor from FIRST on.
std::vector<Stored> error_contents(const SessionParts& parts);

// Elements of a tensor that this rank has an error of, and their place among its errors.
struct ErrorPiece {
  size_t tensor;
  int64_t first, count, position;
};
std::vector<ErrorPiece> worker_pieces(const Layout& layout);
std::vector<ErrorPiece> served_pieces(const Layout& layout);

// Of a block in a mean that is kept.
int64_t payload_bytes(const Layout& layout, RoundKind kind, const onebit_block& block);

inline constexpr const char *kWorkerError = "worker_error/", *kServerError = "server_error/", *kBlob = "blob/",
                            *kBlobOfAll = "blob_of_all/", *kRetained = "retained/", *kCarried = "carried/",
                            *kOwnParameter = "parameter/";

}  // namespace onebit

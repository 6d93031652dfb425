// SPDX-License-Identifier: Apache-2.0
// Which tensors a step was handed, against those that the session was made with: position by position the same name, shape,
// type, order in memory and device. Only where a tensor is may have changed.
#pragma once

#include <cstddef>
#include <vector>

#include "onebit/session.hpp"

namespace onebit {

// As users know it: fp32, fp16 or bf16.
const char* type_text(const Parameter& parameter);

// Throws Error(invalid_argument) by name for a parameter that is not on the session's device.
void require_device(const Parameter& parameter, const onebit_device& device);

// Answers, in `moved`, the tensors whose memory is another now. Throws Error(invalid_argument) that names what is not the same,
// and says what to do. device: the session's.
void compare_tensors(const std::vector<Parameter>& own, const ModelGradients& handed, const onebit_device& device,
                     std::vector<size_t>& moved);

}  // namespace onebit

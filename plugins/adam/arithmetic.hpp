// AdamW, one element: decoupled weight decay, then the step (Loshchilov and Hutter, arXiv 1711.05101; as torch.optim.AdamW).
#pragma once

#include "onebit/adam.hpp"

namespace onebit {

// keep = 1 - learning rate * weight decay.
ONEBIT_HOST_DEVICE float adamw_parameter(float parameter, float direction, float learning_rate, float keep) {
  return parameter * keep - learning_rate * direction;
}

}  // namespace onebit

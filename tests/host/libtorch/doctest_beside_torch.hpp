// SPDX-License-Identifier: Apache-2.0
// libtorch and doctest both have a macro CHECK: libtorch's, which would end the program, goes.
#pragma once

#include <torch/torch.h>
#undef CHECK
#include <doctest/doctest.h>

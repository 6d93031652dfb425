// SPDX-License-Identifier: Apache-2.0
// CUDA as the device of a staged communicator.
#pragma once

#include <memory>

#include "device.hpp"

namespace onebit::mpi {

// Throws Error(unavailable) where there is no driver or no device, with CUDA's own words.
void probe_cuda();
std::shared_ptr<Device> cuda_device();
// Whether MPI takes pointers to device memory; asked at run time, after MPI was started.
bool mpi_is_cuda_aware();

}  // namespace onebit::mpi

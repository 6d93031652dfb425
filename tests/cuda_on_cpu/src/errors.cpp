// SPDX-License-Identifier: Apache-2.0
// Names and words of the codes.
#include "cuda_runtime_api.h"

extern "C" {

#define ONEBIT_CUDA_NAME(name, number, text) \
  case name:                                 \
    return #name;
#define ONEBIT_CUDA_TEXT(name, number, text) \
  case name:                                 \
    return text;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) { ONEBIT_CUDA_ERRORS(ONEBIT_CUDA_NAME) }
  return "unrecognized error code";
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) { ONEBIT_CUDA_ERRORS(ONEBIT_CUDA_TEXT) }
  return "unrecognized error code";
}
}

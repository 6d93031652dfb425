// SPDX-License-Identifier: Apache-2.0
// The codes of CUDA that our code or this emulation knows: name, number, CUDA's words.
#pragma once

#define ONEBIT_CUDA_ERRORS(X)                                                                              \
  X(cudaSuccess, 0, "no error")                                                                            \
  X(cudaErrorInvalidValue, 1, "invalid argument")                                                          \
  X(cudaErrorMemoryAllocation, 2, "out of memory")                                                         \
  X(cudaErrorInitializationError, 3, "initialization error")                                               \
  X(cudaErrorCudartUnloading, 4, "driver shutting down")                                                   \
  X(cudaErrorInvalidConfiguration, 9, "invalid configuration argument")                                    \
  X(cudaErrorInvalidHostPointer, 16, "invalid host pointer")                                               \
  X(cudaErrorInvalidDevicePointer, 17, "invalid device pointer")                                           \
  X(cudaErrorInvalidMemcpyDirection, 21, "invalid copy direction for memcpy")                              \
  X(cudaErrorInsufficientDriver, 35, "CUDA driver version is insufficient for CUDA runtime version")       \
  X(cudaErrorInvalidDeviceFunction, 98, "invalid device function")                                         \
  X(cudaErrorNoDevice, 100, "no CUDA-capable device is detected")                                          \
  X(cudaErrorInvalidDevice, 101, "invalid device ordinal")                                                 \
  X(cudaErrorNoKernelImageForDevice, 209, "no kernel image is available for execution on the device")      \
  X(cudaErrorUnsupportedPtxVersion, 222, "the provided PTX was compiled with an unsupported toolchain.")   \
  X(cudaErrorOperatingSystem, 304, "OS call failed or operation not supported on this OS")                 \
  X(cudaErrorInvalidResourceHandle, 400, "invalid resource handle")                                        \
  X(cudaErrorNotReady, 600, "device not ready")                                                            \
  X(cudaErrorIllegalAddress, 700, "an illegal memory access was encountered")                              \
  X(cudaErrorLaunchOutOfResources, 701, "too many resources requested for launch")                         \
  X(cudaErrorLaunchTimeout, 702, "the launch timed out and was terminated")                                \
  X(cudaErrorAssert, 710, "device-side assert triggered")                                                  \
  X(cudaErrorLaunchFailure, 719, "unspecified launch failure")                                             \
  X(cudaErrorNotPermitted, 800, "operation not permitted")                                                 \
  X(cudaErrorNotSupported, 801, "operation not supported")                                                 \
  X(cudaErrorSystemDriverMismatch, 803, "system has unsupported display driver / cuda driver combination") \
  X(cudaErrorStreamCaptureUnsupported, 900, "operation not permitted when stream is capturing")            \
  X(cudaErrorUnknown, 999, "unknown error")

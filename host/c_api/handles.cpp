// SPDX-License-Identifier: Apache-2.0
// Arguments in, errors and texts out.
#include "c_api/handles.hpp"

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace onebit::c_api {
namespace {

thread_local std::string last_error;  // the whole message

std::string dtype_text(const onebit_dtype& type) {
  return "code " + std::to_string(type.code) + ", " + std::to_string(type.bits) + " bits, " + std::to_string(type.lanes) +
         " lanes";
}

Parameter parameter_of(const onebit_parameter& given, size_t index) {
  const std::string where = "parameter " + std::to_string(index);
  required_struct(&given, where.c_str(), ONEBIT_FIRST_SIZE(onebit_parameter, identity));
  Parameter parameter;
  parameter.name = text(given.name, (where + ".name").c_str());
  const onebit_tensor& tensor = given.tensor;
  const std::string called = where + " ('" + parameter.name + "')";
  if (tensor.ndim < 0 || tensor.ndim > 64)
    refuse(called + " has " + std::to_string(tensor.ndim) + " dimensions; expected 0 to 64");
  if (tensor.ndim > 0 && tensor.shape == nullptr) refuse(called + " has no shape: it is NULL");
  for (int32_t d = 0; d < tensor.ndim; ++d) {
    if (tensor.shape[d] < 0) refuse(called + " has a dimension of " + std::to_string(tensor.shape[d]) + " elements");
    parameter.shape.push_back(tensor.shape[d]);
    if (tensor.strides != nullptr) parameter.strides.push_back(tensor.strides[d]);
  }
  auto* const place = tensor.data == nullptr ? nullptr : static_cast<char*>(tensor.data) + tensor.byte_offset;
  const onebit_dtype& type = tensor.dtype;
  const bool is_float = type.code == ONEBIT_DTYPE_FLOAT,
             is_half = type.bits == 16 && (is_float || type.code == ONEBIT_DTYPE_BFLOAT);
  if (type.lanes != 1 || !(is_half || (is_float && type.bits == 32)))
    refuse(called + " has the DLPack type of " + dtype_text(type) +
           "; expected fp32 (2, 32, 1), fp16 (2, 16, 1) or bf16 (4, 16, 1)");
  if (reinterpret_cast<uintptr_t>(place) % (type.bits / 8) != 0) refuse(called + " is not aligned to its elements");
  if (is_half) {
    parameter.half = reinterpret_cast<uint16_t*>(place);
    parameter.half_type = is_float ? HalfType::fp16 : HalfType::bf16;
  } else {
    parameter.data = reinterpret_cast<float*>(place);
  }
  parameter.device = tensor.device;
  parameter.identity = reinterpret_cast<const void*>(given.identity);  // NOLINT(performance-no-int-to-ptr): compared only
  return parameter;
}

}  // namespace

onebit_code failed(onebit_error* err, Code code, const char* message, int native) noexcept {
  try {
    last_error = message;
  } catch (...) {
    last_error.clear();
  }
  return detail::fill(err, static_cast<onebit_code>(code), message, native);
}

void refuse(const std::string& text) { throw Error(Code::invalid_argument, text); }

std::string text(const char* argument, const char* name) { return &required(argument, name); }

std::vector<std::string> texts(const char* const* argument, size_t count, const char* name) {
  std::vector<std::string> all;
  for (size_t i = 0; i < count; ++i)
    all.push_back(text((&required(argument, name))[i], (std::string(name) + "[" + std::to_string(i) + "]").c_str()));
  return all;
}

char* given(const std::string& text) {
  auto* const copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy == nullptr) throw std::bad_alloc();
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

SessionCall::SessionCall(onebit_session* of) : handle_(required(of, "session")), lock_(handle_.calls, std::try_to_lock) {
  if (!lock_)
    refuse("another thread is in a call of this session; beside it only onebit_session_ready, _abort and _ranks may be called");
}

std::vector<Parameter> parameters_of(const onebit_parameter* const* parameters, size_t count) {
  std::vector<Parameter> all;
  all.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const onebit_parameter* const one = (&required(parameters, "parameters"))[i];
    all.push_back(parameter_of(required(one, ("parameters[" + std::to_string(i) + "]").c_str()), i));
  }
  return all;
}

void check_report(const onebit_step_report* out) {
  if (out != nullptr) required_struct(out, "report", ONEBIT_FIRST_SIZE(onebit_step_report, clamped_share));
}

void tell(const StepReport& report, onebit_step_report* out) {
  if (out == nullptr) return;
  const auto flag = [](bool is, int bit) { return is ? static_cast<uint64_t>(bit) : 0; };
  const onebit_step_report whole = {0,
                                    flag(report.skipped, ONEBIT_STEP_SKIPPED) |
                                        flag(report.compressed, ONEBIT_STEP_COMPRESSED) | flag(report.local, ONEBIT_STEP_LOCAL),
                                    report.number,
                                    report.gradient_norm,
                                    report.gradient_scale,
                                    report.absent,
                                    report.frozen_at,
                                    report.unseen,
                                    report.clamped_share};
  give(whole, *out);
}

}  // namespace onebit::c_api

using namespace onebit::c_api;

extern "C" {

uint32_t onebit_api_minor(void) { return ONEBIT_API_MINOR; }
const char* onebit_version(void) { return ONEBIT_VERSION; }
const char* onebit_last_error(void) { return last_error.c_str(); }
void onebit_free(char* text) { std::free(text); }
}

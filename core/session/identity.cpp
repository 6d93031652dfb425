// SPDX-License-Identifier: Apache-2.0
#include "session/identity.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>

#include "configuration/dense_order.hpp"
#include "onebit/registry.hpp"

namespace onebit {
namespace {

constexpr char kNewSession[] = ": a session's tensors stay as they are; make a new one where they change";

std::string numbers_text(const std::vector<int64_t>& numbers) {
  std::string text = "[";
  for (const int64_t number : numbers) text += (text.size() > 1 ? ", " : "") + std::to_string(number);
  return text + "]";
}
std::string device_text(const onebit_device& device) {
  const std::string name(device_name(device.type));
  return device.type == ONEBIT_DEVICE_CPU ? name : name + ":" + std::to_string(device.id);
}

bool is_where(const onebit_device& told, const onebit_device& device) {
  return told.type == 0 || (told.type == device.type && (told.type == ONEBIT_DEVICE_CPU || told.id == device.id));
}

// One name, or how many there are.
struct Named {
  std::string_view first;
  size_t count = 0;
  void add(std::string_view name) {
    if (count++ == 0) first = name;
  }
  std::string text() const {
    return "'" + std::string(first) + "'" + (count > 1 ? " and " + std::to_string(count - 1) + " more" : "");
  }
};

// The names are not the same: which are new, and which are gone?
[[noreturn]] void refuse_tensors(const std::vector<Parameter>& own, const ModelGradients& handed) {
  std::set<std::string_view> known, given;
  for (const Parameter& parameter : own) known.insert(parameter.name);
  for (const Gradient& gradient : handed) given.insert(gradient.parameter.name);
  Named added, gone;
  for (const Gradient& gradient : handed)
    if (known.count(gradient.parameter.name) == 0) added.add(gradient.parameter.name);
  for (const Parameter& parameter : own)
    if (given.count(parameter.name) == 0) gone.add(parameter.name);
  std::string what = "step() got gradients of other tensors than the session was made with: ";
  if (added.count > 0) what += added.text() + (added.count > 1 ? " are" : " is") + " new to it";
  if (gone.count > 0) what += (added.count > 0 ? ", and " : "") + gone.text() + (gone.count > 1 ? " are" : " is") + " missing";
  for (size_t t = 0; added.count + gone.count == 0; ++t) {  // the same names, in another order or twice
    if (t < own.size() && t < handed.size() && own[t].name == handed[t].parameter.name) continue;
    what += "'" + (t < handed.size() ? handed[t].parameter.name : own[t].name) + "' is not in its place";
    break;
  }
  throw Error(Code::invalid_argument, what +
                                          "; which tensors are trainable, and what they are called, may not change as long as "
                                          "a session lives: make a new one");
}

// A tensor without memory is of any.
bool is_same_type(const Parameter& own, const Parameter& now) {
  return own.place() == nullptr || now.place() == nullptr || std::string_view(type_text(own)) == type_text(now);
}

void require_same_tensor(const Parameter& own, const Parameter& now) {
  if (own.shape != now.shape)
    throw Error(Code::invalid_argument, "parameter '" + own.name + "' has shape " + numbers_text(now.shape) + " now, and had " +
                                            numbers_text(own.shape) + " when the session was made" + kNewSession);
  if (!is_same_type(own, now))
    throw Error(Code::invalid_argument, "parameter '" + own.name + "' is " + type_text(now) + " now, and was " +
                                            type_text(own) + " when the session was made" + kNewSession);
  if (own.strides != now.strides && dense_order(own.shape, own.strides) != dense_order(now.shape, now.strides))
    throw Error(Code::invalid_argument, "parameter '" + own.name + "' has another order in memory (strides " +
                                            numbers_text(now.strides.empty() ? row_strides(now.shape) : now.strides) +
                                            ") than when the session was made (" +
                                            numbers_text(own.strides.empty() ? row_strides(own.shape) : own.strides) + ")" +
                                            kNewSession);
}

bool is_same_tensor(const Parameter& own, const Parameter& now) {
  return own.name == now.name && own.shape == now.shape && own.strides == now.strides && own.device.type == now.device.type &&
         own.device.id == now.device.id && is_same_type(own, now);
}

}  // namespace

const char* type_text(const Parameter& parameter) {
  return parameter.half == nullptr ? "fp32" : parameter.half_type == HalfType::fp16 ? "fp16" : "bf16";
}

void require_device(const Parameter& parameter, const onebit_device& device) {
  if (is_where(parameter.device, device)) return;
  throw Error(Code::invalid_argument, "parameter '" + parameter.name + "' is on " + device_text(parameter.device) +
                                          ", and the session works on " + device_text(device) +
                                          ": set session.device to where the model is (with \"cuda\", a rank's device is its "
                                          "local rank's), or move the model before the session is made");
}

void compare_tensors(const std::vector<Parameter>& own, const ModelGradients& handed, const onebit_device& device,
                     std::vector<size_t>& moved) {
  moved.clear();
  if (own.size() != handed.size()) refuse_tensors(own, handed);
  for (size_t t = 0; t < own.size(); ++t) {
    const Parameter& now = handed[t].parameter;
    if (!is_same_tensor(own[t], now)) {
      if (own[t].name != now.name) refuse_tensors(own, handed);
      require_same_tensor(own[t], now);
      require_device(now, device);
    }
    if (own[t].place() == now.place()) continue;
    if (now.place() == nullptr && std::count(now.shape.begin(), now.shape.end(), 0) == 0)
      throw Error(Code::invalid_argument, "parameter '" + now.name + "' has no data any more" + kNewSession);
    if (own[t].identity != now.identity)
      throw Error(Code::invalid_argument, "parameter '" + now.name +
                                              "' is another tensor of that name, of another module or in place of the one that "
                                              "the session was made with" +
                                              kNewSession);
    moved.push_back(t);
  }
}

}  // namespace onebit

// SPDX-License-Identifier: Apache-2.0
// The C API for tests: what a rank opens, ended as it should be; and codes that must be ONEBIT_OK.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "onebit/onebit.h"
#include "support/sessions.hpp"

namespace onebit::test {

inline onebit_error no_error() { return {sizeof(onebit_error), 0, ""}; }

// What throws can be used on every thread.
inline void must(onebit_code code) {
  if (code != ONEBIT_OK) throw Error(code_of(code), onebit_last_error());
}
// Runs a call that fails, and answers its words. code: which is expected.
template <class F>
std::string refusal(F&& call, onebit_code code = ONEBIT_INVALID_ARGUMENT) {
  onebit_error err = no_error();
  const onebit_code got = call(&err);
  CHECK(got == code);
  const std::string words = got == ONEBIT_OK ? "" : onebit_last_error();
  CHECK(words.substr(0, sizeof err.message - 1) == err.message);
  return words;
}

inline std::string taken(char* text) {
  std::string copy = text == nullptr ? "" : text;
  onebit_free(text);
  return copy;
}

struct CParameters {
  explicit CParameters(Tensors& tensors) : shapes(tensors.size()), names(tensors.size()), parameters(tensors.size()) {
    for (size_t k = 0; k < tensors.size(); ++k) {
      shapes[k] = static_cast<int64_t>(tensors[k].size());
      names[k] = "t" + std::to_string(k);
      parameters[k] = {sizeof(onebit_parameter), names[k].c_str(), {}, 0};
      parameters[k].tensor = {
          tensors[k].data(), {ONEBIT_DEVICE_CPU, 0}, 1, {ONEBIT_DTYPE_FLOAT, 32, 1}, &shapes[k], nullptr, 0};
      pointers.push_back(&parameters[k]);
    }
  }
  std::vector<int64_t> shapes;
  std::vector<std::string> names;
  std::vector<onebit_parameter> parameters;
  std::vector<const onebit_parameter*> pointers;
};

inline std::vector<const void*> pointers_of(const Tensors& tensors) {
  std::vector<const void*> all;
  for (const auto& tensor : tensors) all.push_back(tensor.data());
  return all;
}

// What stands before a session.
struct CSetting {
  explicit CSetting(const std::string& toml, int32_t log_level = 0) {
    onebit_error err = no_error();
    must(onebit_manifest_parse(toml.c_str(), "test.toml", ".", nullptr, 0, &manifest, &err));
    must(onebit_registry_create(log_level, &registry, &err));
    must(onebit_registry_load(registry, manifest, nullptr, 0, &err));
    must(onebit_configuration_create(registry, manifest, &configuration, &err));
  }
  ~CSetting() {
    onebit_configuration_free(configuration);
    onebit_registry_free(registry);
    onebit_manifest_free(manifest);
  }
  CSetting(const CSetting&) = delete;
  CSetting& operator=(const CSetting&) = delete;
  onebit_manifest* manifest = nullptr;
  onebit_registry* registry = nullptr;
  onebit_configuration* configuration = nullptr;
};

// Runs body on every rank; answers the parameters of all ranks afterwards.
inline std::vector<Tensors> run_c_sessions(int ranks, const std::string& toml, const Tensors& initial,
                                           const std::function<void(onebit_session*, int rank, Tensors&)>& body) {
  CSetting setting(toml);
  std::vector<onebit_rendezvous*> meeting(static_cast<size_t>(ranks));
  must(onebit_rendezvous_local(ranks, meeting.data(), nullptr));
  std::vector<Tensors> parameters(static_cast<size_t>(ranks), initial);
  host::run_ranks(ranks, [&](int rank) {
    Tensors& own = parameters[static_cast<size_t>(rank)];
    const CParameters given(own);
    onebit_session* session = nullptr;
    must(onebit_session_create(setting.registry, setting.configuration, meeting[static_cast<size_t>(rank)],
                               given.pointers.data(), given.pointers.size(), &session, nullptr));
    const std::shared_ptr<onebit_session> ends(session, onebit_session_free);
    body(session, rank, own);
  });
  for (onebit_rendezvous* one : meeting) onebit_rendezvous_free(one);
  return parameters;
}

}  // namespace onebit::test

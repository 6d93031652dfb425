/* SPDX-License-Identifier: Apache-2.0 */
/* A trainer in C: fits the weights of a linear model to noiseless samples, each rank with samples of its own. One process is
   one rank; what torchrun would set tells which. c_trainer CONFIG STEPS [CHECKPOINTS] Prints the error per weight and a hash of
   the parameters. With CHECKPOINTS it goes on from what is there, and saves at the end. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onebit/onebit.h"

enum { kWeights = 600, kBatch = 32 };

static onebit_error err = {sizeof(onebit_error), 0, ""};

static void require(onebit_code code, const char* what) {
  if (code == ONEBIT_OK) return;
  fprintf(stderr, "%s: %s\n", what, onebit_last_error());
  exit(1);
}

/* The same on every machine: between -1 and 1. */
static float number(uint32_t* state) {
  *state = *state * 1664525u + 1013904223u;
  return (float)(*state >> 8) / 8388608.0f - 1.0f;
}

/* Of the squared error of one batch. */
static void gradient_of(const float* weights, const float* truth, uint32_t seed, float* gradient) {
  memset(gradient, 0, kWeights * sizeof *gradient);
  for (int s = 0; s < kBatch; ++s) {
    float input[kWeights], off = 0;
    for (int i = 0; i < kWeights; ++i) {
      input[i] = number(&seed);
      off += input[i] * (weights[i] - truth[i]);
    }
    for (int i = 0; i < kWeights; ++i) gradient[i] += off * input[i] / kBatch;
  }
}

static onebit_session* open_session(const char* config, float* weights) {
  onebit_manifest* manifest;
  onebit_registry* registry;
  onebit_configuration* configuration;
  onebit_rendezvous* rendezvous;
  onebit_session* session;
  require(onebit_manifest_load(config, NULL, 0, &manifest, &err), "the manifest");
  require(onebit_registry_create(0, &registry, &err), "the registry");
  require(onebit_registry_load(registry, manifest, NULL, 0, &err), "the plugins");
  require(onebit_configuration_create(registry, manifest, &configuration, &err), "the configuration");
  require(onebit_rendezvous_environment(60000000000, &rendezvous, &err), "the other ranks");

  int64_t shape[2] = {kWeights / 2, 2};
  onebit_parameter parameter = {
      sizeof parameter, "weights", {weights, {ONEBIT_DEVICE_CPU, 0}, 2, {2, 32, 1}, shape, NULL, 0}, 0};
  const onebit_parameter* parameters[1] = {&parameter};
  require(onebit_session_create(registry, configuration, rendezvous, parameters, 1, &session, &err), "the session");
  onebit_rendezvous_free(rendezvous);
  onebit_configuration_free(configuration);
  onebit_registry_free(registry);
  onebit_manifest_free(manifest);
  return session;
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  float weights[kWeights] = {0}, truth[kWeights], gradient[kWeights];
  uint32_t seed = 1;
  for (int i = 0; i < kWeights; ++i) truth[i] = number(&seed);

  onebit_session* session = open_session(argv[1], weights);
  int32_t rank, size;
  require(onebit_session_ranks(session, &rank, &size, &err), "the rank");
  int64_t next = 1;
  if (argc > 3) {
    const onebit_code code = onebit_session_load(session, argv[3], 0, NULL, &err);
    if (code != ONEBIT_UNAVAILABLE) require(code, "load"); /* nothing was saved yet */
    require(onebit_session_next_step(session, &next, &err), "the step");
  }
  const int64_t last = atol(argv[2]);
  for (; next <= last; ++next) {
    gradient_of(weights, truth, (uint32_t)(next * size + rank), gradient);
    const void* gradients[1] = {gradient};
    onebit_step_report report = {0};
    report.struct_size = sizeof report;
    require(onebit_session_step(session, NULL, gradients, 1, NULL, &report, &err), "a step");
    if (report.number != next) return 3;
  }
  if (argc > 3) require(onebit_session_save(session, argv[3], NULL, NULL, &err), "save");

  double off = 0;
  for (int i = 0; i < kWeights; ++i) off += fabs((double)weights[i] - truth[i]) / kWeights;
  uint64_t hash;
  require(onebit_session_parameter_hash(session, &hash, &err), "the hash");
  printf("error %.4f hash %016llx\n", off, (unsigned long long)hash);
  onebit_session_free(session);
  return 0;
}

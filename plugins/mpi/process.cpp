// SPDX-License-Identifier: Apache-2.0
// How MPI starts and ends. A process that started MPI itself ends it at exit, not with the last communicator: it could not be
// started again. One that failed ends the whole job, for the other ranks would wait for it.
#include "process.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "engine.hpp"
#include "onebit/error.hpp"
#include "onebit/text_hash.hpp"

namespace onebit::mpi {
namespace {

using namespace std::chrono_literals;

constexpr auto kGrace = 500ms;         // for the other ranks to tell of the failure in their own words
constexpr auto kPatienceAtExit = 60s;  // for the other ranks to come to MPI_Finalize
std::atomic<bool> unfinished{false}, lost_rank{false};

// The process that may call MPI; a fork of it may not.
pid_t process = 0;

struct Engines {
  std::mutex mutex;
  std::vector<Engine*> all;
};
Engines& engines() {
  static Engines& immortal = *new Engines;  // at exit they may outlive what is static
  return immortal;
}

const char* name_of_level(int level) {
  switch (level) {
    case MPI_THREAD_SINGLE:
      return "MPI_THREAD_SINGLE";
    case MPI_THREAD_FUNNELED:
      return "MPI_THREAD_FUNNELED";
    case MPI_THREAD_SERIALIZED:
      return "MPI_THREAD_SERIALIZED";
    default:
      return "an unknown level";
  }
}

void finalize() {
  std::atomic<bool> done{false};
  std::thread guard([&done] {
    const auto end = std::chrono::steady_clock::now() + kPatienceAtExit;
    while (!done && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(1ms);
    if (done) return;
    std::fprintf(stderr, "communicator 'mpi': other ranks did not come to MPI_Finalize within 60 s; leaving without them\n");
    MPI_Abort(MPI_COMM_WORLD, 1);
  });
  MPI_Finalize();
  done = true;
  guard.join();
}

void at_exit(int status, void*) {
  int finalized = 0;
  if (::getpid() == process) MPI_Finalized(&finalized);
  if (finalized != 0 || ::getpid() != process) return;
  if (!unfinished && !(lost_rank && status != 0)) return finalize();
  std::this_thread::sleep_for(kGrace);
  MPI_Abort(MPI_COMM_WORLD, status != 0 ? status : 1);
}

// Open MPI's TCP sends large messages by "put": one fragment of the whole message, which keeps everything else waiting that
// goes the same way, answers to the other direction first of all. Two hosts that sent 6 MB messages to each other got 0.55 of a
// line of 100 Mbit/s, and 0.49 of 1 Gbit/s; by "send" 0.90 and 0.95. (Of 40 Gbit/s, where copies count, 0.9 of put's.) A
// setting of the user's comes first; other MPI libraries take no notice.
void prefer_send() { ::setenv("OMPI_MCA_btl_tcp_flags", "send", 0); }

// MPI deletes what is attached to MPI_COMM_SELF first of all in MPI_Finalize, while it still works.
int on_finalize(MPI_Comm, int, void*, void*) {
  if (::getpid() != process) return MPI_SUCCESS;
  const std::lock_guard lock(engines().mutex);
  for (Engine* engine : engines().all) engine->shut_down();
  return MPI_SUCCESS;
}

void attach_to_self() {
  int key = MPI_KEYVAL_INVALID;
  check(MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, on_finalize, &key, nullptr), "MPI_Comm_create_keyval");
  check(MPI_Comm_set_attr(MPI_COMM_SELF, key, nullptr), "MPI_Comm_set_attr");
}

uint64_t name_hash() {
  char name[MPI_MAX_PROCESSOR_NAME] = "";
  int length = 0;
  check(MPI_Get_processor_name(name, &length), "MPI_Get_processor_name");
  return text_hash({name, static_cast<size_t>(length)});
}

// Answers the thread level.
int initialize() {
  prefer_send();
  int level = MPI_THREAD_SINGLE;
  if (const int code = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &level); code != MPI_SUCCESS)
    throw Error(Code::unavailable, "MPI_Init_thread failed: " + text_of(code), code);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  on_exit(at_exit, nullptr);
  return level;
}

}  // namespace

void start() {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (process == 0) process = ::getpid();
  if (process != ::getpid())
    throw Error(Code::unavailable, "MPI was started in process " + std::to_string(process) + ", of which this one is a fork");
  int initialized = 0, finalized = 0, level = MPI_THREAD_SINGLE;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (finalized != 0) throw Error(Code::unavailable, "MPI was finalized in this process, and can't be started twice");
  if (initialized != 0) {
    MPI_Query_thread(&level);
  } else {
    level = initialize();
  }
  if (level < MPI_THREAD_MULTIPLE)
    throw Error(Code::unsupported,
                std::string("a thread of its own moves data, which needs MPI_THREAD_MULTIPLE, but MPI runs with ") +
                    name_of_level(level) +
                    (initialized != 0 ? ": start it with MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided)"
                                      : ": this MPI library was built without support for threads"));
  static bool attached = false;
  if (!attached) attach_to_self();
  attached = true;
  (void)machine();
}

void end_at_finalize(Engine& engine) {
  const std::lock_guard lock(engines().mutex);
  engines().all.push_back(&engine);
}

void forget(Engine& engine) noexcept {
  const std::lock_guard lock(engines().mutex);
  auto& all = engines().all;
  all.erase(std::remove(all.begin(), all.end(), &engine), all.end());
}

void give_up_finalizing() { unfinished = true; }
void note_lost_rank() { lost_rank = true; }

std::string text_of(int code) {
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  return {text, static_cast<size_t>(length)};
}

void check(int code, const char* call) {
  if (code != MPI_SUCCESS) throw Error(Code::peer_failed, std::string(call) + " failed: " + text_of(code), code);
}

uint64_t machine() {
  static const uint64_t number = name_hash();
  return number;
}

}  // namespace onebit::mpi

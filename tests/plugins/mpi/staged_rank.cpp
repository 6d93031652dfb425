// SPDX-License-Identifier: Apache-2.0
// One rank of the communicator conformance on `mpi` with tensors of a device, staged through host memory or given directly. The
// device is pretended: its memory is the host's, and its streams are one queue that copies late, so that whoever does not keep
// to their order has other bytes. Run it under mpirun, with "staged" or "direct" first.
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "conformance.hpp"
#include "mpi_rank.hpp"
#include "plugins/mpi/cuda/staged_communicator.hpp"

namespace {

class LateDevice final : public onebit::mpi::Device {
 public:
  LateDevice() : thread_([this] { run(); }) {}
  ~LateDevice() override {
    enqueue({});
    thread_.join();
  }
  int32_t type() const override { return ONEBIT_DEVICE_CPU; }
  void* allocate(size_t bytes) override { return std::malloc(bytes); }
  void release(void* memory) noexcept override { std::free(memory); }
  void to_host(void* to, const void* from, size_t bytes, const onebit_stream*) override {
    enqueue([=] { std::memcpy(to, from, bytes); });
  }
  // The cases look at results when wait has returned, as if they had waited for the stream.
  void to_device(void* to, const void* from, size_t bytes, const onebit_stream*) override {
    enqueue([=] { std::memcpy(to, from, bytes); });
    wait(mark(nullptr));
  }
  Mark mark(const onebit_stream*) override {
    const std::lock_guard lock(mutex_);
    return reinterpret_cast<Mark>(given_ + 1);
  }
  void wait(Mark mark) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_ + 1 >= reinterpret_cast<uintptr_t>(mark); });
  }

 private:
  void enqueue(std::function<void()> copy) {
    const std::lock_guard lock(mutex_);
    ++given_;
    queue_.push_back(std::move(copy));
    changed_.notify_all();
  }
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return !queue_.empty(); });
      const std::function<void()> copy = std::move(queue_.front());
      queue_.pop_front();
      if (!copy) return;
      lock.unlock();
      std::this_thread::sleep_for(std::chrono::microseconds(30));
      copy();
      lock.lock();
      ++done_;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  uintptr_t given_ = 0, done_ = 0;
  std::thread thread_;
};

}  // namespace

int main(int argc, char** argv) {
  try {
    onebit::Registry registry;
    const bool direct = argc > 1 && std::string(argv[1]) == "direct";
    onebit::conformance::Rank self = std::make_unique<onebit::mpi::StagedCommunicator>(onebit::test::mpi_communicator(registry),
                                                                                       std::make_shared<LateDevice>(), direct);
    return onebit::test::run_conformance(self, argv + 1);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}

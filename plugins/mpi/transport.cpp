// SPDX-License-Identifier: Apache-2.0
// MPI's non-blocking messages, and the table of those under way.
#include "transport.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

#include "process.hpp"

namespace onebit::mpi {
namespace {

constexpr int kControl = 0;  // the tag of control messages; payload has 1 and above

}  // namespace

Transport::Transport(MPI_Comm comm) : comm_(comm) {
  check(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
  void* value = nullptr;
  int found = 0;
  check(MPI_Comm_get_attr(comm_, MPI_TAG_UB, &value, &found), "MPI_Comm_get_attr");
  last_tag_ = found != 0 ? *static_cast<int*>(value) : 32767;
  tags_.assign(static_cast<size_t>(size_), 0);
  beating_.assign(static_cast<size_t>(size_), false);
}

void Transport::open() {
  for (int peer = 0; peer < size_; ++peer)
    if (peer != rank_) listen(peer, Message());
}

void Transport::close(bool release) {
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (tasks_[i].purpose != Purpose::listen) continue;
    MPI_Cancel(&requests_[i]);
    MPI_Wait(&requests_[i], MPI_STATUS_IGNORE);
  }
  if (release) MPI_Comm_free(&comm_);
  keep_unsent();
}

// MPI may still read what has not left yet, to a rank that is stopped, say.
void Transport::keep_unsent() {
  static std::mutex mutex;
  static auto& kept = *new std::vector<std::vector<char>>;  // reachable, so no leak to a leak checker
  const std::lock_guard lock(mutex);
  for (Task& task : tasks_)
    if (task.purpose == Purpose::tell || task.purpose == Purpose::beat) kept.push_back(std::move(task.message.bytes));
}

void Transport::add(MPI_Request request, Task task) {
  requests_.push_back(request);
  tasks_.push_back(std::move(task));
}

void Transport::listen(int peer, Message message) {
  MPI_Request request = MPI_REQUEST_NULL;
  check(MPI_Irecv(message.bytes.data(), static_cast<int>(kMessageBytes), MPI_BYTE, peer, kControl, comm_, &request),
        "MPI_Irecv");
  add(request, {Purpose::listen, peer, 0, nullptr, std::move(message)});
}

void Transport::tell(int peer, Message message) {
  MPI_Request request = MPI_REQUEST_NULL;
  check(MPI_Isend(message.bytes.data(), static_cast<int>(message.size()), MPI_BYTE, peer, kControl, comm_, &request),
        "MPI_Isend");
  ++telling_;
  add(request, {Purpose::tell, peer, 0, nullptr, std::move(message)});
}

int32_t Transport::next_tag(int peer) {
  int32_t& tag = tags_[static_cast<size_t>(peer)];
  return tag = tag == last_tag_ ? 1 : tag + 1;
}

void Transport::beat(int peer) {
  if (beating_[static_cast<size_t>(peer)]) return;
  Header header;
  header.type = MessageType::beat;
  Message message = blank();
  message.write(header, nullptr, 0);
  MPI_Request request = MPI_REQUEST_NULL;
  check(MPI_Isend(message.bytes.data(), static_cast<int>(message.size()), MPI_BYTE, peer, kControl, comm_, &request),
        "MPI_Isend");
  beating_[static_cast<size_t>(peer)] = true;
  add(request, {Purpose::beat, peer, 0, nullptr, std::move(message)});
}

void Transport::send(int peer, int32_t tag, const char* from, int64_t bytes, Operation& operation, int rank) {
  MPI_Request request = MPI_REQUEST_NULL;
  check(MPI_Isend(from, static_cast<int>(bytes), MPI_BYTE, peer, tag, comm_, &request), "MPI_Isend");
  add(request, {Purpose::send, peer, rank, &operation, Message(0)});
}

void Transport::receive(int peer, int32_t tag, char* to, int64_t bytes, Operation& operation, int rank) {
  MPI_Request request = MPI_REQUEST_NULL;
  check(MPI_Irecv(to, static_cast<int>(bytes), MPI_BYTE, peer, tag, comm_, &request), "MPI_Irecv");
  add(request, {Purpose::receive, peer, rank, &operation, Message(0)});
}

void Transport::cancel(const Operation& operation) {
  for (size_t i = 0; i < requests_.size(); ++i)
    if (tasks_[i].operation == &operation && tasks_[i].purpose == Purpose::receive) MPI_Cancel(&requests_[i]);
}

bool Transport::collect() {
  done_.resize(requests_.size());
  statuses_.resize(requests_.size());
  int count = 0;
  const int code = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count, done_.data(), statuses_.data());
  statuses_tell_errors_ = code == MPI_ERR_IN_STATUS;
  done_.resize(count == MPI_UNDEFINED ? 0 : static_cast<size_t>(count));
  return !done_.empty();
}

// Tasks go out of the table first: what a listener does about one adds others.
void Transport::deliver(Listener& listener) {
  for (size_t i = 0; i < done_.size(); ++i) {
    const int code = statuses_tell_errors_ ? statuses_[i].MPI_ERROR : MPI_SUCCESS;
    through_.emplace_back(std::move(tasks_[static_cast<size_t>(done_[i])]), code);
  }
  size_t kept = 0;
  std::sort(done_.begin(), done_.end());
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (std::binary_search(done_.begin(), done_.end(), static_cast<int>(i))) continue;
    if (kept != i) {
      requests_[kept] = requests_[i];
      tasks_[kept] = std::move(tasks_[i]);
    }
    ++kept;
  }
  requests_.resize(kept);
  tasks_.erase(tasks_.begin() + static_cast<std::ptrdiff_t>(kept), tasks_.end());
  done_.clear();
  for (auto& [task, code] : through_) deliver(listener, task, code);
  through_.clear();
}

void Transport::deliver(Listener& listener, Task& task, int code) {
  if (task.purpose == Purpose::tell) --telling_;
  if (task.purpose == Purpose::beat) beating_[static_cast<size_t>(task.peer)] = false;
  if (task.purpose == Purpose::tell || task.purpose == Purpose::beat) spare_.push_back(std::move(task.message));
  if (task.operation != nullptr) listener.on_payload(*task.operation, task.peer, task.rank, task.purpose == Purpose::receive);
  if (code != MPI_SUCCESS) return listener.on_error(task.peer, code);
  if (task.purpose != Purpose::listen) return;
  listener.on_message(task.peer, task.message);
  listen(task.peer, task.message.bytes.empty() ? blank() : std::move(task.message));
}

Message Transport::blank() {
  if (spare_.empty()) return Message();
  Message message = std::move(spare_.back());
  spare_.pop_back();
  return message;
}

}  // namespace onebit::mpi

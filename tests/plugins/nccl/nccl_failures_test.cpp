// SPDX-License-Identifier: Apache-2.0
// The communicator `nccl` where something is missing or goes wrong: no driver, the wrong NCCL, ranks that do not come or mean
// something else, errors that come later.
#include <cstring>

#include "nccl_on_cpu/control.hpp"
#include "nccl_on_cpu/nccl_ranks.hpp"
#include "nccl_on_cpu/stranger.hpp"
#include "plugins/nccl/place.hpp"

namespace {

using namespace onebit;
using namespace onebit::test;
using conformance::Rank;
using conformance::require;
using conformance::require_text;

}  // namespace

TEST_CASE("nccl: a machine without a driver or a device loads it, with the reason") {
  const auto reason = [] { return Registry().load(plugin_file("plugins_on_cpu", "nccl")).unavailable; };
  CHECK(reason() == "");
  cuda_on_cpu::set_devices(0);
  CHECK(has(reason(), "no CUDA device can be used: "));
  cuda_on_cpu::set_devices(1);
  cuda_on_cpu::set_driver(11000);
  CHECK(has(reason(), "the NVIDIA driver knows CUDA 11.0 and is too old for CUDA 13.0"));
  cuda_on_cpu::set_driver(0);
  CHECK(has(reason(), "there is no NVIDIA driver"));
  cuda_on_cpu::set_driver(13000);
}

TEST_CASE("nccl: which library it takes") {
  LocalRendezvous rendezvous(1);
  const auto with = [&](const std::string& file) {
    return error_of([&] { make(rendezvous.at(0), "library = \"" + file + "\""); });
  };
  const std::string folder = std::string(ONEBIT_BINARY_DIR) + "/lib/nccl_on_cpu/";
  CHECK(with(folder + "libnccl.so.2").code() == Code::internal);  // no error
  const Error old = with(folder + "libnccl_old.so.2");
  CHECK(old.code() == Code::unavailable);
  CHECK(has(old.what(), "libnccl_old.so.2 is NCCL 2.7.8; 2.8.3 or later is needed"));
  const Error nowhere = with("/nowhere/libnccl.so.2");
  CHECK(nowhere.code() == Code::unavailable);
  CHECK(has(nowhere.what(), "/nowhere/libnccl.so.2"));
  const Error another = with("libm.so.6");
  CHECK(another.code() == Code::unavailable);
  CHECK(has(another.what(), "has no function ncclGetVersion"));
}

TEST_CASE("nccl: calls without a stream, or of another device, are refused") {
  run(1, [](Rank& self) {
    DeviceRank& on = device(self);
    Sum sum(self, 4);
    const auto refused = [&](const onebit_stream* stream, int device_id) {
      Rank part = self->split(0, 0);
      Call call;
      call.stream = stream;
      Tensor tensor = sum.tensor;
      tensor.device.id = device_id;
      return text_of([&] { device(part).inner().all_reduce(tensor, tensor, ReduceOp::sum, call); });
    };
    onebit_stream other = on.stream();
    other.device.id = 5;
    require(has(refused(nullptr, 0), "names no stream"), "no stream was taken");
    require(has(refused(&other, 0), "is not one of CUDA device 0"), "another device's stream was taken");
    require(has(refused(&on.stream(), 5), "is not in memory of CUDA device 0"), "another device's tensor was taken");
  });
}

TEST_CASE("nccl: sizes that all know, but not of the same collective, end in an error on every rank") {
  run(2, [](Rank& self) {
    Rank part = self->split(0, 0);
    DeviceRank& on = device(part);
    const auto gather = [&](int64_t bytes) {
      conformance::Parts out(2, [bytes](int) { return bytes; });
      std::vector<uint8_t> in(64);
      part->wait(part->all_gather(in.data(), out.bytes.data(), out.parts.data(), Call()));
    };
    gather(16);
    gather(32);
    require(on.rank() == self->rank(), "another rank");
    const std::string text = text_of([&] { gather(self->rank() == 0 ? 16 : 32); });
    require(has(text, "all_gather (operation 3)") && has(text, "bytes for the part of rank 0"), "another error: " + text);
    self->barrier(Call());
  });
}

TEST_CASE("nccl: an error that NCCL finds later ends the communicator on every rank") {
  run(3, [](Rank& self) {
    Rank part = self->split(0, 0);
    Communicator& inner = device(part).inner();
    Sum sum(self, 100);
    inner.wait(sum.post(inner));
    self->barrier(Call());
    Gate gate(device(self).stream_of());
    Request* request = sum.post(inner);
    self->barrier(Call());  // all have: the error is found by who waits, and not by who has yet to post
    if (self->rank() == 1) nccl_on_cpu_set_async_error(1, 6);
    const Error error = error_of([&] { follow(inner, request); });
    self->barrier(Call());
    nccl_on_cpu_set_async_error(1, 0);
    require(error.code() == Code::peer_failed, std::string("another code: ") + error.what());
    require_text(error, "all_reduce (operation 2)");
    require_text(error, "rank 1");
    require_text(error, "remote process exited");
    require(error_of([&] { sum.post(inner); }).code() == Code::peer_failed, "the next call did not tell");
    self->barrier(Call());
  });
}

TEST_CASE("nccl: a call that NCCL refuses ends the communicator on every rank") {
  run(2, [](Rank& self) {
    Rank part = self->split(0, 0);
    Communicator& inner = device(part).inner();
    Sum sum(self, 100);
    if (self->rank() == 1) nccl_on_cpu_fail_next_group(1, 2);
    self->barrier(Call());
    const Error error = error_of([&] { follow(inner, sum.post(inner)); });
    require(error.code() == Code::peer_failed, std::string("another code: ") + error.what());
    require_text(error, "ncclGroupEnd failed");
    require_text(error, "rank 1");
    self->barrier(Call());
  });
}

TEST_CASE("nccl: a collective that hangs though all came is given up in time") {
  nccl_on_cpu_hang(1);
  run(2, [](Rank& self) {
    Rank part = self->split(0, 0);
    Communicator& inner = device(part).inner();
    Sum sum(self, 100);
    Request* request = sum.post(inner, 1'000'000'000);
    inner.wait(request);  // the stream waits; what comes of it the next call tells
    device(self).own_stream().finish();
    const Error error = error_of([&] {
      for (;;) inner.barrier(Call());
    });
    require(error.code() == Code::timeout, std::string("another code: ") + error.what());
    require_text(error, "1 s in all_reduce (operation 1): all ranks came");
    self->barrier(Call());
  });
  nccl_on_cpu_hang(-1);
  CHECK(nccl_on_cpu_alive() == 0);
}

TEST_CASE("nccl: who does not come to create is named") {
  LocalRendezvous rendezvous(4);
  const auto texts = outcomes(4, [&](int rank) {
    if (rank < 2) make(rendezvous.at(rank), "timeout = 1");
  });
  for (int rank = 0; rank < 2; ++rank) {
    CHECK(has(texts[static_cast<size_t>(rank)], "waited 1 s in create for ranks 2, 3, which did not arrive"));
    CHECK(has(texts[static_cast<size_t>(rank)], "create on rank " + std::to_string(rank) + " of 4"));
  }
  LocalRendezvous other(2);
  CHECK(has(text_of([&] { make(other.at(1), "timeout = 0.1"); }), "for rank 0, which did not arrive"));
}

TEST_CASE("nccl: a rank that NCCL can't connect tells the others") {
  nccl_on_cpu_fail_next_init(1, 3);
  LocalRendezvous rendezvous(3);
  for (const std::string& text : outcomes(3, [&](int rank) { make(rendezvous.at(rank)); })) {
    CHECK(has(text, "rank 1"));
    CHECK(has(text, "ncclCommInitRank failed"));
  }
}

TEST_CASE("nccl: ranks that expect another number of ranks are told") {
  LocalRendezvous rendezvous(2);
  onebit_rendezvous wrong = rendezvous.at(1);
  wrong.size = 3;
  const auto texts = outcomes(2, [&](int rank) { make(rank == 0 ? rendezvous.at(0) : wrong, "timeout = 1"); });
  CHECK(has(texts[1], "rank 0 expects 2 ranks, rank 1 expects 3"));
  CHECK(has(texts[0], "rank 1, which did not arrive"));
}

TEST_CASE("nccl: ranks of different versions are told, before NCCL is") {
  LocalRendezvous rendezvous(3);
  const std::string newer = "library = \"" + std::string(ONEBIT_BINARY_DIR) + "/lib/nccl_on_cpu/libnccl_newer.so.2\"";
  const auto texts = outcomes(3, [&](int rank) { make(rendezvous.at(rank), rank == 1 ? newer : "timeout = 20"); });
  CHECK(has(texts[0], "rank 1 has NCCL 2.28.9, rank 0 has 2.8.3"));
  CHECK(has(texts[2], "rank 1 has NCCL 2.28.9, rank 2 has 2.8.3"));
  CHECK(has(texts[1], "rank 2 has NCCL 2.8.3, rank 1 has 2.28.9"));
}

TEST_CASE("nccl: a rendezvous may be met at again, while the first communicator lives") {
  LocalRendezvous rendezvous(2);
  const auto texts = outcomes(2, [&](int rank) {
    Rank first = make(rendezvous.at(rank)), second = make(rendezvous.at(rank)), third = make(rendezvous.at(rank));
    first.reset();
    conformance::all_to_all_uneven(second);
    conformance::all_to_all_uneven(third);
  });
  for (const std::string& text : texts) CHECK(text == "");
}

TEST_CASE("nccl: a rank that dies is named, and not waited for") {
  LocalRendezvous rendezvous(3);
  const auto texts = outcomes(3, [&](int rank) {
    if (rank != 1) return (void)make(rendezvous.at(rank), "timeout = 100");
    std::this_thread::sleep_for(300ms);  // the others have come
    nccl::Place place;
    Rendezvous(&rendezvous.at(1)).get("nccl.place", &place, sizeof place);
    nccl::Message hello;
    hello.rank = 1;
    hello.code = 3;
    hello.body = sizeof place.token;
    std::string said(reinterpret_cast<const char*>(&hello), sizeof hello);
    said.append(reinterpret_cast<const char*>(place.token.data()), sizeof place.token);
    call_with(place.port, said);
  });
  for (const int rank : {0, 2}) {
    const std::string& text = texts[static_cast<size_t>(rank)];
    CHECK_MESSAGE(has(text, "create on rank " + std::to_string(rank)), text);
    CHECK_MESSAGE(has(text, "rank 1 is gone"), text);
  }
}

TEST_CASE("nccl: strangers who call at rank 0 change nothing") {
  LocalRendezvous rendezvous(2);
  const auto texts = outcomes(2, [&](int rank) {
    if (rank == 1) {
      nccl::Place place;
      Rendezvous(&rendezvous.at(1)).get("nccl.place", &place, sizeof place);
      test::call_with(place.port, std::string(3000, 'x'));
      test::call_with(place.port, "");
      nccl::Message hello;
      test::call_with(place.port, {reinterpret_cast<const char*>(&hello), sizeof hello});
    }
    Rank self = make(rendezvous.at(rank));
    conformance::all_to_all_uneven(self);
  });
  for (const std::string& text : texts) CHECK(text == "");
}

// SPDX-License-Identifier: Apache-2.0
// checkpoint.json: what is written is read again, and anybody's bytes are refused in words.
#include "checkpoint/record.hpp"

#include <doctest/doctest.h>

#include "onebit/error.hpp"
#include "support/scratch_folder.hpp"

using onebit::CheckpointRecord;
using onebit::HashKind;

namespace {

CheckpointRecord small_record() {
  CheckpointRecord record;
  record.step = 1234;
  record.ranks = 4;
  record.files = {{"model.safetensors", 30, {{0, 10, std::string(32, 'a')}, {10, 30, std::string(32, '0')}}}, {"empty", 0, {}}};
  record.session = {{"layout", {{"elements", 7}}}, {"a\n\"", "é"}};
  return record;
}

std::string refusal_of(const std::string& text) {
  try {
    onebit::parse_record(text, "checkpoint.json");
  } catch (const onebit::Error& e) {
    CHECK(e.code() == onebit::Code::invalid_argument);
    return e.what();
  }
  return "it was read";
}

// With the right hash, so that what else is wrong is found.
std::string sealed(const std::string& members) { return onebit::with_own_hash("{" + members + ",", HashKind::xxh3_128); }

std::string with_files(const std::string& files) {
  return sealed(R"("format":1,"step":1,"ranks":1,"hashes":"xxh3-128","session":{},"files":)" + files);
}

void check_refused(const std::string& text, const std::string& expected) {
  const std::string refusal = refusal_of(text);
  CHECK_MESSAGE(refusal.find(expected) != std::string::npos, refusal);
  CHECK(refusal.find("checkpoint.json: ") == 0);
}

}  // namespace

TEST_CASE("a record is read as it was written") {
  for (const HashKind kind : {HashKind::xxh3_128, HashKind::sha256}) {
    CheckpointRecord record = small_record();
    record.hash = kind;
    for (auto& piece : record.files[0].pieces) piece.hash.resize(onebit::digits_of(kind), 'f');
    const CheckpointRecord read = onebit::parse_record(onebit::record_text(record), "checkpoint.json");
    CHECK(read.format == 1);
    CHECK(read.step == 1234);
    CHECK(read.ranks == 4);
    CHECK(read.hash == kind);
    CHECK(read.session == record.session);
    REQUIRE(read.files.size() == 2);
    CHECK(read.files[0].name == "model.safetensors");
    CHECK(read.files[0].pieces[1].begin == 10);
    CHECK(read.files[0].pieces[1].end == 30);
    CHECK(read.files[0].pieces[1].hash == record.files[0].pieces[1].hash);
    CHECK(onebit::bytes_of(read) == 30);
  }
}

TEST_CASE("a record that could not be read again is not written") {
  CheckpointRecord record = small_record();
  record.session = 7;
  CHECK_THROWS_WITH_AS(onebit::record_text(record), doctest::Contains("could not be read again"), onebit::Error);
  record.session = {{"k", "\xff"}};
  CHECK_THROWS_AS(onebit::record_text(record), onebit::Error);
  record = small_record();
  record.files[0].name = "../model";
  CHECK_THROWS_AS(onebit::record_text(record), onebit::Error);
  record = small_record();
  record.files[0].pieces.pop_back();
  CHECK_THROWS_AS(onebit::record_text(record), onebit::Error);
}

TEST_CASE("every bit that is flipped, and every length that is cut, is found out") {
  const std::string text = onebit::record_text(small_record());
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string changed = text;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1U << bit % 8));
    CHECK_MESSAGE(refusal_of(changed) != "it was read", "bit ", bit);
  }
  for (size_t size = 0; size < text.size(); ++size) CHECK(refusal_of(text.substr(0, size)) != "it was read");
  check_refused(text + "\n", "does not have the hash");
  check_refused(" " + text, "does not have the hash");
}

TEST_CASE("a newer version is named as such, whatever else it may be") {
  check_refused(R"({"format":2})", "the checkpoint has format version 2, this onebit (");
  check_refused(R"({"format":2})", ") reads up to version 1; load it with the version that wrote it, or a later one");
}

TEST_CASE("bytes that are no record") {
  check_refused("", "is not JSON");
  check_refused(std::string(100, '\0'), "is not JSON");
  check_refused("\xff\xfe{}", "is not JSON");
  check_refused("[]", "the record is [], expected an object");
  check_refused("{}", "the record is {}, expected an object with the member \"format\"");
  check_refused(std::string(1'000'000, '['), "is nested deeper than 64");
  check_refused(sealed(R"("format":1,"hashes":"xxh3-128","session":)" + std::string(100, '[') + std::string(100, ']')),
                "is nested deeper than 64");
  check_refused(R"({"format":0})", "the record.format is 0, expected a whole number from 1 to ");
  check_refused(R"({"format":1e999})", "is not JSON");
  check_refused(R"({"format":1,"hashes":"md5"})", R"(the record.hashes is "md5", expected "xxh3-128" or "sha256")");
  check_refused(R"({"format":1,"hashes":["\u0000"]})", R"(the record.hashes is ["\u0000"], expected "xxh3-128" or "sha256")");
  check_refused(R"({"format":1,"hashes":"xxh3-128"})", "does not have the hash that it had when it was written");
}

TEST_CASE("numbers that cannot be") {
  const auto with = [](const std::string& step, const std::string& ranks) {
    return sealed(R"("format":1,"hashes":"xxh3-128","session":{},"files":[],"step":)" + step + R"(,"ranks":)" + ranks);
  };
  CHECK(refusal_of(with("0", "1")) == "it was read");
  check_refused(with("-1", "1"), "the record.step is -1, expected a whole number from 0 to 9223372036854775807");
  check_refused(with("18446744073709551615", "1"), "the record.step is 18446744073709551615");
  check_refused(with("18446744073709551616", "1"), "the record.step is 1.8446744073709552e+19");
  check_refused(with("1.0", "1"), "the record.step is 1.0");
  check_refused(with("1", "0"), "the record.ranks is 0, expected a whole number from 1 to ");
  check_refused(with("1", "4294967297"), "the record.ranks is 4294967297");
  check_refused(with("\"" + std::string(1000, 'x') + "\"", "1"), std::string(79, 'x') + "..., expected a whole number");
}

TEST_CASE("files that cannot be") {
  const std::string hash(32, '0'), piece = R"({"end":3,"hash":")" + hash + R"("})";
  CHECK(refusal_of(with_files(R"([{"name":"a","bytes":3,"pieces":[)" + piece + "]}]")) == "it was read");
  check_refused(with_files("{}"), "the record.files is {}, expected an array");
  check_refused(with_files("[7]"), "the record.files[0] is 7, expected an object");
  check_refused(with_files(R"([{"bytes":0,"pieces":[]}])"), "expected an object with the member \"name\"");
  for (const std::string name : {"", ".", "..", "a/b", "/etc/passwd", "../a", "a\\u0000b", "checkpoint.json"})
    check_refused(with_files(R"([{"name":")" + name + R"(","bytes":0,"pieces":[]}])"), ", expected the name of a file");
  check_refused(with_files(R"([{"name":")" + std::string(256, 'n') + R"(","bytes":0,"pieces":[]}])"), "expected the name of");
  check_refused(with_files(R"([{"name":"a","bytes":0,"pieces":[]},{"name":"a","bytes":0,"pieces":[]}])"),
                "expected a file that is named once");
  const std::string most = "9223372036854775807", all = R"("pieces":[{"end":)" + most + R"(,"hash":")" + hash + R"("}]})";
  check_refused(with_files(R"([{"name":"a","bytes":)" + most + "," + all + R"(,{"name":"b","bytes":)" + most + "," + all + "]"),
                "expected files that a disk can hold");
}

TEST_CASE("pieces that cannot be") {
  const auto with = [](const std::string& pieces) { return with_files(R"([{"name":"a","bytes":3,"pieces":)" + pieces + "}]"); };
  const auto piece = [](const std::string& end, const std::string& hash = std::string(32, '0')) {
    return R"({"end":)" + end + R"(,"hash":")" + hash + R"("})";
  };
  CHECK(refusal_of(with("[" + piece("1") + "," + piece("3") + "]")) == "it was read");
  check_refused(with("[]"), "the record.files[0].pieces is [], expected pieces of all 3 bytes");
  check_refused(with("[" + piece("2") + "]"), "expected pieces of all 3 bytes");
  check_refused(with("[" + piece("4") + "]"), "pieces[0].end is 4, expected a whole number from 1 to 3");
  check_refused(with("[" + piece("0") + "]"), "pieces[0].end is 0, expected a whole number from 1 to 3");
  check_refused(with("[" + piece("2") + "," + piece("2") + "]"), "pieces[1].end is 2, expected a whole number from 3 to 3");
  check_refused(with("[" + piece("3") + "," + piece("3") + "]"), "expected no piece after the file's last byte");
  check_refused(with("[" + piece("3", std::string(31, '0')) + "]"), "expected 32 hexadecimal digits, as xxh3-128 has");
  check_refused(with("[" + piece("3", std::string(32, 'A')) + "]"), "expected 32 hexadecimal digits");
}

TEST_CASE("a record that is too large for memory is not read") {
  const ScratchFolder scratch;
  onebit::create_file(scratch / "checkpoint.json", uint64_t{1} << 40U);
  CHECK_THROWS_WITH_AS(onebit::read_record(scratch.path()),
                       doctest::Contains("checkpoint.json: has 1099511627776 bytes, expected at most 67108864"), onebit::Error);
}

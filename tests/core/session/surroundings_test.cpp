// SPDX-License-Identifier: Apache-2.0
// What the embedder's process has set changes nothing: under a German locale, rounding toward zero, flushed denormals and
// trapping arithmetic, all that is read, printed and trained has the bits that it has without.
#include <doctest/doctest.h>

#include <cfenv>
#include <clocale>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <locale>
#include <random>

#include "onebit/number_text.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"

namespace {

using onebit::Manifest;
using onebit::test::Tensors;

// 1.000,5; and who reads "0.001" with it reads a thousand-fold one.
struct German : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
  std::string do_truename() const override { return "wahr"; }
};

// The floating-point mode of a thread, and of those that it starts, as long as this lives.
class Hurried {
 public:
  Hurried() {
    std::fegetenv(&before_);
    std::fesetround(FE_TOWARDZERO);
#ifdef __SSE__
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040U);
#endif
    ::feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW);
  }
  ~Hurried() { std::fesetenv(&before_); }
  Hurried(const Hurried&) = delete;
  Hurried& operator=(const Hurried&) = delete;

 private:
  std::fenv_t before_;
};

class GermanProcess {
 public:
  GermanProcess() : before_(std::locale::global(std::locale(std::locale::classic(), new German))) {}
  ~GermanProcess() { std::locale::global(before_); }
  GermanProcess(const GermanProcess&) = delete;
  GermanProcess& operator=(const GermanProcess&) = delete;

 private:
  std::locale before_;
};

// The C library's locale, where the system has or can make a German one.
class GermanLibrary {
 public:
  GermanLibrary() {
    ::setenv("LOCPATH", folder_.path().c_str(), 1);
    const std::string to = "'" + (folder_ / "de_DE.UTF-8").string() + "'";
    is_there_ = onebit::test::run_shell("localedef --no-archive -i de_DE -f UTF-8 " + to).status == 0 &&
                std::setlocale(LC_ALL, "de_DE.UTF-8") != nullptr;
  }
  ~GermanLibrary() {
    std::setlocale(LC_ALL, "C");
    ::unsetenv("LOCPATH");
  }
  GermanLibrary(const GermanLibrary&) = delete;
  GermanLibrary& operator=(const GermanLibrary&) = delete;
  bool is_there() const { return is_there_; }

 private:
  ScratchFolder folder_;
  bool is_there_ = false;
};

const std::string kToml = onebit::test::onebit_adam("lr = 0.001\nbetas = [0.9, 0.999]\neps = 1e-8\nfreeze_step = 1_000\n",
                                                    "[session]\nthreads = 3\nclip_norm = 1.5\n");

// Everything that is read, computed and printed: as bits and texts.
struct Everything {
  std::string toml;
  uint64_t hash = 0;
  double state = 0, learning_rate = 0, norm = 0;
  std::vector<Tensors> parameters;
  int mode_in_between = -1;
};

Tensors gradients_of(int rank, int step) {
  std::fenv_t hurried;  // they are the same in every process
  std::fegetenv(&hurried);
  std::fesetenv(FE_DFL_ENV);
  std::mt19937 random(static_cast<unsigned>(100 * rank + step));
  Tensors gradients = {std::vector<float>(5000), std::vector<float>(70)};
  for (std::vector<float>& tensor : gradients)
    for (size_t i = 0; i < tensor.size(); ++i)
      // a quarter of the squares are denormal
      tensor[i] = (static_cast<float>(random() % 2001) - 1000.0F) * (i % 4 == 0 ? 1e-23F : 1e-4F);
  std::fesetenv(&hurried);
  return gradients;
}

Everything train_and_print(const std::string& toml) {
  Everything all;
  const onebit::Configuration configuration = onebit::test::configure(toml);
  all.toml = configuration.to_toml(true);
  all.hash = configuration.hash();
  Tensors initial = {std::vector<float>(5000, 0.1F), std::vector<float>(70, -0.3F)};
  all.state = onebit::cost_of(onebit::test::plugins(), configuration, onebit::test::parameters_of(initial), 3).dense_state;
  all.parameters = onebit::test::run_sessions(2, toml, initial, [&](onebit::test::Rank rank) {
    rank.session.set_learning_rate_factor(1.0 / 3);
    onebit::StepReport report;
    for (int step = 1; step <= 8; ++step) report = rank.session.step(onebit::test::pointers(gradients_of(rank.number, step)));
    if (rank.number != 0) return;
    all.norm = report.gradient_norm;
    all.learning_rate = rank.session.learning_rate();
    all.mode_in_between = std::fegetround();
  });
  return all;
}

void check_same(const Everything& one, const Everything& other) {
  CHECK(one.toml == other.toml);
  CHECK(one.hash == other.hash);
  CHECK(one.state == other.state);
  CHECK(one.learning_rate == other.learning_rate);
  CHECK(one.norm == other.norm);
  for (size_t rank = 0; rank < one.parameters.size(); ++rank)
    for (size_t t = 0; t < one.parameters[rank].size(); ++t) {
      const auto &a = one.parameters[rank][t], &b = other.parameters[rank][t];
      CHECK(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
    }
}

}  // namespace

TEST_CASE("a process in a hurry: rounding toward zero, small numbers flushed, and its mode is as before after each call") {
  for (const char* freeze : {"1_000", "3"}) {
    std::string toml = kToml;
    toml.replace(toml.find("1_000"), 5, freeze);
    const Everything plain = train_and_print(toml);
    CHECK(plain.mode_in_between == FE_TONEAREST);
    Everything hurried;
    {
      const Hurried mode;
      hurried = train_and_print(toml);
    }
    CHECK(hurried.mode_in_between == FE_TOWARDZERO);
    check_same(plain, hurried);
  }
}

TEST_CASE("a German process: numbers are read and printed as in every other") {
  const Everything plain = train_and_print(kToml);
  Everything german;
  std::string message;
  {
    const GermanProcess process;
    german = train_and_print(kToml);
    try {
      Manifest::parse("[optimizer]\nlr = 0.001\nx = \n", "a.toml", ".");
    } catch (const onebit::Error& e) {
      message = e.what();
    }
  }
  CHECK(message.find("a.toml:3:") == 0);
  CHECK(german.toml.find("lr = 0.001\n") != std::string::npos);
  CHECK(german.toml.find("freeze_step = 1000\n") != std::string::npos);
  check_same(plain, german);
}

TEST_CASE("a process with a German C library") {
  const Everything plain = train_and_print(kToml);
  Everything german;
  std::string printed, text;
  {
    const GermanLibrary library;
    if (!library.is_there()) {
      MESSAGE("SKIPPED: there is no localedef here to make a German locale with");
      return;
    }
    char buffer[16];
    std::snprintf(buffer, sizeof buffer, "%.2f", 0.25);
    printed = buffer;
    text = onebit::number_text(0.25) + " " + onebit::fixed_text(1234.5, 2) + " " + onebit::number_text(-1e-30, 3);
    german = train_and_print(kToml);
  }
  CHECK(printed == "0,25");
  CHECK(text == "0.25 1234.50 -1e-30");
  check_same(plain, german);
}

TEST_CASE("numbers of every form, whatever the process makes of them") {
  const std::string text =
      "[train]\na = 0.001\nb = 1_234.5e-3\nc = -1_000\nd = 0xff\ne = [0.5, 1, 1e-310]\nf = 0o17\ng = -inf\nh = 1e-300\n"
      "i = 9223372036854775807\nj = -9_223_372_036_854_775_808\nk = 0b101\n";
  const auto check = [&] {
    const Manifest manifest = Manifest::parse(text, "a.toml", ".");
    const auto value = [&](const char* key) { return manifest.table("train").at(key).value; };
    CHECK(value("a") == onebit::Value(0.001));
    CHECK(value("b") == onebit::Value(1.2345));
    CHECK(value("c") == onebit::Value(int64_t{-1000}));
    CHECK(value("d") == onebit::Value(int64_t{255}));
    CHECK(value("e") == onebit::Value(std::vector<double>{0.5, 1, 1e-310}));
    CHECK(value("f") == onebit::Value(int64_t{15}));
    CHECK(value("g") == onebit::Value(-INFINITY));
    CHECK(value("h") == onebit::Value(1e-300));
    CHECK(value("i") == onebit::Value(INT64_MAX));
    CHECK(value("j") == onebit::Value(INT64_MIN));
    CHECK(value("k") == onebit::Value(int64_t{5}));
  };
  check();
  const GermanProcess process;
  check();
}

TEST_CASE("decimal points of any bytes become points") {
  CHECK(onebit::detail::with_point("0,25") == "0.25");
  CHECK(onebit::detail::with_point("1\xd9\xab"
                                   "5e-07") == "1.5e-07");
  CHECK(onebit::detail::with_point("inf") == "inf");
  CHECK(onebit::detail::with_point("-12") == "-12");
}

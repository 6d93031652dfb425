// SPDX-License-Identifier: Apache-2.0
#include "device/gradient_presence.hpp"

namespace onebit {

GradientPresence::GradientPresence(const std::vector<int64_t>& elements)
    : elements_(elements), whole_(static_cast<size_t>(words_of(static_cast<int64_t>(elements.size())))) {
  for (size_t t = 0; t < elements.size(); ++t) {
    whole_[t / 64] |= uint64_t{1} << t % 64;
    with_elements_ += elements[t] > 0 ? 1 : 0;
  }
  own_ = since_round_ = local_ = lacking_ = absent_ = ever_ = std::vector<uint64_t>(whole_.size());
  missed_.assign(elements.size(), 0);
}

void GradientPresence::note(const std::vector<const float*>& gradients) {
  for (size_t w = 0; w < own_.size(); ++w) {
    uint64_t word = 0;
    for (size_t t = 64 * w; t < gradients.size() && t < 64 * w + 64; ++t)
      word |= uint64_t{gradients[t] != nullptr || elements_[t] == 0} << t % 64;
    own_[w] = word;
    since_round_[w] = word | local_[w];
  }
}

const uint64_t* GradientPresence::lacking(bool local) {
  const std::vector<uint64_t>& given = bits(local);
  uint64_t any = 0;
  for (size_t w = 0; w < given.size(); ++w) any |= lacking_[w] = whole_[w] & ~given[w];
  return any == 0 ? nullptr : lacking_.data();
}

void GradientPresence::find_absent(const Ballots& ballots) {
  absent_count_ = 0;
  for (size_t w = 0; w < whole_.size(); ++w) {
    absent_[w] = whole_[w] & ~ballots.present(static_cast<int64_t>(w));
    for (uint64_t rest = absent_[w]; rest != 0; rest &= rest - 1) ++absent_count_;
  }
}

void GradientPresence::commit(bool local, bool taken) {
  for (size_t w = 0; w < whole_.size(); ++w) {
    if (taken) ever_[w] |= whole_[w] & ~absent_[w];
    local_[w] = !local ? 0 : taken ? local_[w] | own_[w] : local_[w];
  }
  if (local || !any_absent()) return;
  any_missed_ = true;
  for (size_t t = 0; t < missed_.size(); ++t) missed_[t] += has_bit(absent_.data(), static_cast<int64_t>(t)) ? 1 : 0;
}

void GradientPresence::go_on(const std::vector<int64_t>& missed, const std::vector<uint64_t>& ever,
                             const std::vector<uint64_t>& local) {
  any_missed_ = !missed.empty();
  missed_ = missed;
  ever_ = ever;
  local_ = local;
  missed_.resize(elements_.size());
  ever_.resize(whole_.size());
  local_.resize(whole_.size());
}

}  // namespace onebit

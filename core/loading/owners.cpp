// SPDX-License-Identifier: Apache-2.0
// Users, by name and by number. A name is looked up wherever this machine has its users (files, LDAP), and only where one was
// given, or belongs into an error.
#include "loading/owners.hpp"

#include <pwd.h>
#include <spdlog/fmt/fmt.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "onebit/error.hpp"

namespace onebit {
namespace {

constexpr size_t most_record = 1 << 20;  // bytes of a user's record

// lookup(record, buffer, size, found): getpwnam_r or getpwuid_r. NULL: there is no such user. buffer holds the record's texts.
template <class Lookup>
const passwd* found_user(passwd& record, std::vector<char>& buffer, Lookup lookup) {
  passwd* found = nullptr;
  int error = 0;
  do {
    buffer.resize(buffer.empty() ? 1024 : 2 * buffer.size());
    error = lookup(&record, buffer.data(), buffer.size(), &found);
  } while ((error == ERANGE && buffer.size() < most_record) || error == EINTR);
  return error == 0 ? found : nullptr;
}

}  // namespace

uid_t number_of_user(const std::string& user) {
  uid_t number = 0;
  const char* const end = user.data() + user.size();
  if (const auto [stop, error] = std::from_chars(user.data(), end, number);
      stop == end && error == std::errc() && number != static_cast<uid_t>(-1))
    return number;
  passwd record{};
  std::vector<char> buffer;
  const auto by_name = [&](auto... rest) { return getpwnam_r(user.c_str(), rest...); };
  if (!user.empty() && user.find('\0') == std::string::npos)
    if (const passwd* found = found_user(record, buffer, by_name)) return found->pw_uid;
  throw Error(Code::invalid_argument,
              fmt::format("expected a user's name or number, found \"{}\", and this machine has no such user", user));
}

std::string user_label(uid_t number) {
  passwd record{};
  std::vector<char> buffer;
  const passwd* const found = found_user(record, buffer, [&](auto... rest) { return getpwuid_r(number, rest...); });
  return found == nullptr ? fmt::format("user {}", number) : fmt::format("user {} ({})", found->pw_name, number);
}

Owners trusted_owners(const Manifest& manifest) {
  const Settings& plugins = manifest.table("plugins");
  const auto found = plugins.find("trusted_owners");
  Owners owners;
  if (found == plugins.end()) return owners;
  const Setting& setting = found->second;
  const auto* users = std::get_if<std::vector<std::string>>(&setting.value);  // what is none is refused elsewhere
  for (size_t i = 0; users != nullptr && i < users->size(); ++i) {
    const Location& where = i < setting.elements.size() ? setting.elements[i] : setting.where;
    try {
      owners.push_back(number_of_user((*users)[i]));
    } catch (const Error& e) {
      throw Error(e.code(), where.text() + ": plugins.trusted_owners: " + e.what());
    }
  }
  return owners;
}

}  // namespace onebit

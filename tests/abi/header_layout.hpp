// SPDX-License-Identifier: Apache-2.0
// The layout of a C header in the style of abi.h, line by line: its structs with size, alignment and the place of every field,
// the values of its enumerators, its macros and all else that it declares. Numbers are the C compiler's: the header's words are
// read here, and made into a program that prints them. What can't be read is an error, so nothing is left out.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace onebit::abi {

// {"field onebit_part offset", "offset 0 size 8: int64_t offset"}: what it is, and how it is.
struct Line {
  std::string what, how;
};
using Layout = std::vector<Line>;

inline std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error("can't read " + file.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::string squeezed(const std::string& text) {
  const std::string spaces = std::regex_replace(text, std::regex("\\s+"), " ");
  return std::regex_replace(spaces, std::regex("^ | $"), "");
}

inline std::string without_comments(const std::string& text) {
  std::string left;
  for (size_t at = 0, begin; at < text.size();) {
    begin = std::min(text.find("/*", at), text.size());
    left += text.substr(at, begin - at);
    if (begin == text.size()) break;
    at = text.find("*/", begin) + 2;
  }
  return left;
}

// The C program that prints the layout, while it grows.
class LayoutProgram {
 public:
  explicit LayoutProgram(const std::string& header) {
    std::istringstream lines(without_comments(header));
    std::string code;
    for (std::string line; std::getline(lines, line);) {
      if (line.find("#ifdef __cplusplus") == 0)
        while (line.find("#endif") != 0 && std::getline(lines, line)) {
        }
      else if (line.find("#define ") == 0)
        add_macro(line.substr(8));
      else if (line.empty() || line[0] != '#')
        code += line + '\n';
    }
    for (const std::string& declaration : declarations(code)) add(declaration);
  }
  std::string text() const {
    return "#include <stdio.h>\n#include \"header.h\"\nint main(void) {\n" + body_ + "  return 0;\n}\n";
  }

 private:
  // Split at semicolons outside of braces.
  static std::vector<std::string> declarations(const std::string& code) {
    std::vector<std::string> found(1);
    int depth = 0;
    for (const char c : code) {
      depth += c == '{' ? 1 : c == '}' ? -1 : 0;
      if (c == ';' && depth == 0)
        found.emplace_back();
      else
        found.back() += c;
    }
    if (!squeezed(found.back()).empty()) throw std::runtime_error("can't read the header's end: " + squeezed(found.back()));
    found.pop_back();
    return found;
  }

  void print(const std::string& what, const std::string& format, const std::string& arguments = "") {
    body_ += "  printf(\"" + what + "\\t" + format + "\\n\"" + arguments + ");\n";
  }

  void add_macro(const std::string& text) {
    const size_t end = text.find_first_of(" (");
    const std::string quoted = std::regex_replace(squeezed(text), std::regex("[\"\\\\]"), "\\$&");
    print("macro " + text.substr(0, end), std::regex_replace(quoted, std::regex("%"), "%%"));
  }

  void add(const std::string& declaration) {
    static const std::regex of_struct("\\s*typedef struct (\\w+) \\{([^{}]*)\\} (\\w+)\\s*"),
        of_enum("\\s*enum \\{([^{}]*)\\}\\s*"), of_other("\\s*(typedef|ONEBIT_EXPORT)\\b[^{}]*");
    std::smatch found;
    if (std::regex_match(declaration, found, of_struct) && found[1] == found[3])
      add_struct(found[1], found[2]);
    else if (std::regex_match(declaration, found, of_enum))
      add_values(found[1]);
    else if (std::regex_match(declaration, of_other))
      print("declaration " + squeezed(declaration), "");
    else
      throw std::runtime_error("can't read this declaration: " + squeezed(declaration));
  }

  void add_struct(const std::string& name, const std::string& fields) {
    const bool grows = squeezed(fields).find("uint64_t struct_size;") == 0;
    print("struct " + name, std::string(grows ? "grows" : "frozen") + " align %zu size %zu",
          ", _Alignof(" + name + "), sizeof(" + name + ")");
    for (const std::string& field : declarations(fields)) add_field(name, squeezed(field));
  }

  void add_field(const std::string& of, const std::string& field) {
    static const std::regex of_function("[^()]*\\(\\*(\\w+)\\)\\([^()]*\\)"), of_value("[^(),]*\\b(\\w+)(\\[\\w+\\])?");
    std::smatch found;
    if (!std::regex_match(field, found, of_function) && !std::regex_match(field, found, of_value))
      throw std::runtime_error("can't read this field of " + of + ": " + field);
    print("field " + of + " " + found[1].str(), "offset %zu size %zu: " + field,
          ", offsetof(" + of + ", " + found[1].str() + "), sizeof(((" + of + "*)0)->" + found[1].str() + ")");
  }

  void add_values(const std::string& values) {
    static const std::regex of_value("\\s*(\\w+) = \\w+\\s*");
    std::istringstream parts(values);
    std::smatch found;
    for (std::string part; std::getline(parts, part, ',');) {
      if (!std::regex_match(part, found, of_value)) throw std::runtime_error("can't read this value: " + squeezed(part));
      print("value " + found[1].str(), "%lld", ", (long long)" + found[1].str());
    }
  }

  std::string body_;
};

inline Layout layout_from(std::istream& lines) {
  Layout layout;
  for (std::string line; std::getline(lines, line);) {
    const size_t tab = std::min(line.find('\t'), line.size());
    layout.push_back({line.substr(0, tab), tab == line.size() ? "" : line.substr(tab + 1)});
  }
  return layout;
}

// folder: where the program may be built, from a copy of the header in which comments and all else are as they were.
inline Layout layout_of(const std::string& header, const std::filesystem::path& folder) {
  std::ofstream(folder / "header.h") << header;
  std::ofstream(folder / "layout.c") << LayoutProgram(header).text();
  const std::string in = "cd '" + folder.string() + "' && ";
  const std::string command = in + ONEBIT_C_COMPILER " -std=c11 -Wpadded -Werror layout.c -o layout && ./layout > layout.txt";
  if (std::system(command.c_str()) != 0) throw std::runtime_error("can't be compiled: " + command);
  std::ifstream lines(folder / "layout.txt");
  return layout_from(lines);
}

// What a header of the same major version may not have done to an older one; empty when it only grew at the end.
inline std::vector<std::string> breaches(const Layout& older, const Layout& newer) {
  std::vector<std::string> found;
  const auto last_space = [](const std::string& how) { return how.find_last_of(' '); };
  for (const Line& was : older) {
    std::string is;
    bool kept = false;
    for (const Line& line : newer) {
      if (line.what != was.what || kept) continue;
      is = line.how;
      kept = is == was.how;
      const bool grows = was.how.rfind("grows ", 0) == 0 || was.what == "macro ONEBIT_ABI_MINOR";
      const size_t mine = last_space(was.how), its = last_space(is);
      if (grows && was.how.substr(0, mine) == is.substr(0, its))
        kept = std::stoul(is.substr(its + 1)) >= std::stoul(was.how.substr(mine + 1));
    }
    if (kept) continue;
    const bool gone = std::none_of(newer.begin(), newer.end(), [&](const Line& line) { return line.what == was.what; });
    found.push_back(gone ? was.what + " is gone" : was.what + " was `" + was.how + "` and is `" + is + "`");
  }
  return found;
}

}  // namespace onebit::abi

// SPDX-License-Identifier: Apache-2.0
// The ELF reader: truncated, lying and foreign files give an error and never a crash; and with it, what we built is as
// promised.
#include "loading/elf.hpp"

#include <doctest/doctest.h>
#include <elf.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>

#include "onebit/error.hpp"
#include "onebit/registry.hpp"
#include "support/scratch_folder.hpp"

namespace {

namespace fs = std::filesystem;
using onebit::ElfLibrary;

fs::path any_plugin() { return onebit::Registry::default_folder() / "onebit_plugin_threads.so"; }

std::string reading_error(const fs::path& file) {
  try {
    const ElfLibrary library(file);
    return "no error";
  } catch (const onebit::Error& e) {
    CHECK(e.code() == onebit::Code::invalid_argument);
    return e.what();
  }
}

// What becomes of the library when one field of its header says something else.
template <class Field>
std::string error_with(const ScratchFolder& folder, Field Elf64_Ehdr::*field, Field value) {
  std::string bytes = contents_of(any_plugin());
  Elf64_Ehdr header;
  std::memcpy(&header, bytes.data(), sizeof header);
  header.*field = value;
  std::memcpy(bytes.data(), &header, sizeof header);
  return reading_error(folder.file("bent.so", bytes));
}

std::string error_with_ident(const ScratchFolder& folder, size_t index, char value) {
  std::string bytes = contents_of(any_plugin());
  bytes[index] = value;
  return reading_error(folder.file("bent.so", bytes));
}

}  // namespace

TEST_CASE("every built-in plugin exports its entry and nothing else") {
  size_t plugins = 0;
  for (const auto& entry : fs::directory_iterator(onebit::Registry::default_folder())) {
    if (entry.path().extension() != ".so") continue;
    CAPTURE(entry.path());
    CHECK(ElfLibrary(entry.path()).exported == std::vector<std::string>{"onebit_plugin_entry_v1"});
    ++plugins;
  }
  CHECK(plugins >= 4);
}

TEST_CASE("the core needs neither libtorch, MPI, CUDA nor a plugin") {
  const ElfLibrary core(onebit::Registry::default_folder() / ".." / ".." / "libonebit_core.so");
  CHECK(core.needed.size() > 1);
  CHECK(std::find(core.exported.begin(), core.exported.end(), "onebit_plugin_entry_v1") == core.exported.end());
  for (const std::string& name : core.needed)
    for (const char* banned : {"torch", "c10", "mpi", "cuda", "nccl", "plugin"}) {
      CAPTURE(name);
      CHECK(name.find(banned) == std::string::npos);
    }
}

TEST_CASE("files that are something else") {
  const ScratchFolder folder;
  CHECK(reading_error(folder.file("empty.so", "")) == "the file is empty");
  CHECK(reading_error(folder.file("text.so", "hello, I am a plugin\n")) == "not an ELF file; expected a shared library");
  CHECK(reading_error(folder.file("short.so",
                                  "\x7f"
                                  "EL")) == "not an ELF file; expected a shared library");
  CHECK(reading_error(folder / "absent.so") == "the file can't be read");
  CHECK(error_with_ident(folder, EI_CLASS, ELFCLASS32) == "not a 64-bit library");
  CHECK(error_with_ident(folder, EI_DATA, ELFDATA2MSB) == "built for a machine of the other byte order");
  const std::string foreign = error_with<Elf64_Half>(folder, &Elf64_Ehdr::e_machine, EM_S390);
  CHECK(foreign.find("built for machine 22, this machine is ") == 0);
  CHECK(error_with<Elf64_Half>(folder, &Elf64_Ehdr::e_type, ET_REL) == "not a shared library but another kind of ELF file");
}

TEST_CASE("a library truncated at any size is refused") {
  const ScratchFolder folder;
  const std::string bytes = contents_of(any_plugin());
  const fs::path file = folder.file("cut.so", bytes);
  CHECK(reading_error(file) == "no error");
  // Each size where something begins or ends, and a sample of those between.
  for (size_t size = bytes.size() - 1; size > 0; size -= size > 8192 ? std::min<size_t>(61, size - 8192) : 1) {
    fs::resize_file(file, size);
    CAPTURE(size);
    CHECK(reading_error(file) != "no error");
  }
}

TEST_CASE("lying headers") {
  const ScratchFolder folder;
  CHECK(error_with<Elf64_Off>(folder, &Elf64_Ehdr::e_shoff, ~Elf64_Off{0}).find("its section headers reach beyond") !=
        std::string::npos);
  CHECK(error_with<Elf64_Off>(folder, &Elf64_Ehdr::e_phoff, Elf64_Off{1} << 63).find("its program headers reach beyond") !=
        std::string::npos);
  CHECK(error_with<Elf64_Half>(folder, &Elf64_Ehdr::e_shnum, 0xFEFF).find("section headers reach beyond") != std::string::npos);
  CHECK(error_with<Elf64_Half>(folder, &Elf64_Ehdr::e_phentsize, 1).find("program headers have an unknown size") !=
        std::string::npos);
  CHECK(error_with<Elf64_Half>(folder, &Elf64_Ehdr::e_shentsize, 1).find("section headers have an unknown size") !=
        std::string::npos);
}

TEST_CASE("a second table of symbols") {
  const ScratchFolder folder;
  std::string bytes = contents_of(any_plugin());
  Elf64_Ehdr header;
  std::memcpy(&header, bytes.data(), sizeof header);
  bool bent = false;
  for (size_t at = header.e_shoff; !bent && at + sizeof(Elf64_Shdr) <= bytes.size(); at += sizeof(Elf64_Shdr)) {
    Elf64_Shdr section;
    std::memcpy(&section, bytes.data() + at, sizeof section);
    if (section.sh_type != SHT_PROGBITS) continue;
    section.sh_type = SHT_DYNSYM;
    std::memcpy(bytes.data() + at, &section, sizeof section);
    bent = true;
  }
  REQUIRE(bent);
  CHECK(reading_error(folder.file("bent.so", bytes)) == "the file is damaged: it has two sections where a library has one");
}

TEST_CASE("names that would fill the memory: thousands of symbols share one long name") {
  constexpr size_t kSymbols = 4000, kName = 65536;
  struct Library {
    Elf64_Ehdr header{};
    Elf64_Shdr sections[3]{};
    Elf64_Sym symbols[kSymbols]{};
    char name[kName]{};
  };
  const auto library = std::make_unique<Library>();
  const std::string sound = contents_of(any_plugin());
  std::memcpy(&library->header, sound.data(), sizeof library->header);
  library->header.e_phnum = 0;
  library->header.e_shnum = 3;
  library->header.e_shoff = offsetof(Library, sections);
  library->sections[1].sh_type = SHT_DYNSYM;
  library->sections[1].sh_offset = offsetof(Library, symbols);
  library->sections[1].sh_size = sizeof library->symbols;
  library->sections[1].sh_link = 2;
  library->sections[2].sh_type = SHT_STRTAB;
  library->sections[2].sh_offset = offsetof(Library, name);
  library->sections[2].sh_size = kName;
  for (Elf64_Sym& symbol : library->symbols) {
    symbol.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
    symbol.st_shndx = 1;
  }
  std::memset(library->name, 'a', kName - 1);
  const ScratchFolder folder;
  const std::string_view bytes(reinterpret_cast<const char*>(library.get()), sizeof *library);
  CHECK(reading_error(folder.file("many.so", bytes)) == "the file is damaged: its names take more room than the file");
}

TEST_CASE("any bent byte of the tables gives an answer") {
  const ScratchFolder folder;
  const std::string bytes = contents_of(any_plugin());
  Elf64_Ehdr header;
  std::memcpy(&header, bytes.data(), sizeof header);
  const fs::path file = folder.file("bent.so", bytes);
  const auto bend = [&](size_t from, size_t to) {
    std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
    for (size_t i = from; i < std::min(to, bytes.size()); ++i) {
      out.seekp(static_cast<std::streamoff>(i)).put(static_cast<char>(~bytes[i])).flush();
      CHECK(reading_error(file) != "");
      out.seekp(static_cast<std::streamoff>(i)).put(bytes[i]).flush();
    }
  };
  bend(4, sizeof header + 56 * 4);
  bend(header.e_shoff, bytes.size());
}

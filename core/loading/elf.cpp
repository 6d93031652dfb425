// SPDX-License-Identifier: Apache-2.0
// ELF64, in this machine's byte order, as the dynamic loader would accept it here.
#include "loading/elf.hpp"

#include <elf.h>
#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "loading/refuse.hpp"
#include "onebit/error.hpp"

namespace onebit {
namespace {

#if defined(__x86_64__)
constexpr Elf64_Half this_machine = EM_X86_64;
#elif defined(__aarch64__)
constexpr Elf64_Half this_machine = EM_AARCH64;
#elif defined(__riscv)
constexpr Elf64_Half this_machine = EM_RISCV;
#elif defined(__powerpc64__)
constexpr Elf64_Half this_machine = EM_PPC64;
#else
#error "name this machine's ELF number here"
#endif

std::string machine_name(Elf64_Half machine) {
  switch (machine) {
    case EM_386:
      return "x86 (32 bits)";
    case EM_X86_64:
      return "x86-64";
    case EM_AARCH64:
      return "AArch64";
    case EM_ARM:
      return "ARM (32 bits)";
    case EM_RISCV:
      return "RISC-V";
    case EM_PPC64:
      return "PowerPC (64 bits)";
    default:
      return fmt::format("machine {}", machine);
  }
}

class Reader {
 public:
  explicit Reader(int descriptor) : descriptor_(descriptor) {
    struct stat status {};
    if (fstat(descriptor, &status) != 0) refuse("the file can't be read");
    size_ = static_cast<uint64_t>(status.st_size);
    if (size_ == 0) refuse("the file is empty");
  }

  uint64_t size() const { return size_; }
  bool inside(uint64_t offset, uint64_t bytes) const { return offset <= size_ && bytes <= size_ - offset; }

  template <class T>
  std::vector<T> array(uint64_t offset, uint64_t count, const char* what) const {
    if (count > size_ / sizeof(T) || !inside(offset, count * sizeof(T)))
      refuse(fmt::format("the file is truncated or damaged: its {} reach beyond its {} bytes", what, size_));
    std::vector<T> items(count);
    read(items.data(), count * sizeof(T), offset, what);
    return items;
  }

 private:
  void read(void* to, uint64_t bytes, uint64_t offset, const char* what) const {
    while (bytes > 0) {
      const ssize_t got = pread(descriptor_, to, bytes, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) refuse(fmt::format("reading its {} failed", what));
      to = static_cast<char*>(to) + got;
      offset += static_cast<uint64_t>(got);
      bytes -= static_cast<uint64_t>(got);
    }
  }

  int descriptor_;
  uint64_t size_ = 0;
};

Elf64_Ehdr read_header(const Reader& file) {
  const std::vector<char> magic = file.array<char>(0, std::min<uint64_t>(file.size(), SELFMAG), "first bytes");
  if (magic.size() < SELFMAG || std::memcmp(magic.data(), ELFMAG, SELFMAG) != 0)
    refuse("not an ELF file; expected a shared library");
  const auto ident = file.array<unsigned char>(0, EI_NIDENT, "first bytes");
  if (ident[EI_CLASS] != ELFCLASS64) refuse("not a 64-bit library");
  const auto order = std::endian::native == std::endian::little ? ELFDATA2LSB : ELFDATA2MSB;
  if (ident[EI_DATA] != order) refuse("built for a machine of the other byte order");
  const Elf64_Ehdr header = file.array<Elf64_Ehdr>(0, 1, "header")[0];
  if (header.e_machine != this_machine)
    refuse("built for " + machine_name(header.e_machine) + ", this machine is " + machine_name(this_machine));
  if (header.e_type != ET_DYN) refuse("not a shared library but another kind of ELF file");
  return header;
}

// What the loader would map must be there: a mapped page beyond the end of the file ends the process when it is touched.
std::vector<Elf64_Phdr> checked_segments(const Reader& file, const Elf64_Ehdr& header) {
  if (header.e_phentsize != sizeof(Elf64_Phdr)) refuse("the file is damaged: its program headers have an unknown size");
  std::vector<Elf64_Phdr> segments = file.array<Elf64_Phdr>(header.e_phoff, header.e_phnum, "program headers");
  for (const Elf64_Phdr& segment : segments)
    if (segment.p_type != PT_NULL && !file.inside(segment.p_offset, segment.p_filesz))
      refuse(fmt::format("the file is truncated: a segment reaches beyond its {} bytes", file.size()));
  return segments;
}

// A library has one section of either type.
const Elf64_Shdr* only(const std::vector<Elf64_Shdr>& sections, Elf64_Word type) {
  const Elf64_Shdr* found = nullptr;
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != type) continue;
    if (found != nullptr) refuse("the file is damaged: it has two sections where a library has one");
    found = &section;
  }
  return found;
}

// A string table. Entries that name one long text over and over would fill the memory: there is an end.
class Names {
 public:
  Names(const Reader& file, uint64_t offset, uint64_t size)
      : strings_(file.array<char>(offset, size, "dynamic strings")), left_(4 * file.size()) {}
  std::string at(uint64_t offset) {
    if (offset >= strings_.size()) refuse("the file is damaged: a name lies outside of its string table");
    const char* const begin = strings_.data() + offset;
    const size_t size = strnlen(begin, strings_.size() - offset);
    if (size > left_) refuse("the file is damaged: its names take more room than the file");
    left_ -= size;
    return std::string(begin, size);
  }

 private:
  std::vector<char> strings_;
  uint64_t left_;
};

Names names_of(const Reader& file, const std::vector<Elf64_Shdr>& sections, const Elf64_Shdr& section) {
  if (section.sh_link >= sections.size()) refuse("the file is damaged: a section names one that is not there");
  const Elf64_Shdr& link = sections[section.sh_link];
  return {file, link.sh_offset, link.sh_size};
}

// Where the file has what will be mapped at an address.
uint64_t offset_of(const std::vector<Elf64_Phdr>& segments, uint64_t address) {
  for (const Elf64_Phdr& segment : segments)
    if (segment.p_type == PT_LOAD && address >= segment.p_vaddr && address - segment.p_vaddr < segment.p_filesz)
      return segment.p_offset + (address - segment.p_vaddr);
  refuse("the file is damaged: its dynamic entries name an address that is not in it");
}

// The entries that the dynamic loader reads, which asks no section.
std::vector<Elf64_Dyn> dynamic_entries(const Reader& file, const std::vector<Elf64_Phdr>& segments) {
  std::vector<Elf64_Dyn> entries;
  for (const Elf64_Phdr& segment : segments)
    if (segment.p_type == PT_DYNAMIC)
      entries = file.array<Elf64_Dyn>(segment.p_offset, segment.p_filesz / sizeof(Elf64_Dyn), "dynamic entries");
  const auto end = std::find_if(entries.begin(), entries.end(), [](const Elf64_Dyn& entry) { return entry.d_tag == DT_NULL; });
  entries.erase(end, entries.end());
  return entries;
}

std::vector<std::string> search_paths_of(const Reader& file, const std::vector<Elf64_Phdr>& segments) {
  uint64_t table = 0, size = 0;
  std::vector<uint64_t> offsets;
  for (const Elf64_Dyn& entry : dynamic_entries(file, segments)) {
    if (entry.d_tag == DT_STRTAB) table = entry.d_un.d_ptr;
    if (entry.d_tag == DT_STRSZ) size = entry.d_un.d_val;
    if (entry.d_tag == DT_RUNPATH || entry.d_tag == DT_RPATH) offsets.push_back(entry.d_un.d_val);
  }
  std::vector<std::string> paths;
  if (offsets.empty()) return paths;
  Names names(file, offset_of(segments, table), size);
  for (const uint64_t offset : offsets) paths.push_back(names.at(offset));
  return paths;
}

bool is_export(const Elf64_Sym& symbol) {
  const int binding = ELF64_ST_BIND(symbol.st_info), visibility = ELF64_ST_VISIBILITY(symbol.st_other);
  return symbol.st_shndx != SHN_UNDEF && binding != STB_LOCAL && (visibility == STV_DEFAULT || visibility == STV_PROTECTED);
}

}  // namespace

ElfLibrary::ElfLibrary(const std::filesystem::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) refuse("the file can't be read");
  try {
    *this = ElfLibrary(descriptor);
  } catch (...) {
    close(descriptor);
    throw;
  }
  close(descriptor);
}

ElfLibrary::ElfLibrary(int descriptor) {
  const Reader file(descriptor);
  const Elf64_Ehdr header = read_header(file);
  search_paths = search_paths_of(file, checked_segments(file, header));
  has_sections = header.e_shnum != 0;
  if (has_sections && header.e_shentsize != sizeof(Elf64_Shdr))
    refuse("the file is damaged: its section headers have an unknown size");
  const auto sections = file.array<Elf64_Shdr>(header.e_shoff, header.e_shnum, "section headers");
  if (const Elf64_Shdr* symbols = only(sections, SHT_DYNSYM)) {
    Names names = names_of(file, sections, *symbols);
    for (const Elf64_Sym& symbol : file.array<Elf64_Sym>(symbols->sh_offset, symbols->sh_size / sizeof(Elf64_Sym), "symbols"))
      if (is_export(symbol)) {
        exported.push_back(names.at(symbol.st_name));
        if (ELF64_ST_BIND(symbol.st_info) == STB_GNU_UNIQUE) unique.push_back(exported.back());
      }
  }
  if (const Elf64_Shdr* dynamic = only(sections, SHT_DYNAMIC)) {
    Names names = names_of(file, sections, *dynamic);
    for (const Elf64_Dyn& entry :
         file.array<Elf64_Dyn>(dynamic->sh_offset, dynamic->sh_size / sizeof(Elf64_Dyn), "dynamic entries"))
      if (entry.d_tag == DT_NEEDED) needed.push_back(names.at(entry.d_un.d_val));
  }
}

}  // namespace onebit

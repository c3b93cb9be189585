// Arrays in NumPy's files (.npy, version 1.0), little-endian, row by row.
#pragma once

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "mien_bundle.h"

namespace npy {

struct Kind {
  mien_type type;
  const char *descr;
  size_t bytes;
};

constexpr Kind kKinds[] = {{MIEN_FLOAT32, "<f4", 4},
                           {MIEN_UINT8, "|u1", 1},
                           {MIEN_INT32, "<i4", 4},
                           {MIEN_INT64, "<i8", 8},
                           {MIEN_BOOL, "|b1", 1}};
constexpr char kMagic[] = "\x93NUMPY\x01";  // then the minor version, 0
constexpr size_t kHead = 10;                // bytes before the header's text

struct Array {
  mien_array stated{};
  std::vector<char> bytes;
};

inline size_t size_of(const mien_array &array, size_t bytes) {
  size_t size = bytes;
  for (size_t i = 0; i < array.rank; ++i) size *= static_cast<size_t>(array.shape[i]);
  return size;
}

inline const std::string between(const std::string &text, const char *before, const char *after) {
  const size_t from = text.find(before);
  const size_t to = from == std::string::npos ? from : text.find(after, from + std::string(before).size());
  if (to == std::string::npos) throw std::runtime_error("no header of a .npy file");
  return text.substr(from + std::string(before).size(), to - from - std::string(before).size());
}

inline Array read(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::string head(kHead, '\0');
  if (!file.read(head.data(), kHead) || head.compare(0, 7, kMagic, 7) != 0)
    throw std::runtime_error(path + " is no .npy file of version 1");
  const size_t length = static_cast<uint8_t>(head[8]) + 256u * static_cast<uint8_t>(head[9]);
  std::string text(length, '\0');
  file.read(text.data(), static_cast<std::streamsize>(length));
  if (text.find("'fortran_order': False") == std::string::npos)
    throw std::runtime_error(path + " is not stored row by row");
  Array array;
  const std::string descr = between(text, "'descr': '", "'");
  const Kind *kind = nullptr;
  for (const Kind &known : kKinds)
    if (descr == known.descr) kind = &known;
  if (kind == nullptr) throw std::runtime_error(path + " has elements of type " + descr);
  array.stated.type = kind->type;
  std::string shape = between(text, "'shape': (", ")");
  for (size_t at = 0; at < shape.size();) {
    const size_t comma = std::min(shape.find(',', at), shape.size());
    const std::string number = shape.substr(at, comma - at);
    if (number.find_first_of("0123456789") != std::string::npos) {
      if (array.stated.rank == MIEN_MAX_RANK) throw std::runtime_error(path + " has too many dimensions");
      array.stated.shape[array.stated.rank++] = std::stoll(number);
    }
    at = comma + 1;
  }
  array.bytes.resize(size_of(array.stated, kind->bytes));
  if (!file.read(array.bytes.data(), static_cast<std::streamsize>(array.bytes.size())))
    throw std::runtime_error(path + " ends early");
  return array;
}

inline void write(const std::string &path, const mien_array &array) {
  const Kind *kind = kKinds;
  while (kind->type != array.type) ++kind;
  std::string shape;
  for (size_t i = 0; i < array.rank; ++i) shape += std::to_string(array.shape[i]) + ",";
  std::string text = std::string("{'descr': '") + kind->descr +
                     "', 'fortran_order': False, 'shape': (" + shape + "), }";
  text.append(63 - (kHead + text.size()) % 64, ' ').push_back('\n');  // data begins at 64 bytes
  std::ofstream file(path, std::ios::binary);
  file.write(kMagic, 7).put('\0');
  file.put(static_cast<char>(text.size() % 256)).put(static_cast<char>(text.size() / 256));
  file << text;
  file.write(static_cast<const char *>(array.data),
             static_cast<std::streamsize>(size_of(array, kind->bytes)));
  if (!file.flush()) throw std::runtime_error(path + " cannot be written");
}

}  // namespace npy

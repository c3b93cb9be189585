// Run one graph of a bundle on arrays in .npy files.
//
//   mien_run BUNDLE GRAPH [NAME=FILE.npy ...] [-o FOLDER]
//
// Without inputs it says what the graph takes and makes. Pictures are also written as .ppm.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "mien_bundle.h"
#include "npy.hpp"

namespace {

constexpr const char *kTypeNames[] = {"float32", "uint8", "int32", "int64", "bool"};

void say(const char *side, const mien_port &port) {
  std::printf("%s %s %s [", side, port.name, kTypeNames[port.type]);
  for (size_t i = 0; i < port.rank; ++i)
    std::printf(port.shape[i] < 0 ? "%s*" : "%s%lld", i != 0 ? ", " : "",
                static_cast<long long>(port.shape[i]));
  std::printf("]\n");
}

// uint8 [1, H, W, 3] as a portable pixmap.
void write_picture(const std::string &path, const mien_array &array) {
  if (array.type != MIEN_UINT8 || array.rank != 4 || array.shape[0] != 1 || array.shape[3] != 3)
    return;
  std::ofstream file(path, std::ios::binary);
  file << "P6\n" << array.shape[2] << " " << array.shape[1] << "\n255\n";
  file.write(static_cast<const char *>(array.data),
             static_cast<std::streamsize>(npy::size_of(array, 1)));
}

int failed() {
  std::fprintf(stderr, "mien_run: %s\n", mien_last_error());
  return 1;
}

int run(const mien_graph *graph, const std::vector<std::string> &given, const std::string &folder) {
  std::vector<std::string> names;
  std::vector<npy::Array> arrays;
  for (const std::string &one : given) {
    const size_t equals = one.find('=');
    if (equals == std::string::npos) throw std::runtime_error("an input is NAME=FILE.npy, not " + one);
    names.push_back(one.substr(0, equals));
    arrays.push_back(npy::read(one.substr(equals + 1)));
  }
  std::vector<mien_array> inputs;
  for (size_t i = 0; i < arrays.size(); ++i) {
    inputs.push_back(arrays[i].stated);
    inputs.back().name = names[i].c_str();
    inputs.back().data = arrays[i].bytes.data();
  }
  mien_result *result = nullptr;
  if (mien_run(graph, inputs.data(), inputs.size(), &result) != MIEN_OK) return failed();
  for (size_t i = 0; i < mien_result_count(result); ++i) {
    const mien_array &array = *mien_result_array(result, i);
    npy::write(folder + "/" + array.name + ".npy", array);
    write_picture(folder + "/" + array.name + ".ppm", array);
  }
  mien_free(result);
  return 0;
}

}  // namespace

int main(int count, char **words) {
  std::vector<std::string> given(words + 1, words + count);
  std::string folder = ".";
  const auto option = std::find(given.begin(), given.end(), "-o");
  if (option != given.end() && option + 1 != given.end()) {
    folder = option[1];
    given.erase(option, option + 2);
  }
  if (given.size() < 2) {
    std::fprintf(stderr, "mien_run BUNDLE GRAPH [NAME=FILE.npy ...] [-o FOLDER]\n");
    return 2;
  }
  mien_graph *graph = nullptr;
  if (mien_open(given[0].c_str(), given[1].c_str(), 1, &graph) != MIEN_OK) return failed();
  int status = 0;
  if (given.size() == 2) {
    for (size_t i = 0; i < mien_input_count(graph); ++i) say("takes", *mien_input(graph, i));
    for (size_t i = 0; i < mien_output_count(graph); ++i) say("makes", *mien_output(graph, i));
  } else {
    try {
      status = run(graph, {given.begin() + 2, given.end()}, folder);
    } catch (const std::exception &error) {
      std::fprintf(stderr, "mien_run: %s\n", error.what());
      status = 1;
    }
  }
  mien_close(graph);
  return status;
}

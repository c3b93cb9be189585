// mien_bundle.h over ONNX Runtime's C API, on the CPU.
#include "mien_bundle.h"

#include <onnxruntime_c_api.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "json.hpp"

namespace {

constexpr int kSchema = 1;  // of bundle.json

thread_local std::string last_error;

// What a call returns instead of a result.
struct Refused : std::runtime_error {
  Refused(mien_status code, const std::string &why) : std::runtime_error(why), status(code) {}
  mien_status status;
};

const OrtApi &api() {
  static const OrtApi *found = OrtGetApiBase()->GetApi(ORT_API_VERSION);
  if (found == nullptr)
    throw Refused(MIEN_RUNTIME, std::string("ONNX Runtime ") + OrtGetApiBase()->GetVersionString() +
                                    " is older than the headers this was built with");
  return *found;
}

void check(OrtStatus *status) {
  if (status == nullptr) return;
  const std::string why = api().GetErrorMessage(status);
  api().ReleaseStatus(status);
  throw Refused(MIEN_RUNTIME, why);
}

// Objects of ONNX Runtime, which are given back with what releases them.
template <typename T>
using Owned = std::unique_ptr<T, void (*)(T *)>;

struct Type {
  mien_type ours;
  ONNXTensorElementDataType theirs;
  const char *name;
  size_t bytes;
};

constexpr Type kTypes[] = {
    {MIEN_FLOAT32, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, "float32", 4},
    {MIEN_UINT8, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, "uint8", 1},
    {MIEN_INT32, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, "int32", 4},
    {MIEN_INT64, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, "int64", 8},
    {MIEN_BOOL, ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, "bool", 1},
};

template <typename Same>
const Type &type_where(Same same) {
  for (const Type &type : kTypes)
    if (same(type)) return type;
  throw Refused(MIEN_RUNTIME, "a tensor of a type that this client does not have");
}

const Type &type_of(mien_type ours) {
  return type_where([&](const Type &type) { return type.ours == ours; });
}

const Type &type_named(const std::string &name) {
  return type_where([&](const Type &type) { return name == type.name; });
}

// A port with its names: of itself, and of its sizes that are not fixed.
struct Port {
  std::string name;
  std::vector<std::string> sizes;  // "" where fixed
  mien_port stated{};
};

std::vector<Port> ports(const json::Value &tensors) {
  std::vector<Port> found(tensors.list.size());
  for (size_t i = 0; i < found.size(); ++i) {
    const json::Value &tensor = tensors.list[i];
    Port &port = found[i];
    port.name = tensor.at("name").text;
    port.stated.type = type_named(tensor.at("dtype").text).ours;
    for (const json::Value &size : tensor.at("shape").list) {
      if (port.sizes.size() == MIEN_MAX_RANK) throw Refused(MIEN_NO_BUNDLE, "too many dimensions");
      port.stated.shape[port.sizes.size()] =
          size.text.empty() ? static_cast<int64_t>(size.number) : -1;
      port.sizes.push_back(size.text);
    }
    port.stated.rank = port.sizes.size();
  }
  for (Port &port : found) port.stated.name = port.name.c_str();
  return found;
}

std::string read_file(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Refused(MIEN_NO_BUNDLE, "there is no " + path);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

std::string sizes(const int64_t *shape, size_t rank) {
  std::string text = "[";
  for (size_t i = 0; i < rank; ++i)
    text += (i != 0 ? ", " : "") + (shape[i] < 0 ? std::string("any") : std::to_string(shape[i]));
  return text + "]";
}

size_t count_of(const int64_t *shape, size_t rank) {
  size_t count = 1;
  for (size_t i = 0; i < rank; ++i) count *= static_cast<size_t>(shape[i]);
  return count;
}

// Whether an array is what a port takes; sizes of one name must be equal in all arrays.
void check_array(const mien_array &array, const Port &port, std::map<std::string, int64_t> &known) {
  bool fits = array.type == port.stated.type && array.rank == port.stated.rank &&
              array.data != nullptr;
  for (size_t i = 0; fits && i < array.rank; ++i) {
    int64_t expected = port.stated.shape[i];
    if (expected < 0) expected = known.emplace(port.sizes[i], array.shape[i]).first->second;
    fits = array.shape[i] == expected && expected > 0;
  }
  if (!fits)
    throw Refused(MIEN_BAD_INPUT, "input " + port.name + " is " + type_of(array.type).name + " " +
                                      sizes(array.shape, array.rank) + ", expected " +
                                      type_of(port.stated.type).name + " " +
                                      sizes(port.stated.shape, port.stated.rank));
}

void check_finite(const mien_array &array) {
  if (array.type != MIEN_FLOAT32) return;
  const auto *values = static_cast<const float *>(array.data);
  for (size_t i = 0; i < count_of(array.shape, array.rank); ++i)
    if (!std::isfinite(values[i]))
      throw Refused(MIEN_NOT_FINITE, std::string("output ") + array.name + " holds NaN or infinity");
}

template <typename Work>
mien_status guarded(Work work) {
  try {
    work();
    last_error.clear();
    return MIEN_OK;
  } catch (const Refused &refused) {
    last_error = refused.what();
    return refused.status;
  } catch (const std::exception &error) {
    last_error = error.what();
    return MIEN_RUNTIME;
  }
}

}  // namespace

struct mien_graph {
  std::vector<Port> inputs, outputs;
  Owned<OrtEnv> env{nullptr, nullptr};
  Owned<OrtSession> session{nullptr, nullptr};
};

struct mien_result {
  std::vector<Owned<OrtValue>> values;
  std::vector<mien_array> arrays;
};

namespace {

json::Value manifest_of(const std::string &folder) {
  const std::string path = folder + "/bundle.json", text = read_file(path);
  json::Value manifest;
  try {
    manifest = json::parse(text);
    const auto version = static_cast<int>(manifest.at("schema_version").number);
    if (version != kSchema)
      throw Refused(MIEN_OTHER_SCHEMA, path + " has schema version " + std::to_string(version) +
                                           ", this client reads " + std::to_string(kSchema));
  } catch (const Refused &) {
    throw;
  } catch (const std::exception &error) {
    throw Refused(MIEN_NO_BUNDLE, path + " is no manifest: " + error.what());
  }
  return manifest;
}

std::unique_ptr<mien_graph> open(const std::string &folder, const std::string &name, int threads) {
  const json::Value manifest = manifest_of(folder);
  const auto &graphs = manifest.at("graphs").object;
  const auto found = graphs.find(name);
  if (found == graphs.end()) {
    std::string known;
    for (const auto &graph : graphs) known += (known.empty() ? "" : ", ") + graph.first;
    throw Refused(MIEN_NO_GRAPH, "no graph " + name + ". There are: " + known);
  }
  auto graph = std::make_unique<mien_graph>();
  graph->inputs = ports(found->second.at("inputs"));
  graph->outputs = ports(found->second.at("outputs"));

  OrtEnv *env = nullptr;
  check(api().CreateEnv(ORT_LOGGING_LEVEL_ERROR, "mien", &env));
  graph->env = {env, api().ReleaseEnv};
  OrtSessionOptions *options = nullptr;
  check(api().CreateSessionOptions(&options));
  const Owned<OrtSessionOptions> held{options, api().ReleaseSessionOptions};
  if (threads > 0) check(api().SetIntraOpNumThreads(options, threads));
  // The file's name is a plain one beside the manifest; its weights lie in the same folder.
  // A path's own characters are wide on Windows, as ONNX Runtime wants them there.
  const auto path = std::filesystem::path(folder) / found->second.at("file").text;
  OrtSession *session = nullptr;
  check(api().CreateSession(env, path.c_str(), options, &session));
  graph->session = {session, api().ReleaseSession};
  return graph;
}

Owned<OrtValue> value_of(const mien_array &array, const OrtMemoryInfo *memory) {
  const Type &type = type_of(array.type);
  OrtValue *value = nullptr;
  check(api().CreateTensorWithDataAsOrtValue(
      memory, const_cast<void *>(array.data), count_of(array.shape, array.rank) * type.bytes,
      array.shape, array.rank, type.theirs, &value));
  return {value, api().ReleaseValue};
}

mien_array array_of(OrtValue *value, const char *name) {
  OrtTensorTypeAndShapeInfo *info = nullptr;
  check(api().GetTensorTypeAndShape(value, &info));
  const Owned<OrtTensorTypeAndShapeInfo> held{info, api().ReleaseTensorTypeAndShapeInfo};
  mien_array array{};
  array.name = name;
  ONNXTensorElementDataType theirs{};
  check(api().GetTensorElementType(info, &theirs));
  array.type = type_where([&](const Type &type) { return type.theirs == theirs; }).ours;
  check(api().GetDimensionsCount(info, &array.rank));
  if (array.rank > MIEN_MAX_RANK) throw Refused(MIEN_RUNTIME, "too many dimensions");
  check(api().GetDimensions(info, array.shape, array.rank));
  void *data = nullptr;
  check(api().GetTensorMutableData(value, &data));
  array.data = data;
  return array;
}

std::unique_ptr<mien_result> run(const mien_graph &graph, const mien_array *inputs, size_t count) {
  std::map<std::string, const mien_array *> given;
  for (size_t i = 0; i < count; ++i) given[inputs[i].name] = &inputs[i];
  OrtMemoryInfo *memory = nullptr;
  check(api().CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
  const Owned<OrtMemoryInfo> held{memory, api().ReleaseMemoryInfo};

  std::map<std::string, int64_t> known;
  std::vector<Owned<OrtValue>> values;
  std::vector<const OrtValue *> feeds;
  std::vector<const char *> names, wanted;
  for (const Port &port : graph.inputs) {
    const auto found = given.find(port.name);
    if (found == given.end()) throw Refused(MIEN_BAD_INPUT, "input " + port.name + " is missing");
    check_array(*found->second, port, known);
    values.push_back(value_of(*found->second, memory));
    feeds.push_back(values.back().get());
    names.push_back(port.stated.name);
    given.erase(found);
  }
  if (!given.empty()) throw Refused(MIEN_BAD_INPUT, "there is no input " + given.begin()->first);

  for (const Port &port : graph.outputs) wanted.push_back(port.stated.name);
  std::vector<OrtValue *> made(wanted.size(), nullptr);
  check(api().Run(graph.session.get(), nullptr, names.data(), feeds.data(), feeds.size(),
                  wanted.data(), wanted.size(), made.data()));
  auto result = std::make_unique<mien_result>();
  for (OrtValue *value : made) result->values.emplace_back(value, api().ReleaseValue);
  for (size_t i = 0; i < made.size(); ++i) {
    result->arrays.push_back(array_of(made[i], wanted[i]));
    check_finite(result->arrays.back());
  }
  return result;
}

}  // namespace

extern "C" {

mien_status mien_open(const char *folder, const char *graph, int threads, mien_graph **opened) {
  return guarded([&] { *opened = open(folder, graph, threads).release(); });
}

void mien_close(mien_graph *graph) { delete graph; }

size_t mien_input_count(const mien_graph *graph) { return graph->inputs.size(); }
size_t mien_output_count(const mien_graph *graph) { return graph->outputs.size(); }
const mien_port *mien_input(const mien_graph *graph, size_t index) {
  return &graph->inputs[index].stated;
}
const mien_port *mien_output(const mien_graph *graph, size_t index) {
  return &graph->outputs[index].stated;
}

mien_status mien_run(const mien_graph *graph, const mien_array *inputs, size_t count,
                     mien_result **made) {
  return guarded([&] { *made = run(*graph, inputs, count).release(); });
}

size_t mien_result_count(const mien_result *result) { return result->arrays.size(); }
const mien_array *mien_result_array(const mien_result *result, size_t index) {
  return &result->arrays[index];
}
const mien_array *mien_result_named(const mien_result *result, const char *name) {
  for (const mien_array &array : result->arrays)
    if (std::strcmp(array.name, name) == 0) return &array;
  return nullptr;
}
void mien_free(mien_result *result) { delete result; }

const char *mien_last_error(void) { return last_error.c_str(); }
}

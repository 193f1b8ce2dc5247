// Runs the method `forward` of a .pte, a process for it. No torch, no Python.
//
//   runner MODEL.pte [--one-thread]                    images on standard input to logits on standard output
//   runner MODEL.pte... --inferences N [--one-thread]  N inferences of each with made-up inputs, to count instructions
//
// It speaks the protocol of `converters/process.py`. What goes wrong is the last line on standard error, with exit
// status 1. The file is not trusted: what the runtime can verify, it verifies.
#include <executorch/extension/module/module.h>
#include <executorch/extension/threadpool/threadpool_guard.h>
#include <executorch/runtime/platform/runtime.h>

#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>
#include <string>
#include <vector>

namespace {

using executorch::aten::ScalarType;
using executorch::extension::Module;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::Program;
using executorch::runtime::Tag;
using executorch::runtime::TensorInfo;

constexpr int64_t MOST_NUMBERS = int64_t{1} << 30;  // of a tensor: 4 GB, beyond any image

// Hints that no processor has given a meaning to do nothing. In a log of what was executed they show where an
// inference begins and ends (`instructions.BEGIN` and `END`).
inline void begin() { asm volatile("hint #100" ::: "memory"); }
inline void end() { asm volatile("hint #101" ::: "memory"); }

[[noreturn]] void fail(const std::string& what) {
  fprintf(stderr, "%s\n", what.c_str());
  fflush(stderr);
  _Exit(1);  // without destructors: a damaged program may have left them nothing to rely on
}

void check(Error error, const char* what) {
  if (error != Error::Ok) {
    const char* name = executorch::runtime::to_string(error);
    char number[32];
    snprintf(number, sizeof number, "%#x", static_cast<unsigned>(error));
    fail(std::string(what) + ": " + (strncmp(name, "Error::", 7) ? name : name + 7) + " (" + number + ")");
  }
}

template <typename T>
T take(executorch::runtime::Result<T> result, const char* what) {
  check(result.error(), what);
  return std::move(result.get());
}

// An input or output tensor of single precision, with its storage.
struct Floats {
  std::vector<int32_t> sizes, strides;
  std::vector<uint8_t> order;
  std::vector<float> values;  // as stored
  std::vector<size_t> places;  // of each value in the order of the sizes; empty where that is how it is stored

  Floats(const TensorInfo& info, const char* what) {
    if (info.scalar_type() != ScalarType::Float) fail(std::string(what) + " is not of single precision");
    sizes.assign(info.sizes().begin(), info.sizes().end());
    order.assign(info.dim_order().begin(), info.dim_order().end());
    const size_t rank = sizes.size();
    int64_t count = 1;
    for (int32_t size : sizes) {
      if (size < 1 || (count *= size) > MOST_NUMBERS) fail(std::string(what) + " has impossible sizes");
    }
    std::vector<bool> seen(rank, false);
    if (order.size() != rank) fail(std::string(what) + " has an impossible order of dimensions");
    for (uint8_t dimension : order) {
      if (dimension >= rank || seen[dimension]) fail(std::string(what) + " has an impossible order of dimensions");
      seen[dimension] = true;
    }
    strides.resize(rank);
    int32_t stride = 1;
    bool plain = true;
    for (size_t i = rank; i-- > 0;) {
      strides[order[i]] = stride;
      stride *= sizes[order[i]];
      plain = plain && order[i] == i;
    }
    values.resize(static_cast<size_t>(count));
    if (plain) return;
    places.resize(values.size());
    for (size_t i = 0; i < places.size(); ++i) {
      size_t rest = i;
      for (size_t d = rank; d-- > 0; rest /= sizes[d]) places[i] += (rest % sizes[d]) * strides[d];
    }
  }

  executorch::aten::TensorImpl tensor() {
    return executorch::aten::TensorImpl(
        ScalarType::Float, static_cast<ssize_t>(sizes.size()), sizes.data(), values.data(), order.data(),
        strides.data());
  }
};

// Whether `bytes` more came from standard input; false at its end.
bool read_all(void* to, size_t bytes) {
  const size_t got = fread(to, 1, bytes, stdin);
  if (got == bytes) return true;
  if (ferror(stdin)) fail("standard input cannot be read");
  if (got != 0) fail("standard input ends within an image");
  return false;
}

void write_all(const void* from, size_t bytes) {
  if (fwrite(from, 1, bytes, stdout) != bytes || fflush(stdout) != 0) fail("standard output cannot be written");
}

long number(const char* text, const char* option) {
  char* rest = nullptr;
  errno = 0;
  const long value = text == nullptr ? 0 : strtol(text, &rest, 10);
  if (text == nullptr || errno != 0 || *rest != 0 || value < 1 || value > 1000000) {
    fail(std::string(option) + " takes a number from 1");
  }
  return value;
}

double execute(Module& module) {  // seconds
  const auto start = std::chrono::steady_clock::now();
  begin();
  const auto made = module.forward();
  end();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  check(made.error(), "execute");
  return taken.count();
}

void repeat(Module& module, size_t inputs, long inferences) {
  auto meta = take(module.method_meta("forward"), "method load");
  std::vector<Floats> given;
  for (size_t i = 0; i < inputs; ++i) given.emplace_back(take(meta.input_tensor_meta(i), "input"), "the input");
  uint32_t state = 1;
  for (Floats& input : given) {
    for (float& value : input.values) {  // no zeros, no denormals, nothing that is alike
      state = state * 1664525u + 1013904223u;
      value = static_cast<float>(state >> 8) / 16777216.0f + 0.01f;
    }
  }
  for (long i = 0; i < inferences; ++i) {
    for (size_t k = 0; k < inputs; ++k) {
      auto tensor = given[k].tensor();
      check(module.set_input(EValue(executorch::aten::Tensor(&tensor)), k), "input");
    }
    execute(module);
  }
}

void serve(Module& module, size_t inputs) {
  auto meta = take(module.method_meta("forward"), "method load");
  if (inputs != 1) fail("the method takes " + std::to_string(inputs) + " inputs, not an image");
  if (meta.num_outputs() != 1) fail("the method makes " + std::to_string(meta.num_outputs()) + " outputs, not logits");
  if (take(meta.output_tag(0), "output") != Tag::Tensor) fail("the output is not a tensor");
  Floats image(take(meta.input_tensor_meta(0), "input"), "the input");
  const Floats logits(take(meta.output_tensor_meta(0), "output"), "the output");
  if (image.sizes.size() != 4 || image.sizes[0] != 1 || (image.sizes[1] != 3 && image.sizes[1] != 1))
    fail("the input is not one image");
  printf("{\"runtime\": \"ExecuTorch %s, XNNPACK\", \"image\": [1, %" PRId32 ", %" PRId32 ", %" PRId32 "], \"logits\": %zu}\n",
         EXECUTORCH_VERSION, image.sizes[1], image.sizes[2], image.sizes[3], logits.values.size());
  if (fflush(stdout) != 0) fail("standard output cannot be written");

  std::vector<float> content(image.values.size());
  const size_t expected = logits.values.size();
  while (read_all(content.data(), content.size() * sizeof(float))) {
    if (image.places.empty()) {
      image.values = content;
    } else {
      for (size_t i = 0; i < content.size(); ++i) image.values[image.places[i]] = content[i];
    }
    auto tensor = image.tensor();
    check(module.set_input(EValue(executorch::aten::Tensor(&tensor)), 0), "input");
    const double seconds = execute(module);
    const EValue made = take(module.get_output(), "output");
    if (!made.isTensor()) fail("the output is not a tensor");
    const auto& output = made.toTensor();
    if (output.scalar_type() != ScalarType::Float || static_cast<size_t>(output.numel()) != expected ||
        output.const_data_ptr() == nullptr) {
      fail("the output is not what the program says");
    }
    write_all(&seconds, sizeof seconds);
    write_all(output.const_data_ptr(), expected * sizeof(float));
  }
}

// The number of the method's inputs, once it is ready to run.
size_t load(Module& module) {
  check(module.load(Program::Verification::InternalConsistency), "program load");
  auto meta = take(module.method_meta("forward"), "method load");
  const size_t inputs = meta.num_inputs();
  for (size_t i = 0; i < inputs; ++i) {
    if (take(meta.input_tag(i), "input") != Tag::Tensor) fail("an input is not a tensor");
  }
  check(module.load_method("forward"), "method load");
  return inputs;
}

void run(int argc, char** argv) {
  std::vector<const char*> paths;
  long inferences = 0;
  bool one_thread = false;
  for (int i = 1; i < argc; ++i) {
    const char* next = i + 1 < argc ? argv[i + 1] : nullptr;
    if (!strcmp(argv[i], "--one-thread")) {
      one_thread = true;
    } else if (!strcmp(argv[i], "--inferences")) {
      inferences = number(next, argv[i++]);
    } else {
      paths.push_back(argv[i]);
    }
  }
  if (paths.empty() || (paths.size() > 1 && inferences == 0)) fail("usage: runner MODEL.pte [--one-thread]");
  executorch::runtime::runtime_init();
  std::optional<executorch::extension::threadpool::NoThreadPoolGuard> alone;
  if (one_thread) alone.emplace();  // no pool at all: nothing waits, and two runs execute the same
  for (const char* path : paths) {
    Module module(path, Module::LoadMode::File);
    const size_t inputs = load(module);
    if (inferences > 0) {
      repeat(module, inputs, inferences);
    } else {
      serve(module, inputs);
      fflush(stdout);
      _Exit(0);  // what the runtime would tidy up, the system does faster
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc, argv);
    return 0;
  } catch (const std::exception& error) {  // no memory, mostly: a damaged program may ask for any amount
    fail(std::string("the runtime gave up: ") + error.what());
  }
}

// A stand-in for GPU drivers and their compilers, for tests of the host path: a test double, not a device, and never shipped.
//
// One library exports NVIDIA's and AMD's entry points and both runtime compilers. "Device memory" is the host's. "Compiling" gives kernel
// text, as it is, with emu.h before it to the host's C++ compiler; "code" is the library that comes out; a launch runs it through the
// emulator. What a launch does wrong is told by the next call that waits, as drivers do, in the error's name.
//
// Defined at compile time: STANDIN_FOLDER, where emu.h and emu.o are, and compiled texts are kept; STANDIN_CXX, the compiler with its
// flags. STANDIN_WITHOUT_LAUNCH leaves out the functions that start kernels.
#include "emu.h"
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))
// One function under the names that the two dialects have for it.
#define BOTH(cuda, hip, parameters, ...) \
  EXPORT int cuda parameters { const bool amd = false; (void)amd; __VA_ARGS__ } \
  EXPORT int hip parameters { const bool amd = true; (void)amd; __VA_ARGS__ }

namespace {

using std::string;

enum { INVALID = 1, OUT_OF_MEMORY = 2, NOT_INITIALISED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101, NO_IMAGE = 200, NO_BINARY = 209, INVALID_HANDLE = 400, NOT_FOUND = 500, LAUNCH_FAILED = 719, UNKNOWN = 999 };

// What a test sets before it opens a device; each thread has its own.
struct Knobs {
  long schedule = 0;         // EMU_FORWARD, EMU_REVERSE, EMU_RANDOM and beyond: seeds
  long count = 1;            // devices
  long warp = 0;             // threads of a warp; 0: 32 of NVIDIA's, 64 of AMD's
  long compute = 90;         // compute capability times ten
  long gfx = 0x942;          // AMD's architecture, read as hexadecimal digits
  long newest = 120;         // the newest capability that the compiler knows
  long memory = 1l << 30;    // bytes of a device
  long shared = 0;           // bytes of dynamic shared memory of a block; 0: 227 KiB and 64 KiB
  // Errors that functions give, by their number.
  long init_error = 0, context_error = 0, module_error = 0, launch_error = 0, wait_error = 0, copy_error = 0;
  long mute_compiler = 0;    // refuses all text, without a log
};
thread_local Knobs knobs;

struct Block { size_t bytes; char* base; };
struct State {
  std::map<uintptr_t, Block> memory;
  size_t used = 0;
  long contexts = 0, modules = 0, streams = 0, events = 0, launches = 0;
  bool initialised = false;
  string fault;  // of a launch that nobody has waited for; the context is of no use after it
  string named;
};
thread_local State state;

// The stacks of this thread's launches.
struct Stacks {
  char* at = nullptr;
  ~Stacks() { if (at) emu_stacks_end(at); }
};
thread_local Stacks stacks;

struct Field { const char* name; long* at; };
Field fields(int i) {
  Field all[] = {{"schedule", &knobs.schedule}, {"count", &knobs.count}, {"warp", &knobs.warp}, {"compute", &knobs.compute}, {"gfx", &knobs.gfx},
                 {"newest", &knobs.newest}, {"memory", &knobs.memory}, {"shared", &knobs.shared}, {"init_error", &knobs.init_error},
                 {"context_error", &knobs.context_error}, {"module_error", &knobs.module_error}, {"launch_error", &knobs.launch_error},
                 {"wait_error", &knobs.wait_error}, {"copy_error", &knobs.copy_error}, {"mute_compiler", &knobs.mute_compiler},
                 // Read only: what is alive, and how often kernels were started.
                 {"live_contexts", &state.contexts}, {"live_modules", &state.modules}, {"live_streams", &state.streams}, {"live_events", &state.events},
                 {"launches", &state.launches}, {nullptr, nullptr}};
  return all[i];
}

int waits() { return !state.fault.empty() ? (int)LAUNCH_FAILED : (int)knobs.wait_error; }

const char* name_of(int code) {
  switch (code) {
    case 0: return "SUCCESS";
    case INVALID: return "ERROR_INVALID_VALUE";
    case OUT_OF_MEMORY: return "ERROR_OUT_OF_MEMORY";
    case NOT_INITIALISED: return "ERROR_NOT_INITIALIZED";
    case NO_DEVICE: return "ERROR_NO_DEVICE";
    case INVALID_DEVICE: return "ERROR_INVALID_DEVICE";
    case NO_IMAGE: return "ERROR_INVALID_IMAGE";
    case NO_BINARY: return "ERROR_NO_BINARY_FOR_GPU";
    case INVALID_HANDLE: return "ERROR_INVALID_HANDLE";
    case NOT_FOUND: return "ERROR_NOT_FOUND";
    case LAUNCH_FAILED:
      state.named = "ERROR_LAUNCH_FAILED" + (state.fault.empty() ? string() : ": " + state.fault);
      return state.named.c_str();
    default: return nullptr;
  }
}

// ---- memory: bytes on both sides of each allocation stay as they are, and nobody reaches past an end ----

const size_t EDGE = 256;

// Whether `bytes` from `at` lie within one allocation.
bool inside(u64 at, size_t bytes) {
  auto after = state.memory.upper_bound((uintptr_t)at);
  if (after == state.memory.begin()) return false;
  auto found = --after;
  return at + bytes <= found->first + found->second.bytes;
}

int take(u64* address, size_t bytes) {
  if (!state.initialised) return NOT_INITIALISED;
  if (bytes == 0) return INVALID;
  if (state.used + bytes > (size_t)knobs.memory) return OUT_OF_MEMORY;
#if defined(EMU_ASAN)
  const size_t edge = 0;
#else
  const size_t edge = EDGE;
#endif
  void* base = nullptr;
  if (posix_memalign(&base, 256, bytes + 2 * edge) != 0) return OUT_OF_MEMORY;
  memset(base, 0xa5, bytes + 2 * edge);
  state.memory[(uintptr_t)base + edge] = {bytes, (char*)base};
  state.used += bytes;
  *address = (u64)(uintptr_t)base + edge;
  return 0;
}

int give(u64 address) {
  auto found = state.memory.find((uintptr_t)address);
  if (found == state.memory.end()) return INVALID;
  state.used -= found->second.bytes;
  free(found->second.base);
  state.memory.erase(found);
  return 0;
}

// Says which allocation was written around, if any.
string edges() {
#if !defined(EMU_ASAN)
  for (auto& entry : state.memory) {
    const unsigned char* at = (const unsigned char*)entry.first;
    for (size_t i = 1; i <= EDGE; i++) {
      const bool before = at[-(long)i] != 0xa5, after = at[entry.second.bytes + i - 1] != 0xa5;
      if (before || after) return "byte " + std::to_string(i) + (before ? " before the beginning" : " after the end") + " of an operand of " + std::to_string(entry.second.bytes) + " bytes was written";
    }
  }
#endif
  return "";
}

// ---- compiler ----

struct Program { string text, log, code, target; };

string shell(const string& command, int* status) {
  string out;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (!pipe) { *status = -1; return "no shell"; }
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
  *status = pclose(pipe);
  return out;
}
string read_file(const string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream all;
  all << file.rdbuf();
  return all.str();
}
string hash(const string& text) {
  u64 a = 0xcbf29ce484222325ull, b = 0x9E3779B97F4A7C15ull;
  for (unsigned char c : text) { a = (a ^ c) * 0x100000001b3ull; b = (b + c) * 0xff51afd7ed558ccdull; b ^= b >> 29; }
  char name[40];
  snprintf(name, sizeof name, "%016llx%016llx", a, b);
  return name;
}

// What unpacks arguments by the types of the function. Comes after preprocessing, so that no macro of a text reaches it.
const char* const TAIL = R"(
template <int... I> struct EmuList {};
template <int N, int... I> struct EmuCount : EmuCount<N - 1, N - 1, I...> {};
template <int... I> struct EmuCount<0, I...> { typedef EmuList<I...> list; };
template <class... A> struct EmuCall { void (*function)(A...); void** given; };
template <class... A, int... I> static inline void emu_apply(const EmuCall<A...>& call, EmuList<I...>) { call.function(*(A*)call.given[I]...); }
template <class... A> static const char* emu_start(void (*function)(A...), void** given, const EmuLaunch* shape) {
  EmuCall<A...> call = {function, given};
  EmuLaunch launch = *shape;
  launch.call = [](void* with) { emu_apply(*(const EmuCall<A...>*)with, typename EmuCount<sizeof...(A)>::list()); };
  launch.with = &call;
  return emu_run(&launch);
}
#define EMU_KERNEL(name, most) extern "C" __attribute__((visibility("default"))) const char* standin_##name(void** given, const EmuLaunch* shape, int* threads) { *threads = most; if (!given) return nullptr; EmuLaunch launch = *shape; launch.statics = emu_statics(0); launch.statics_end = emu_statics(1); return emu_start(name, given, &launch); }
)";

bool is_word(char c) { return c == '_' || isalnum((unsigned char)c); }

// Preprocessed text with its kernels made ordinary functions, and what starts each of them.
string with_starts(const string& text) {
  const string kernel = "emu_mark_kernel", bounds = "emu_mark_bounds";
  string out, starts;
  for (size_t at = 0;;) {
    size_t mark = text.find(kernel, at);
    out += text.substr(at, mark == string::npos ? mark : mark - at);
    if (mark == string::npos) break;
    at = mark + kernel.size();
    out += "extern \"C\" __attribute__((visibility(\"hidden\")))";
    // Until the list of parameters: the type, perhaps bounds, the name.
    string most = "1024", name;
    while (at < text.size()) {
      if (text.compare(at, bounds.size(), bounds) == 0) {
        size_t open = text.find('(', at), end = open;
        int depth = 0;
        do { depth += text[end] == '(' ? 1 : text[end] == ')' ? -1 : 0; end++; } while (depth > 0 && end < text.size());
        most = text.substr(open, end - open);
        at = end;
      } else if (text[at] == '(') {
        break;
      } else if (is_word(text[at])) {
        name.clear();
        while (is_word(text[at])) name += text[at++];
        out += name;
      } else {
        out += text[at++];
      }
    }
    for (char& c : most) if (c == '\n') c = ' ';
    starts += "EMU_KERNEL(" + name + ", " + most + ")\n";
  }
#if defined(EMU_ASAN)
  const char* statics = "static inline char* emu_statics(int) { return 0; }\n";
#else
  const char* statics = "static inline char* emu_statics(int end) { return end ? __stop_emu_shared : __start_emu_shared; }\n";
#endif
  return out + "\n" + statics + TAIL + starts;
}

std::mutex compiling;
std::condition_variable compiled;
std::set<string> under_way;

// The library made of a text, or the log. A text that two threads want is compiled once.
bool build(const string& text, const string& target, string* library, string* log) {
  const string folder = STANDIN_FOLDER;
  string flags;
  // The width of a warp is defined at the beginning of the text, after emu.h.
  size_t warp = text.find("#define WARP ");
  flags += string(" -DEMU_WARP=") + (warp != string::npos && text.compare(warp + 13, 2, "64") == 0 ? "64" : "32");
  if (target.compare(0, 3, "gfx") == 0) {
    // Texts for a matrix unit are guarded by the architecture.
    const string name = target.substr(0, target.find(':'));
    if (text.find("mfma") != string::npos && text.find("ext_vector_type") == string::npos) flags += " -DEMU_MFMA -D__" + name + "__";
  }
  const string key = hash(text + flags);
  const string stem = folder + "/" + key, made = stem + ".so";
  {
    std::unique_lock<std::mutex> lock(compiling);
    compiled.wait(lock, [&] { return under_way.count(key) == 0; });
    if (access(made.c_str(), R_OK) == 0) { *library = made; return true; }
    under_way.insert(key);
  }
  const string own = stem + "." + std::to_string(getpid());
  int status = 0;
  std::ofstream(own + ".cu.cpp") << "#include \"emu.h\"\n#line 1 \"kernel.cu\"\n" << text;
  const string quoted = "'" + own, with = string(STANDIN_CXX) + flags + " -I'" + folder + "' -DEMU_MARKS -E " + quoted + ".cu.cpp' -o " + quoted + ".ii'";
  *log = shell(with, &status);
  if (status == 0) {
    std::ofstream(own + ".cpp") << with_starts(read_file(own + ".ii"));
    *log = shell(string(STANDIN_CXX) + " -shared -fPIC " + quoted + ".cpp' '" + folder + "/emu.o' -o " + quoted + ".so'", &status);
  }
  if (status == 0) rename((own + ".so").c_str(), made.c_str());
  for (const char* end : {".cu.cpp", ".ii", ".cpp"}) unlink((own + end).c_str());
  std::lock_guard<std::mutex> lock(compiling);
  under_way.erase(key);
  compiled.notify_all();
  *library = made;
  return status == 0;
}

int compile(Program* program, int count, const char* const* options) {
  for (int i = 0; i < count; i++) {
    for (const char* prefix : {"--gpu-architecture=", "--offload-arch="}) {
      if (strncmp(options[i], prefix, strlen(prefix)) == 0) program->target = options[i] + strlen(prefix);
    }
  }
  if (knobs.mute_compiler) return 6;
  if (program->target.empty()) { program->log = "no architecture is given"; return 5; }
  string library;
  if (!build(program->text, program->target, &library, &program->log)) return 6;
  // Code: a magic, the architecture, the length, the library.
  const string file = read_file(library);
  char head[64] = "standin";
  snprintf(head + 8, 40, "%s", program->target.c_str());
  const u64 length = file.size();
  memcpy(head + 56, &length, 8);
  program->code = string(head, 64) + file;
  return 0;
}

// ---- modules ----

struct Module;
struct Function { string name; const char* (*start)(void**, const EmuLaunch*, int*); int threads; long dynamic; };
struct Module { void* library; int file; std::vector<Function*> functions; };

// Whether code for a target runs on the device that this thread has.
bool runs(const string& target, bool amd) {
  char own[32];
  if (amd) {
    snprintf(own, sizeof own, "gfx%lx", knobs.gfx);
    return target.compare(0, strlen(own), own) == 0;
  }
  if (target.compare(0, 8, "compute_") == 0) return atol(target.c_str() + 8) <= knobs.compute;
  return target.compare(0, 3, "sm_") == 0 && atol(target.c_str() + 3) == knobs.compute;
}

int load(void** module, const void* image, bool amd) {
  if (knobs.module_error) return (int)knobs.module_error;
  const char* head = (const char*)image;
  if (memcmp(head, "standin", 8) != 0) return NO_IMAGE;
  if (!runs(head + 8, amd)) return NO_BINARY;
  u64 length;
  memcpy(&length, head + 56, 8);
  // A file of its own: a library that is loaded twice from one would share its state, and threads their shared memory.
  const int file = memfd_create("standin", 0);
  if (file < 0 || write(file, head + 64, length) != (ssize_t)length) return UNKNOWN;
  const string path = "/proc/self/fd/" + std::to_string(file);
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) { close(file); return NO_IMAGE; }
  *module = new Module{library, file, {}};
  state.modules++;
  return 0;
}

int unload(void* handle) {
  Module* module = (Module*)handle;
  for (Function* function : module->functions) delete function;
  dlclose(module->library);
  close(module->file);
  delete module;
  state.modules--;
  return 0;
}

int find(void** function, void* handle, const char* name) {
  Module* module = (Module*)handle;
  void* found = dlsym(module->library, (string("standin_") + name).c_str());
  if (!found) return NOT_FOUND;
  Function* made = new Function{name, (const char* (*)(void**, const EmuLaunch*, int*))found, 0, 48 << 10};
  made->start(nullptr, nullptr, &made->threads);
  module->functions.push_back(made);
  *function = made;
  return 0;
}

// A fault of the processor ends the process; first it is told whose it is. (Address sanitizer tells more.)
thread_local const char* running = nullptr;
void fault(int signal) {
  const char* name = running ? running : "no kernel";
  const char* words[] = {"stand-in: a fault of the processor in ", name, " (an address outside, sixteen bytes that are not aligned, a division by zero); NOMOAT_ASAN=1 tells more\n"};
  for (const char* word : words) if (write(2, word, strlen(word)) < 0) break;
  struct sigaction plain = {};
  plain.sa_handler = SIG_DFL;
  sigaction(signal, &plain, nullptr);
}
void watch() {
#if !defined(EMU_ASAN)
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction watching = {};
    watching.sa_handler = fault;
    watching.sa_flags = SA_ONSTACK;
    for (int signal : {SIGSEGV, SIGBUS, SIGFPE}) sigaction(signal, &watching, nullptr);
  });
#endif
}

int start(void* handle, const u32* grid, const u32* threads, u32 shared, void** given, bool amd) {
  if (!state.fault.empty()) return LAUNCH_FAILED;
  if (knobs.launch_error) return (int)knobs.launch_error;
  Function* function = (Function*)handle;
  const u64 all = (u64)threads[0] * threads[1] * threads[2];
  if (!function || all == 0 || all > 1024 || grid[0] == 0 || grid[1] == 0 || grid[2] == 0 || grid[1] > 65535 || grid[2] > 65535) return INVALID;
  if ((long)shared > (amd ? 64 << 10 : function->dynamic)) return INVALID;
  if (all > (u64)function->threads) return INVALID;
  EmuLaunch launch = {{grid[0], grid[1], grid[2]}, (u32)all, shared, (u32)knobs.schedule, (int)(knobs.warp ? knobs.warp : amd ? 64 : 32), nullptr, nullptr, nullptr, nullptr, nullptr};
  if (!stacks.at) stacks.at = emu_stacks();
  launch.stacks = stacks.at;
  int most;
  watch();
  running = function->name.c_str();
  const char* wrong = function->start(given, &launch, &most);
  running = nullptr;
  state.launches++;
  if (wrong) state.fault = wrong;
  else state.fault = edges();
  return 0;
}

double now() { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

// ---- for tests ----

// Sets a knob of this thread's devices; 0 where there is none of that name.
EXPORT int standin_set(const char* name, int64_t value) {
  for (int i = 0; fields(i).name; i++) if (strcmp(fields(i).name, name) == 0) { *fields(i).at = value; return 1; }
  return 0;
}
EXPORT int64_t standin_get(const char* name) {
  if (strcmp(name, "live_memory") == 0) return (long)state.memory.size();
  for (int i = 0; fields(i).name; i++) if (strcmp(fields(i).name, name) == 0) return *fields(i).at;
  return -1;
}
// Knobs as at the beginning, and no fault.
EXPORT void standin_reset() {
  knobs = Knobs();
  state.fault.clear();
}

// ---- drivers ----

BOTH(cuInit, hipInit, (u32), {
  if (knobs.init_error) return (int)knobs.init_error;
  state.initialised = true;
  return 0;
})
BOTH(cuDriverGetVersion, hipDriverGetVersion, (int* version), *version = amd ? 60200000 : 12090; return 0;)
BOTH(cuDeviceGetCount, hipGetDeviceCount, (int* count), {
  *count = (int)knobs.count;
  return !state.initialised ? (int)NOT_INITIALISED : amd && knobs.count == 0 ? (int)NO_DEVICE : 0;
})
BOTH(cuDeviceGet, hipDeviceGet, (int* device, int number), {
  *device = number;
  return number < 0 || number >= knobs.count ? (int)INVALID_DEVICE : 0;
})
BOTH(cuDeviceGetName, hipDeviceGetName, (char* name, int room, int), {
  snprintf(name, (size_t)room, "test double on the host's processor, not a device");
  return 0;
})
BOTH(cuDeviceGetAttribute, hipDeviceGetAttribute, (int* value, int which, int), {
  struct Pair { int cuda; int hip; long value; };
  const Pair known[] = {{16, 63, 4}, {10, 87, knobs.warp ? knobs.warp : amd ? 64 : 32}, {38, 19, 1 << 20}, {97, 74, knobs.shared ? knobs.shared : amd ? 65536 : 232448},
                        {75, 23, amd ? 9 : knobs.compute / 10}, {76, 61, amd ? 4 : knobs.compute % 10}, {1, 56, 1024}};
  for (const Pair& pair : known) if (which == (amd ? pair.hip : pair.cuda)) { *value = (int)pair.value; return 0; }
  return INVALID;
})
BOTH(cuDeviceTotalMem_v2, hipDeviceTotalMem, (size_t* bytes, int), *bytes = (size_t)knobs.memory; return 0;)
EXPORT int hipGetDeviceProperties(char* properties, int) {
  // The name is first; the architecture's stands somewhere behind, in a place that differs between versions.
  memset(properties, 0, 1472);
  snprintf(properties, 256, "test double, not a gfx device");
  snprintf(properties + 1160, 256, "gfx%lx:sramecc+:xnack-", knobs.gfx);
  return 0;
}
BOTH(cuDevicePrimaryCtxRetain, hipDevicePrimaryCtxRetain, (void** context, int), {
  if (knobs.context_error) return (int)knobs.context_error;
  *context = (void*)&state;
  state.contexts++;
  return 0;
})
BOTH(cuDevicePrimaryCtxRelease_v2, hipDevicePrimaryCtxRelease, (int), {
  if (--state.contexts == 0) state.fault.clear();
  return 0;
})
BOTH(cuCtxSetCurrent, hipCtxSetCurrent, (void* context), return context == (void*)&state ? 0 : (int)INVALID_HANDLE;)

BOTH(cuMemAlloc_v2, hipMalloc, (u64* address, size_t bytes), return take(address, bytes);)
BOTH(cuMemFree_v2, hipFree, (u64 address), return give(address);)
BOTH(cuMemAllocHost_v2, hipMemAllocHost, (void** address, size_t bytes), *address = malloc(bytes); return *address ? 0 : (int)OUT_OF_MEMORY;)
BOTH(cuMemFreeHost, hipHostFree, (void* address), free(address); return 0;)
BOTH(cuMemsetD8Async, hipMemsetD8Async, (u64 at, unsigned char byte, size_t bytes, void*), {
  if (!inside(at, bytes)) return INVALID;
  memset((void*)at, byte, bytes);
  return 0;
})
BOTH(cuMemcpyHtoDAsync_v2, hipMemcpyHtoDAsync, (u64 to, const void* from, size_t bytes, void*), {
  if (knobs.copy_error) return (int)knobs.copy_error;
  if (bytes && !inside(to, bytes)) return INVALID;
  memcpy((void*)to, from, bytes);
  return 0;
})
BOTH(cuMemcpyDtoHAsync_v2, hipMemcpyDtoHAsync, (void* to, u64 from, size_t bytes, void*), {
  if (knobs.copy_error) return (int)knobs.copy_error;
  if (bytes && !inside(from, bytes)) return INVALID;
  memcpy(to, (const void*)from, bytes);
  return 0;
})
BOTH(cuMemcpyDtoDAsync_v2, hipMemcpyDtoDAsync, (u64 to, u64 from, size_t bytes, void*), {
  if (!inside(to, bytes) || !inside(from, bytes)) return INVALID;
  memmove((void*)to, (const void*)from, bytes);
  return 0;
})

BOTH(cuModuleLoadData, hipModuleLoadData, (void** module, const void* image), return load(module, image, amd);)
BOTH(cuModuleUnload, hipModuleUnload, (void* module), return unload(module);)
BOTH(cuModuleGetFunction, hipModuleGetFunction, (void** function, void* module, const char* name), return find(function, module, name);)
BOTH(cuFuncGetAttribute, hipFuncGetAttribute, (int* value, int which, void* function), {
  // Registers and spilled bytes are unknown here; the most threads are not.
  if (which != 0) return INVALID;
  *value = ((Function*)function)->threads;
  return 0;
})
EXPORT int cuFuncSetAttribute(void* function, int which, int value) {
  if (which != 8 || value > (knobs.shared ? knobs.shared : 232448)) return INVALID;
  ((Function*)function)->dynamic = value;
  return 0;
}
#if !defined(STANDIN_WITHOUT_LAUNCH)
BOTH(cuLaunchKernel, hipModuleLaunchKernel, (void* function, u32 gx, u32 gy, u32 gz, u32 bx, u32 by, u32 bz, u32 shared, void*, void** given, void**), {
  const u32 grid[] = {gx, gy, gz};
  const u32 threads[] = {bx, by, bz};
  return start(function, grid, threads, shared, given, amd);
})
#endif

BOTH(cuStreamCreate, hipStreamCreateWithFlags, (void** stream, u32), *stream = malloc(1); state.streams++; return 0;)
BOTH(cuStreamSynchronize, hipStreamSynchronize, (void*), return waits();)
BOTH(cuStreamDestroy_v2, hipStreamDestroy, (void* stream), free(stream); state.streams--; return 0;)
BOTH(cuEventCreate, hipEventCreateWithFlags, (void** event, u32), *event = new double(0); state.events++; return 0;)
BOTH(cuEventRecord, hipEventRecord, (void* event, void*), *(double*)event = now(); return 0;)
BOTH(cuEventSynchronize, hipEventSynchronize, (void*), return waits();)
BOTH(cuEventElapsedTime, hipEventElapsedTime, (float* milliseconds, void* from, void* to), *milliseconds = (float)(*(double*)to - *(double*)from); return 0;)
BOTH(cuEventDestroy_v2, hipEventDestroy, (void* event), delete (double*)event; state.events--; return 0;)

EXPORT int cuGetErrorName(int code, const char** name) {
  *name = name_of(code);
  return *name ? 0 : (int)INVALID;
}
EXPORT const char* hipGetErrorName(int code) { return name_of(code); }

// ---- compilers ----

BOTH(nvrtcVersion, hiprtcVersion, (int* major, int* minor), *major = amd ? 6 : 12; *minor = 0; return 0;)
EXPORT int nvrtcGetNumSupportedArchs(int* count) { *count = 2; return 0; }
EXPORT int nvrtcGetSupportedArchs(int* list) {
  // The device's own, unless it is newer than the compiler.
  list[0] = 80;
  list[1] = (int)(knobs.compute < knobs.newest ? knobs.compute : knobs.newest);
  return 0;
}
BOTH(nvrtcCreateProgram, hiprtcCreateProgram, (void** program, const char* text, const char*, int headers, const char* const*, const char* const*), {
  if (headers) return 3;
  *program = new Program{text, "", "", ""};
  return 0;
})
BOTH(nvrtcCompileProgram, hiprtcCompileProgram, (void* program, int count, const char* const* options), return compile((Program*)program, count, options);)
BOTH(nvrtcDestroyProgram, hiprtcDestroyProgram, (void** program), delete (Program*)*program; *program = nullptr; return 0;)
BOTH(nvrtcGetProgramLogSize, hiprtcGetProgramLogSize, (void* program, size_t* size), *size = ((Program*)program)->log.size() + 1; return 0;)
BOTH(nvrtcGetProgramLog, hiprtcGetProgramLog, (void* program, char* log), strcpy(log, ((Program*)program)->log.c_str()); return 0;)
BOTH(nvrtcGetCUBINSize, hiprtcGetCodeSize, (void* program, size_t* size), *size = ((Program*)program)->code.size(); return 0;)
BOTH(nvrtcGetCUBIN, hiprtcGetCode, (void* program, char* code), memcpy(code, ((Program*)program)->code.data(), ((Program*)program)->code.size()); return 0;)
EXPORT int nvrtcGetPTXSize(void* program, size_t* size) { return nvrtcGetCUBINSize(program, size); }
EXPORT int nvrtcGetPTX(void* program, char* code) { return nvrtcGetCUBIN(program, code); }

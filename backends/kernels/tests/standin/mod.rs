//! Builds the stand-in driver and opens devices of it. Where the host has no C++ compiler, tests say so and pass.

#![allow(dead_code, reason = "each test binary uses a part")]

use libloading::Library;
use nomoat_kernels::device::find::{FindOptions, open};
use nomoat_kernels::device::{Device, DeviceError};
use sha2::{Digest, Sha256};
use std::ffi::{CString, c_char, c_int};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const SOURCES: [(&str, &str); 3] =
    [("emu.h", include_str!("emu.h")), ("emu.cpp", include_str!("emu.cpp")), ("standin.cpp", include_str!("standin.cpp"))];

/// Whether kernels are built with AddressSanitizer: slower, and it finds what leaves an array.
pub fn sanitized() -> bool {
    std::env::var_os("NOMOAT_ASAN").is_some_and(|value| value == "1")
}

/// Whether the sanitizer's library was loaded before this program.
fn preloaded() -> bool {
    std::env::var_os("LD_PRELOAD").is_some_and(|loaded| loaded.to_string_lossy().contains("asan"))
}

/// The compiler: `CXX`, else `c++`.
fn compiler() -> String {
    std::env::var("CXX").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "c++".into())
}

/// A built stand-in.
pub struct Standin {
    folder: PathBuf,
    library: Library,
}

/// The stand-in, built once for all tests; none, with the reason printed, where nothing compiles C++.
pub fn standin() -> Option<&'static Standin> {
    static BUILT: OnceLock<Option<Standin>> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            if sanitized() && !preloaded() {
                eprintln!("SKIPPED: under NOMOAT_ASAN=1 only the tests run that start themselves again with the sanitizer's library");
                return None;
            }
            let name = compiler();
            match Command::new(&name).arg("--version").output() {
                Ok(version) if version.status.success() => Some(Standin::build(&name, &version.stdout)),
                Ok(version) => {
                    eprintln!("SKIPPED: `{name} --version` ended with {}", version.status);
                    None
                }
                Err(error) => {
                    eprintln!("SKIPPED: no C++ compiler (`{name}`): {error}; set CXX");
                    None
                }
            }
        })
        .as_ref()
}

impl Standin {
    fn build(name: &str, version: &[u8]) -> Self {
        let sanitizer: &[&str] = if sanitized() { &["-fsanitize=address", "-g", "-fno-omit-frame-pointer"] } else { &[] };
        let mut sha = Sha256::new();
        SOURCES.iter().for_each(|(_, text)| sha.update(text));
        sha.update(name);
        sha.update(version);
        sha.update([u8::from(sanitized())]);
        let key = format!("{:016x}", u64::from_be_bytes(*sha.finalize().first_chunk().unwrap()));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("standin-{key}"));
        std::fs::create_dir_all(folder.join("rtc")).unwrap();
        // Several test programs may want it at the same time.
        let lock = std::fs::File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let path = folder.join("libstandin.so");
        if !path.exists() {
            for (file, text) in SOURCES {
                std::fs::write(folder.join(file), text).unwrap();
            }
            let run = |arguments: &[&str]| {
                let ended = Command::new(name)
                    .args(["-std=c++17", "-fPIC", "-fvisibility=hidden", "-pthread"])
                    .args(sanitizer)
                    .args(arguments)
                    .current_dir(&folder)
                    .env_remove("LD_PRELOAD")
                    .output()
                    .unwrap();
                assert!(ended.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
            };
            run(&["-O2", "-c", "emu.cpp", "-o", "emu.o"]);
            let at = format!("-DSTANDIN_FOLDER=\"{}\"", folder.display());
            let kernels = format!("-DSTANDIN_CXX=\"env -u LD_PRELOAD {name} -std=c++17 -O1 -w {}\"", sanitizer.join(" "));
            run(&["-O1", "-shared", "-DSTANDIN_WITHOUT_LAUNCH", &at, &kernels, "standin.cpp", "emu.o", "-o", "libincomplete.so", "-ldl"]);
            run(&["-O1", "-shared", &at, &kernels, "standin.cpp", "emu.o", "-o", "libstandin.so.new", "-ldl"]);
            // Under the names by which runtime compilers are looked for.
            for alias in ["libnvrtc.so.12", "libhiprtc.so"] {
                let alias = folder.join("rtc").join(alias);
                let _ = std::fs::remove_file(&alias);
                std::os::unix::fs::symlink("../libstandin.so", alias).unwrap();
            }
            std::fs::rename(folder.join("libstandin.so.new"), &path).unwrap();
        }
        // SAFETY: the library was built from the texts above; its initialisers only set numbers.
        let library = unsafe { Library::new(&path) }.unwrap();
        Self { folder, library }
    }

    /// The library with all entry points.
    pub fn driver(&self) -> PathBuf {
        self.folder.join("libstandin.so")
    }

    /// The same without the functions that start kernels.
    pub fn incomplete(&self) -> PathBuf {
        self.folder.join("libincomplete.so")
    }

    /// Where to look for devices; `cache` is the folder of compiled kernels.
    pub fn options(&self, cache: &Path) -> FindOptions {
        FindOptions {
            rtc: Some(self.folder.join("rtc")),
            cuda: Some(self.driver()),
            hip: Some(self.driver()),
            opencl: Some("/nonexistent/libOpenCL.so.1".into()),
            cache: Some(cache.to_owned()),
            threads: 1,
        }
    }

    /// Puts this thread's knobs back to what they are at the beginning.
    pub fn reset(&self) {
        // SAFETY: the function is the stand-in's, with this type.
        unsafe { self.library.get::<unsafe extern "C" fn()>(b"standin_reset").unwrap()() };
    }

    /// Sets a knob of this thread's devices.
    pub fn set(&self, knob: &str, value: i64) {
        let name = CString::new(knob).unwrap();
        // SAFETY: the function is the stand-in's, with this type; the name ends.
        let known =
            unsafe { self.library.get::<unsafe extern "C" fn(*const c_char, i64) -> c_int>(b"standin_set").unwrap()(name.as_ptr(), value) };
        assert_eq!(known, 1, "the stand-in has no knob `{knob}`");
    }

    /// A knob or a count of this thread's devices.
    pub fn get(&self, knob: &str) -> i64 {
        let name = CString::new(knob).unwrap();
        // SAFETY: the function is the stand-in's, with this type; the name ends.
        unsafe { self.library.get::<unsafe extern "C" fn(*const c_char) -> i64>(b"standin_get").unwrap()(name.as_ptr()) }
    }

    /// Opens a device of it.
    pub fn open(&self, id: &str, cache: &Path) -> Result<Box<dyn Device>, DeviceError> {
        open(id, &self.options(cache))
    }
}

/// A test of this program under AddressSanitizer, whose library has to be loaded before everything else; none where it is not asked for, or
/// where this is that program already.
pub fn sanitized_run(test: &str) -> Option<Command> {
    if !sanitized() || preloaded() {
        return None;
    }
    let name = if compiler().contains("clang") { "libclang_rt.asan-x86_64.so" } else { "libasan.so" };
    let found = Command::new(compiler()).arg(format!("-print-file-name={name}")).output().unwrap();
    let runtime = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    assert!(Path::new(&runtime).exists(), "NOMOAT_ASAN=1, and the compiler has no {name}");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env("LD_PRELOAD", runtime)
        .env("ASAN_OPTIONS", "detect_leaks=0:detect_stack_use_after_return=0:use_sigaltstack=0");
    Some(command)
}

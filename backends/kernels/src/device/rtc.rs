//! Runtime compilers: NVRTC and hipRTC, found where users have them.

use super::{Api, library, source};
use crate::kernel::Launch;
use libloading::Library;
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::ptr::null;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

type Handle = *mut c_void;

/// hipRTC compiles for one thread at a time: that of ROCm 5.2 was seen to crash with two. NVRTC takes any number.
static HIPRTC: Mutex<()> = Mutex::new(());
/// How long a Python may take to say where its packages are.
const PYTHON: Duration = Duration::from_secs(5);

/// A loaded compiler.
pub struct Compiler {
    api: Api,
    version: (i32, i32),
    create: unsafe extern "C" fn(*mut Handle, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char) -> c_int,
    compile: unsafe extern "C" fn(Handle, c_int, *const *const c_char) -> c_int,
    destroy: unsafe extern "C" fn(*mut Handle) -> c_int,
    log_size: unsafe extern "C" fn(Handle, *mut usize) -> c_int,
    log: unsafe extern "C" fn(Handle, *mut c_char) -> c_int,
    code_size: unsafe extern "C" fn(Handle, *mut usize) -> c_int,
    code: unsafe extern "C" fn(Handle, *mut c_char) -> c_int,
    ptx_size: Option<unsafe extern "C" fn(Handle, *mut usize) -> c_int>,
    ptx: Option<unsafe extern "C" fn(Handle, *mut c_char) -> c_int>,
    architectures: Vec<i32>,
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Compiler {
    /// The first compiler that loads: in `folder` alone if given, else in the toolkit's folders, among Python's packages, by the loader's own
    /// names; and where all of that finds none, among the packages that `python3` itself names.
    ///
    /// # Errors
    /// What was tried and why the most telling of it failed.
    pub fn find(api: Api, folder: Option<&Path>) -> Result<Self, String> {
        let mut why: Option<String> = None;
        let asked = || if folder.is_none() { within(&names(api), &asked_folders(api)) } else { vec![] };
        for candidate in candidates(api, folder).into_iter().chain(std::iter::once_with(asked).flatten()) {
            match Self::load(api, &candidate) {
                Ok(compiler) => return Ok(compiler),
                // That a file which is there does not work says more than that another is not there.
                Err(error) if why.is_none() || candidate.is_file() => why = Some(error),
                Err(_) => (),
            }
        }
        let name = if api == Api::Hip { "hipRTC" } else { "NVRTC" };
        let why = why.unwrap_or_else(|| "nothing to try".into());
        Err(format!("no {name}: {why}"))
    }

    fn load(api: Api, path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let hip = api == Api::Hip;
        // NVRTC opens its builtins by name and may not find them beside itself: once they are loaded by their path, the name is known.
        for builtins in builtins(path) {
            // Where they do not load, compiling says so in NVRTC's own words.
            let _ = library::load(&builtins);
        }
        let library = library::load(path)?;
        macro_rules! get {
            ($cuda:literal, $hip:literal) => {{
                let name = if hip { $hip } else { $cuda };
                // SAFETY: the types are those of the vendors' headers for these names.
                *unsafe { library.get(name.as_bytes()) }.map_err(|_| format!("{shown} has no {name}"))?
            }};
        }
        let version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int = get!("nvrtcVersion", "hiprtcVersion");
        let (mut major, mut minor) = (0, 0);
        // SAFETY: two places are given.
        unsafe { version(&raw mut major, &raw mut minor) };
        let (create, compile) = (get!("nvrtcCreateProgram", "hiprtcCreateProgram"), get!("nvrtcCompileProgram", "hiprtcCompileProgram"));
        let destroy = get!("nvrtcDestroyProgram", "hiprtcDestroyProgram");
        let (log_size, log) =
            (get!("nvrtcGetProgramLogSize", "hiprtcGetProgramLogSize"), get!("nvrtcGetProgramLog", "hiprtcGetProgramLog"));
        let (code_size, code) = (get!("nvrtcGetCUBINSize", "hiprtcGetCodeSize"), get!("nvrtcGetCUBIN", "hiprtcGetCode"));
        // SAFETY: as above; only NVRTC has them.
        let (ptx_size, ptx) = unsafe { (library.get(b"nvrtcGetPTXSize").ok().map(|f| *f), library.get(b"nvrtcGetPTX").ok().map(|f| *f)) };
        let architectures = if hip { vec![] } else { architectures(library) };
        Ok(Self { api, version: (major, minor), create, compile, destroy, log_size, log, code_size, code, ptx_size, ptx, architectures })
    }

    /// Its name and version.
    pub fn name(&self) -> String {
        let name = if self.api == Api::Hip { "hipRTC" } else { "NVRTC" };
        format!("{name} {}.{}", self.version.0, self.version.1)
    }

    /// The architecture that kernels are compiled for on a device, and whether the result is the device's own code: `sm_90a`, `gfx942`, or
    /// PTX of the newest that the compiler knows, for a device that is newer than it.
    ///
    /// # Errors
    /// When the compiler knows only devices newer than this one.
    pub fn target(&self, compute: u32, gfx: &str) -> Result<(String, bool), String> {
        if self.api == Api::Hip {
            return Ok((gfx.to_owned(), true));
        }
        target(&self.architectures, compute).ok_or_else(|| {
            let oldest = self.architectures.iter().min().copied().unwrap_or_default();
            format!(
                "{} compiles for sm_{oldest} and newer, and this is sm_{compute}; give the folder of an older NVRTC with --rtc",
                self.name()
            )
        })
    }

    /// Its version, major and minor.
    pub fn version(&self) -> (i32, i32) {
        self.version
    }

    /// Options of a compilation.
    pub fn options(&self, target: &str) -> Vec<String> {
        if self.api == Api::Hip {
            vec![format!("--offload-arch={target}"), "-O3".into()]
        } else {
            vec![format!("--gpu-architecture={target}"), "-default-device".into()]
        }
    }

    /// Compiles the text of a launch.
    ///
    /// # Errors
    /// What the compiler said.
    pub fn compile(&self, launch: &Launch, warp: u32, target: &str, own: bool) -> Result<Vec<u8>, String> {
        let text = CString::new(source(launch, warp)).map_err(|_| "the text has a zero byte".to_owned())?;
        // A thread that panicked in here left nothing half done that another could see.
        let _alone = (self.api == Api::Hip).then(|| HIPRTC.lock().unwrap_or_else(PoisonError::into_inner));
        let mut program = std::ptr::null_mut();
        // SAFETY: strings that end; no headers.
        let code = unsafe { (self.create)(&raw mut program, text.as_ptr(), c"kernel.cu".as_ptr(), 0, null(), null()) };
        if code != 0 {
            return Err(format!("{} takes no text: error {code}", self.name()));
        }
        let options: Vec<CString> = self.options(target).into_iter().filter_map(|option| CString::new(option).ok()).collect();
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        // SAFETY: the program was made above; the options are strings that end.
        let code = unsafe { (self.compile)(program, pointers.len() as c_int, pointers.as_ptr()) };
        let result = if code == 0 {
            let (size, get) = match (own, self.ptx_size, self.ptx) {
                (false, Some(size), Some(get)) => (size, get),
                _ => (self.code_size, self.code),
            };
            fetch(program, size, get).ok_or_else(|| format!("{} compiled, and gives no code for {target}", self.name()))
        } else {
            let log = fetch(program, self.log_size, self.log).unwrap_or_default();
            let log = String::from_utf8_lossy(&log).trim_end_matches('\0').trim().to_owned();
            Err(if log.is_empty() { format!("{}: error {code} without a log", self.name()) } else { log })
        };
        // SAFETY: made above, used no more.
        unsafe { (self.destroy)(&raw mut program) };
        result
    }
}

/// The architecture of NVIDIA's to compile for, given those that the compiler knows (none where it does not tell), and whether that is the
/// device's own; nothing for a device older than all of them.
fn target(known: &[i32], compute: u32) -> Option<(String, bool)> {
    if known.is_empty() || known.contains(&(compute as i32)) {
        // Instructions of one generation alone exist from Hopper on.
        let suffix = if compute >= 90 { "a" } else { "" };
        return Some((format!("sm_{compute}{suffix}"), true));
    }
    let newest = known.iter().filter(|known| **known < compute as i32).max()?;
    Some((format!("compute_{newest}"), false))
}

type Size = unsafe extern "C" fn(Handle, *mut usize) -> c_int;
type Get = unsafe extern "C" fn(Handle, *mut c_char) -> c_int;

/// Bytes of a program by a pair of functions that tell their length and give them.
fn fetch(program: Handle, size: Size, get: Get) -> Option<Vec<u8>> {
    let mut length = 0;
    // SAFETY: the program lives; the buffer has the size that is told.
    unsafe {
        if size(program, &raw mut length) != 0 || length == 0 {
            return None;
        }
        let mut bytes = vec![0_u8; length];
        (get(program, bytes.as_mut_ptr().cast()) == 0).then_some(bytes)
    }
}

/// Architectures that NVRTC knows; empty where it does not tell.
fn architectures(library: &Library) -> Vec<i32> {
    let mut count = 0;
    // SAFETY: as NVRTC's header gives them; the array has the number of places that is told.
    unsafe {
        let Ok(number) = library.get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"nvrtcGetNumSupportedArchs") else { return vec![] };
        let Ok(list) = library.get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"nvrtcGetSupportedArchs") else { return vec![] };
        if number(&raw mut count) != 0 {
            return vec![];
        }
        let mut known = vec![0; count as usize];
        if list(known.as_mut_ptr()) == 0 { known } else { vec![] }
    }
}

/// NVRTC's builtins beside it, of its own major version where its name tells that.
fn builtins(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (Some(folder), Some(version)) = (path.parent().filter(|folder| folder.is_absolute()), name.strip_prefix("libnvrtc.so")) else {
        return vec![];
    };
    let major = version.trim_start_matches('.').split('.').next().unwrap_or_default();
    let wanted = if major.is_empty() { "libnvrtc-builtins.so.".to_owned() } else { format!("libnvrtc-builtins.so.{major}.") };
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&wanted)));
    found.sort();
    found
}

/// Names of a compiler's library, best first.
fn names(api: Api) -> Vec<String> {
    match api {
        Api::Cuda => {
            (11..=14).rev().map(|major| format!("libnvrtc.so.{major}")).chain(["libnvrtc.so".into(), "libnvrtc.so.11.2".into()]).collect()
        }
        // Before ROCm 6, hipRTC was part of the runtime's library.
        _ => ["libhiprtc.so".to_owned(), "libamdhip64.so".to_owned()]
            .into_iter()
            .chain((5..=12).rev().flat_map(|major| [format!("libhiprtc.so.{major}"), format!("libamdhip64.so.{major}")]))
            .collect(),
    }
}

/// Files to try, best first.
fn candidates(api: Api, folder: Option<&Path>) -> Vec<PathBuf> {
    let names = names(api);
    if let Some(folder) = folder {
        let found = within(&names, &[folder.to_owned()]);
        // A folder that was named and has none is told as it is.
        return if found.is_empty() { names.first().map(|name| folder.join(name)).into_iter().collect() } else { found };
    }
    let mut all = within(&names, &folders(api));
    all.extend(names.iter().map(PathBuf::from));
    all
}

/// Those of the files that are there, folder by folder.
fn within(names: &[String], folders: &[PathBuf]) -> Vec<PathBuf> {
    folders.iter().flat_map(|folder| names.iter().map(move |name| folder.join(name))).filter(|path| path.is_file()).collect()
}

/// Folders of toolkits and of Python's packages.
pub(super) fn folders(api: Api) -> Vec<PathBuf> {
    let (variables, root, name) = match api {
        Api::Cuda => (["CUDA_PATH", "CUDA_HOME"], "/usr/local", "cuda"),
        _ => (["ROCM_PATH", "HIP_PATH"], "/opt", "rocm"),
    };
    let mut folders: Vec<PathBuf> = variables
        .iter()
        .filter_map(std::env::var_os)
        .map(PathBuf::from)
        .chain(installed(Path::new(root), name))
        .flat_map(|root| ["lib64", "lib", "targets/x86_64-linux/lib"].map(|lib| root.join(lib)))
        .collect();
    if api == Api::Cuda {
        folders.extend(of_python(python_sites()));
    }
    folders
}

/// `cuda` and `cuda-12.8` in `/usr/local`: the one that the system points to, then the newest first.
fn installed(root: &Path, name: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root) else { return vec![] };
    let version = |folder: &str| -> Vec<u32> { folder[name.len()..].split(['-', '.']).filter_map(|part| part.parse().ok()).collect() };
    let mut found: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    found.retain(|folder| folder == name || folder.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')));
    found.sort_by_key(|folder| std::cmp::Reverse((folder == name, version(folder))));
    found.into_iter().map(|folder| root.join(folder)).collect()
}

/// Folders of packages of the Python that is started to name them: for when nothing else is found.
pub(super) fn asked_folders(api: Api) -> Vec<PathBuf> {
    if api == Api::Cuda { of_python(asked_python()) } else { vec![] }
}

/// Where NVIDIA's packages for Python put their libraries.
fn of_python(sites: Vec<PathBuf>) -> Vec<PathBuf> {
    sites.iter().flat_map(|site| ["nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib", "nvidia/cublas/lib"].map(|lib| site.join(lib))).collect()
}

/// Folders of packages of the Python that is active: of its environment, of the user, and those on PYTHONPATH. No Python is started.
fn python_sites() -> Vec<PathBuf> {
    let mut sites: Vec<PathBuf> = std::env::var_os("PYTHONPATH").iter().flat_map(std::env::split_paths).collect();
    let active = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    // The python3 that is first on PATH stands in its environment's bin; where it is a link, the one it leads to has packages, too.
    let on_path = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|folder| folder.join("python3")).find(|python| python.exists()));
    let linked = on_path.as_ref().and_then(|python| python.canonicalize().ok());
    let prefixes = on_path.into_iter().chain(linked).filter_map(|python| Some(python.parent()?.parent()?.to_owned()));
    let user = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local"));
    let mut roots: Vec<PathBuf> = active.chain(prefixes).chain(user).chain(["/usr/local".into()]).collect();
    let mut seen = std::collections::HashSet::new();
    roots.retain(|root| seen.insert(root.clone()));
    for root in roots {
        let Ok(entries) = std::fs::read_dir(root.join("lib")) else { continue };
        for entry in entries.filter_map(Result::ok).filter(|entry| entry.file_name().to_string_lossy().starts_with("python3")) {
            sites.extend(["site-packages", "dist-packages"].map(|name| entry.path().join(name)));
        }
    }
    sites
}

/// The same as the first python3 on PATH tells it: one that is a script leading elsewhere is found no other way. Empty where there is none, or
/// it takes too long.
fn asked_python() -> Vec<PathBuf> {
    let program = "import site, sys; print('\\n'.join(sys.path + site.getsitepackages()))";
    let mut command = Command::new("python3");
    command.args(["-c", program]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut python) = command.spawn() else { return vec![] };
    let begun = Instant::now();
    // What it prints fits into the pipe, so it ends without being read.
    while begun.elapsed() < PYTHON {
        match python.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Ok(Some(_)) => {
                let Ok(output) = python.wait_with_output() else { return vec![] };
                return String::from_utf8_lossy(&output.stdout).lines().filter(|line| !line.is_empty()).map(PathBuf::from).collect();
            }
            Err(_) => break,
        }
    }
    // It is ours, and nobody waits for it any more.
    let _ = python.kill();
    let _ = python.wait();
    vec![]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_gets_its_own_code_or_the_newest_that_is_older_or_a_reason() {
        let known = [75, 80, 86, 89, 90, 100, 103, 110, 120];
        for (compute, expected) in [
            (80, Some(("sm_80", true))),
            (90, Some(("sm_90a", true))),
            (100, Some(("sm_100a", true))),
            (130, Some(("compute_120", false))),
            // Between two that are known: the older one, not the device's own number, which the compiler would refuse.
            (101, Some(("compute_100", false))),
            (70, None),
        ] {
            assert_eq!(target(&known, compute), expected.map(|(name, own)| (name.to_owned(), own)), "sm_{compute}");
        }
        assert_eq!(target(&[], 70), Some(("sm_70".to_owned(), true)));
    }

    #[test]
    fn toolkits_are_tried_newest_first_after_the_one_that_the_system_points_to() {
        let root = tempfile::tempdir().unwrap();
        for name in ["cuda-12.8", "cuda-12.10", "cuda", "cuda-13.0", "cudart", "nvidia"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        let found = installed(root.path(), "cuda");
        let names: Vec<_> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["cuda", "cuda-13.0", "cuda-12.10", "cuda-12.8"]);
        assert!(installed(Path::new("/nonexistent"), "cuda").is_empty());
    }

    #[test]
    fn a_folder_that_was_named_is_the_only_one() {
        let folder = tempfile::tempdir().unwrap();
        for (api, file) in [(Api::Cuda, "libnvrtc.so.14"), (Api::Hip, "libhiprtc.so")] {
            let why = Compiler::find(api, Some(folder.path())).unwrap_err();
            assert!(why.contains(&*folder.path().join(file).to_string_lossy()) && why.contains("No such file"), "{why}");
        }
        let broken = folder.path().join("libnvrtc.so.12");
        std::fs::write(&broken, "not a library").unwrap();
        let why = Compiler::find(Api::Cuda, Some(folder.path())).unwrap_err();
        assert!(why.starts_with("no NVRTC: ") && why.contains(&*broken.to_string_lossy()), "{why}");
    }
}

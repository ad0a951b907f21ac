//! Runtime compilers: NVRTC and hipRTC, found where users have them.

use super::{Api, source};
use crate::kernel::Launch;
use libloading::Library;
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr::null;

type Handle = *mut c_void;

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
    _builtins: Option<Library>,
    _library: Library,
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Compiler {
    /// The first compiler that loads: in `folder` if given, by the loader's own names, in the toolkit's folders, among Python's packages.
    ///
    /// # Errors
    /// What was tried and why the most telling of it failed.
    pub fn find(api: Api, folder: Option<&Path>) -> Result<Self, String> {
        let mut why: Option<String> = None;
        for candidate in candidates(api, folder) {
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
        // SAFETY: loading runs the initialisers of the vendor's own libraries.
        let builtins = builtins(path).and_then(|path| unsafe { Library::new(path) }.ok());
        // SAFETY: as above.
        let library = unsafe { Library::new(path) }.map_err(|error| format!("{shown} does not load: {error}"))?;
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
        let architectures = if hip { vec![] } else { architectures(&library) };
        Ok(Self {
            api,
            version: (major, minor),
            create,
            compile,
            destroy,
            log_size,
            log,
            code_size,
            code,
            ptx_size,
            ptx,
            architectures,
            _builtins: builtins,
            _library: library,
        })
    }

    /// Its name and version.
    pub fn name(&self) -> String {
        let name = if self.api == Api::Hip { "hipRTC" } else { "NVRTC" };
        format!("{name} {}.{}", self.version.0, self.version.1)
    }

    /// The architecture that kernels are compiled for on a device, and whether the result is the device's own code: `sm_90a`, `gfx942`, or
    /// PTX of the newest that the compiler knows, for a device that is newer than it.
    pub fn target(&self, compute: u32, gfx: &str) -> (String, bool) {
        if self.api == Api::Hip {
            return (gfx.to_owned(), true);
        }
        let newest = self.architectures.iter().max().copied().unwrap_or(compute as i32) as u32;
        if self.architectures.is_empty() || self.architectures.contains(&(compute as i32)) {
            // Instructions of one generation alone exist from Hopper on.
            let suffix = if compute >= 90 { "a" } else { "" };
            (format!("sm_{compute}{suffix}"), true)
        } else {
            (format!("compute_{}", newest.min(compute)), false)
        }
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

/// NVRTC's builtins beside it, if they are there.
fn builtins(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| folder.is_absolute())?;
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libnvrtc-builtins.so.")));
    found.sort();
    found.pop()
}

/// Files to try, best first.
fn candidates(api: Api, folder: Option<&Path>) -> Vec<PathBuf> {
    let names: Vec<String> = match api {
        Api::Cuda => {
            (11..=14).rev().map(|major| format!("libnvrtc.so.{major}")).chain(["libnvrtc.so".into(), "libnvrtc.so.11.2".into()]).collect()
        }
        // Before ROCm 6, hipRTC was part of the runtime's library.
        _ => ["libhiprtc.so".to_owned(), "libamdhip64.so".to_owned()]
            .into_iter()
            .chain((5..=12).rev().flat_map(|major| [format!("libhiprtc.so.{major}"), format!("libamdhip64.so.{major}")]))
            .collect(),
    };
    let mut all = vec![];
    let within =
        |all: &mut Vec<PathBuf>, folder: &Path| all.extend(names.iter().map(|name| folder.join(name)).filter(|path| path.is_file()));
    if let Some(folder) = folder {
        within(&mut all, folder);
        // A folder that was named and has none is told as it is.
        if all.is_empty() {
            return names.first().map(|name| folder.join(name)).into_iter().collect();
        }
        return all;
    }
    folders(api).iter().for_each(|folder| within(&mut all, folder));
    all.extend(names.iter().map(PathBuf::from));
    all
}

/// Folders of toolkits and of Python's packages.
pub(super) fn folders(api: Api) -> Vec<PathBuf> {
    let (variables, toolkits) = match api {
        Api::Cuda => (["CUDA_PATH", "CUDA_HOME"], "/usr/local/cuda"),
        _ => (["ROCM_PATH", "HIP_PATH"], "/opt/rocm"),
    };
    let mut folders: Vec<PathBuf> = variables
        .iter()
        .filter_map(std::env::var_os)
        .chain([toolkits.into()])
        .flat_map(|root| ["lib64", "lib", "targets/x86_64-linux/lib"].map(|lib| Path::new(&root).join(lib)))
        .collect();
    if api == Api::Cuda {
        for site in python_sites() {
            folders.extend(["nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib", "nvidia/cublas/lib"].map(|lib| site.join(lib)));
        }
    }
    folders
}

/// Folders of packages of the Python that is active: of its environment, and those on PYTHONPATH. No Python is started.
fn python_sites() -> Vec<PathBuf> {
    let mut sites: Vec<PathBuf> = std::env::var_os("PYTHONPATH").iter().flat_map(std::env::split_paths).collect();
    let active = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    // The python3 that is first on PATH stands in its environment's bin.
    let on_path = std::env::var_os("PATH").and_then(|path| {
        let python = std::env::split_paths(&path).map(|folder| folder.join("python3")).find(|python| python.exists())?;
        Some(python.parent()?.parent()?.to_owned())
    });
    for root in active.chain(on_path) {
        let Ok(entries) = std::fs::read_dir(root.join("lib")) else { continue };
        for entry in entries.filter_map(Result::ok).filter(|entry| entry.file_name().to_string_lossy().starts_with("python3")) {
            sites.extend(["site-packages", "dist-packages"].map(|name| entry.path().join(name)));
        }
    }
    sites
}

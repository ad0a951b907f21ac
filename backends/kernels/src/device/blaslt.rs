//! The vendor's matrix product, where its library is: the yardstick of our own.
//!
//! cuBLASLt and hipBLASLt have the same functions under different names; numbers of types and attributes differ.

use super::{Api, Buffer, Device, library};
use libloading::Library;
use std::cell::{OnceCell, RefCell};
use std::ffi::{c_int, c_void};
use std::path::PathBuf;
use std::ptr::null_mut;

type Handle = *mut c_void;

/// Room that an algorithm may use on the device.
const WORKSPACE: usize = 64 << 20;
/// Bytes of a heuristic's result; the algorithm stands at its beginning. Both vendors' are smaller.
const RESULT: usize = 512;

/// Numbers of the two dialects, from `cublasLt.h` and `hipblaslt.h`.
struct Numbers {
    compute_f32: c_int,
    f32: c_int,
    bf16: c_int,
    transpose_a: c_int,
    transposed: c_int,
    workspace: c_int,
}

const CUDA: Numbers = Numbers { compute_f32: 68, f32: 0, bf16: 14, transpose_a: 3, transposed: 1, workspace: 1 };
const HIP: Numbers = Numbers { compute_f32: 2, f32: 0, bf16: 14, transpose_a: 0, transposed: 112, workspace: 1 };

/// One shape: descriptors and the algorithm that the library suggests first.
struct Plan {
    operation: Handle,
    layouts: [Handle; 3],
    result: Box<[u64; RESULT / 8]>,
}

/// A loaded library.
pub(super) struct BlasLt {
    numbers: Numbers,
    handle: Handle,
    plans: RefCell<Vec<Plan>>,
    workspace: OnceCell<Buffer>,
    operation: unsafe extern "C" fn(*mut Handle, c_int, c_int) -> c_int,
    set: unsafe extern "C" fn(Handle, c_int, *const c_void, usize) -> c_int,
    layout: unsafe extern "C" fn(*mut Handle, c_int, u64, u64, i64) -> c_int,
    preference: unsafe extern "C" fn(*mut Handle) -> c_int,
    prefer: unsafe extern "C" fn(Handle, c_int, *const c_void, usize) -> c_int,
    suggest: unsafe extern "C" fn(Handle, Handle, Handle, Handle, Handle, Handle, Handle, c_int, *mut c_void, *mut c_int) -> c_int,
    multiply: Multiply,
    destroy: unsafe extern "C" fn(Handle) -> c_int,
}

type Multiply = unsafe extern "C" fn(
    Handle,
    Handle,
    *const c_void,
    u64,
    Handle,
    u64,
    Handle,
    *const c_void,
    u64,
    Handle,
    u64,
    Handle,
    *const c_void,
    u64,
    usize,
    Handle,
) -> c_int;

impl BlasLt {
    /// Loads the library. The device's context is the thread's.
    ///
    /// # Errors
    /// What was looked for, or what the library said.
    pub(super) fn open(api: Api) -> Result<Self, String> {
        let hip = api == Api::Hip;
        let names: &[&str] = if hip {
            &["libhipblaslt.so.1", "libhipblaslt.so.0", "libhipblaslt.so"]
        } else {
            &["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"]
        };
        let within = |folders: Vec<PathBuf>| {
            folders.into_iter().flat_map(|folder| names.iter().map(move |name| folder.join(name))).filter(|path| path.is_file())
        };
        let asked = std::iter::once_with(|| super::rtc::asked_folders(api)).flat_map(within);
        let mut why = format!("{} is not found by the loader nor in the toolkit's folders", names[0]);
        for path in within(super::rtc::folders(api)).chain(names.iter().map(PathBuf::from)).chain(asked) {
            match library::load(&path) {
                Ok(library) => return Self::of(library, hip).map_err(|why| format!("{}: {why}", path.display())),
                Err(error) if path.is_file() => why = error,
                Err(_) => (),
            }
        }
        Err(why)
    }

    fn of(library: &'static Library, hip: bool) -> Result<Self, String> {
        macro_rules! get {
            ($name:literal) => {{
                let name = format!("{}{}", if hip { "hipblasLt" } else { "cublasLt" }, $name);
                // SAFETY: the types are those of the vendors' headers for these names.
                *unsafe { library.get(name.as_bytes()) }.map_err(|_| format!("it has no {name}"))?
            }};
        }
        let create: unsafe extern "C" fn(*mut Handle) -> c_int = get!("Create");
        let mut handle = null_mut();
        // SAFETY: a place for one handle.
        let code = unsafe { create(&raw mut handle) };
        if code != 0 {
            return Err(format!("it does not start: error {code}"));
        }
        Ok(Self {
            numbers: if hip { HIP } else { CUDA },
            handle,
            plans: RefCell::default(),
            workspace: OnceCell::new(),
            operation: get!("MatmulDescCreate"),
            set: get!("MatmulDescSetAttribute"),
            layout: get!("MatrixLayoutCreate"),
            preference: get!("MatmulPreferenceCreate"),
            prefer: get!("MatmulPreferenceSetAttribute"),
            suggest: get!("MatmulAlgoGetHeuristic"),
            multiply: get!("Matmul"),
            destroy: get!("Destroy"),
        })
    }

    /// A plan for C[m,n] = A[m,k]·B[n,k]ᵀ, row-major, bf16 in and f32 out. To the library, which counts by columns, it is Cᵀ = B·Aᵀ.
    ///
    /// # Errors
    /// When the library has no algorithm for the shape.
    pub(super) fn plan(&self, m: usize, n: usize, k: usize) -> Result<usize, String> {
        let (numbers, (m, n, k)) = (&self.numbers, (m as u64, n as u64, k as u64));
        let check = |code: c_int, doing: &str| if code == 0 { Ok(()) } else { Err(format!("the vendor's library: {doing}: error {code}")) };
        let (mut operation, mut preference, mut found) = (null_mut(), null_mut(), 0);
        let mut layouts = [null_mut(); 3];
        let room = WORKSPACE;
        let mut result = Box::new([0_u64; RESULT / 8]);
        // SAFETY: places for one handle each; attributes are given with their sizes; one result has room many times over.
        unsafe {
            check((self.operation)(&raw mut operation, numbers.compute_f32, numbers.f32), "describing the product")?;
            check((self.set)(operation, numbers.transpose_a, (&raw const numbers.transposed).cast(), 4), "transposing")?;
            let shapes = [(numbers.bf16, k, n, k), (numbers.bf16, k, m, k), (numbers.f32, n, m, n)];
            for (layout, (dtype, rows, columns, stride)) in layouts.iter_mut().zip(shapes) {
                check((self.layout)(layout, dtype, rows, columns, stride as i64), "describing a matrix")?;
            }
            check((self.preference)(&raw mut preference), "preferring")?;
            check((self.prefer)(preference, numbers.workspace, (&raw const room).cast(), 8), "preferring a workspace")?;
            let [b, a, c] = layouts;
            let code = (self.suggest)(self.handle, operation, b, a, c, c, preference, 1, result.as_mut_ptr().cast(), &raw mut found);
            check(code, &format!("looking for an algorithm for M={m} N={n} K={k}"))?;
        }
        if found == 0 {
            return Err(format!("the vendor's library has no algorithm for M={m} N={n} K={k}"));
        }
        let mut plans = self.plans.borrow_mut();
        plans.push(Plan { operation, layouts, result });
        Ok(plans.len() - 1)
    }

    /// Enqueues a plan.
    ///
    /// # Errors
    /// What the library said.
    pub(super) fn run(&self, plan: usize, a: u64, b: u64, c: u64, stream: Handle, device: &dyn Device) -> Result<(), String> {
        if self.workspace.get().is_none() {
            let room = device.alloc(WORKSPACE, "the vendor's workspace").map_err(|error| error.to_string())?;
            // Nobody else sets it between the look and here: the device is used from one thread.
            let _ = self.workspace.set(room);
        }
        let workspace = self.workspace.get().map_or(0, |room| room.address);
        let plans = self.plans.borrow();
        let plan = plans.get(plan).ok_or("the plan belongs to another device")?;
        let (one, zero) = (1.0_f32, 0.0_f32);
        let [left, right, out] = plan.layouts;
        // SAFETY: handles of this plan; operands have the plan's sizes; the scalars are read in the call.
        let code = unsafe {
            (self.multiply)(
                self.handle,
                plan.operation,
                (&raw const one).cast(),
                b,
                left,
                a,
                right,
                (&raw const zero).cast(),
                c,
                out,
                c,
                out,
                plan.result.as_ptr().cast(),
                workspace,
                WORKSPACE,
                stream,
            )
        };
        if code == 0 { Ok(()) } else { Err(format!("error {code}")) }
    }
}

impl Drop for BlasLt {
    fn drop(&mut self) {
        // SAFETY: made by `of`. Descriptors are plain memory of the library and end with the process.
        unsafe { (self.destroy)(self.handle) };
    }
}

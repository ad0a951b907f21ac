//! Operands in the host's memory, for native variants and for plug-ins on the CPU.

use crate::dims::Dtype;

/// One operand in host memory, aligned to a page.
#[derive(Debug)]
pub struct Host {
    /// How an element is stored.
    pub dtype: Dtype,
    bytes: Pages,
}

impl Host {
    /// Room for `len` elements, zeroed by the system.
    pub fn new(dtype: Dtype, len: usize) -> Self {
        Self { dtype, bytes: Pages::new(len * dtype.bytes()) }
    }

    /// Says how its first `bytes` bytes are read from now on; the rest is unseen.
    pub(crate) fn view_as(&mut self, dtype: Dtype, bytes: usize) {
        self.dtype = dtype;
        self.bytes.len = bytes.min(self.bytes.layout.size());
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// Its bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.as_mut_slice()
    }
}

macro_rules! typed {
    ($get:ident, $get_mut:ident, $type:ty, $dtype:path) => {
        impl Host {
            /// Its elements.
            ///
            /// # Panics
            /// When it holds elements of another type.
            pub fn $get(&self) -> &[$type] {
                assert_eq!(self.dtype, $dtype);
                let bytes = self.bytes.as_slice();
                // SAFETY: the memory is aligned to a page, its length is a multiple of the element, every bit pattern is a value.
                unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<$type>()) }
            }

            /// Its elements, to write.
            ///
            /// # Panics
            /// When it holds elements of another type.
            pub fn $get_mut(&mut self) -> &mut [$type] {
                assert_eq!(self.dtype, $dtype);
                let bytes = self.bytes.as_mut_slice();
                // SAFETY: as above; the borrow is unique.
                unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len() / size_of::<$type>()) }
            }
        }
    };
}

typed!(bf16, bf16_mut, u16, Dtype::Bf16);
typed!(f32, f32_mut, f32, Dtype::F32);
typed!(i32, i32_mut, i32, Dtype::I32);

/// Memory from the system, on huge pages where it gives them: a large operand must not measure the page table.
#[derive(Debug)]
struct Pages {
    at: std::ptr::NonNull<u8>,
    len: usize,
    layout: std::alloc::Layout,
}

/// Huge pages are of this size on every platform we know.
const ALIGN: usize = 2 << 20;

impl Pages {
    fn new(len: usize) -> Self {
        let align = if len >= ALIGN { ALIGN } else { 4096 };
        let layout = std::alloc::Layout::from_size_align(len.max(1), align).expect("an operand is smaller than the address space");
        // SAFETY: the layout's size is not zero.
        let at = unsafe { std::alloc::alloc_zeroed(layout) };
        let Some(at) = std::ptr::NonNull::new(at) else { std::alloc::handle_alloc_error(layout) };
        #[cfg(target_os = "linux")]
        if len >= ALIGN {
            // SAFETY: the range is ours; this is advice, and a refusal changes nothing.
            unsafe { libc::madvise(at.as_ptr().cast(), len, libc::MADV_HUGEPAGE) };
        }
        Self { at, len, layout }
    }

    fn as_slice(&self) -> &[u8] {
        // SAFETY: allocated with at least this length, initialised to zero, freed only on drop.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above; the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated by `alloc_zeroed` with this layout.
        unsafe { std::alloc::dealloc(self.at.as_ptr(), self.layout) }
    }
}

// SAFETY: the memory is owned, and reached only through borrows of the owner.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

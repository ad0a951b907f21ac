//! The shape of one problem: named sizes and the element type of its large operands.

use std::fmt;

/// How an element is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dtype {
    /// The upper half of an IEEE single.
    Bf16,
    /// IEEE single.
    F32,
    /// Two's complement, 32 bits.
    I32,
}

impl Dtype {
    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::F32 | Self::I32 => 4,
        }
    }

    /// Its name in tables and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
            Self::I32 => "i32",
        }
    }
}

/// Named sizes, in the order in which tables print them, and the type of the large operands.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Dims {
    /// Element type of the large operands.
    pub dtype: Dtype,
    sizes: Vec<(&'static str, usize)>,
}

impl Dims {
    /// A shape.
    pub fn new(dtype: Dtype, sizes: &[(&'static str, usize)]) -> Self {
        Self { dtype, sizes: sizes.to_vec() }
    }

    /// The size of this name.
    ///
    /// # Panics
    /// When the shape has none: a kernel asks only for names that its own `shapes` gave.
    pub fn get(&self, name: &str) -> usize {
        self.find(name).unwrap_or_else(|| panic!("the shape {self} has no size `{name}`"))
    }

    /// The size of this name, if the shape has it.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.sizes.iter().find(|(known, _)| *known == name).map(|(_, size)| *size)
    }

    /// The same shape with one size changed.
    #[must_use]
    pub fn with(mut self, name: &'static str, size: usize) -> Self {
        match self.sizes.iter_mut().find(|(known, _)| *known == name) {
            Some(slot) => slot.1 = size,
            None => self.sizes.push((name, size)),
        }
        self
    }

    /// Names and sizes in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, usize)> + '_ {
        self.sizes.iter().copied()
    }
}

impl fmt::Display for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.dtype.name())?;
        self.sizes.iter().try_for_each(|(name, size)| write!(f, " {name}={size}"))
    }
}

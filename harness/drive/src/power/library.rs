//! Loading of a vendor's management library and its functions.

use super::NoMeter;
use libloading::{Library, Symbol};
use std::error::Error;

/// A library that stays loaded.
#[derive(Clone, Copy)]
pub(super) struct Loaded {
    library: &'static Library,
    name: &'static str,
}

impl Loaded {
    /// Loads the first of some names that is there.
    ///
    /// # Errors
    /// What the loader said of the first.
    pub fn first(candidates: &[&'static str], remedy: &str) -> Result<Self, NoMeter> {
        let mut why = String::new();
        for name in candidates {
            // SAFETY: loading runs the initialisers of the vendor's own library, which expect nothing of whoever loads it.
            match unsafe { Library::new(*name) } {
                // It is never unloaded: what it registered to run at exit must not find its code gone.
                Ok(library) => return Ok(Self { library: Box::leak(Box::new(library)), name }),
                Err(error) => {
                    let said = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                    // The loader mostly begins with the name itself.
                    let said = said.strip_prefix(*name).map_or(said.as_str(), |rest| rest.trim_start_matches([':', ' ']));
                    // The usual name is the one to tell of.
                    if why.is_empty() {
                        why = format!("{name} does not load: {said}");
                    }
                }
            }
        }
        Err(NoMeter::new(why, remedy))
    }

    /// A function of it.
    ///
    /// # Errors
    /// It has none of that name.
    ///
    /// # Safety
    /// `F` is the function's type as the vendor's header declares it.
    pub unsafe fn function<F: Copy + 'static>(self, name: &str) -> Result<F, NoMeter> {
        // SAFETY: the caller's promise; the library is never unloaded, so the address stays good.
        let symbol: Result<Symbol<'static, F>, _> = unsafe { self.library.get(name) };
        symbol.map(|symbol| *symbol).map_err(|_| {
            NoMeter::new(
                format!("{} has no function {name}", self.name),
                "install the driver's own version of the library, not an older one",
            )
        })
    }
}

//! Names that rows give to groups of requests, numbered as they come.

use std::collections::HashMap;

/// Classes by name, in the order in which they were first seen.
#[derive(Default)]
pub(crate) struct Classes {
    names: Vec<String>,
    index: HashMap<String, u16>,
}

impl Classes {
    /// The number of `name`; `None` when there would be more classes than have numbers.
    pub fn of(&mut self, name: &str) -> Option<u16> {
        if let Some(index) = self.index.get(name) {
            return Some(*index);
        }
        let index = u16::try_from(self.names.len()).ok().filter(|index| *index < u16::MAX)?;
        self.names.push(name.to_owned());
        self.index.insert(name.to_owned(), index);
        Some(index)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Forgets all but the first `len`: what a row named that turned out wrong.
    pub fn truncate(&mut self, len: usize) {
        for name in self.names.drain(len..) {
            self.index.remove(&name);
        }
    }

    /// Their names; one called `default` where no request named any.
    pub fn names(self) -> Vec<String> {
        if self.names.is_empty() { vec!["default".into()] } else { self.names }
    }
}

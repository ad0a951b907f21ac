//! Names of request classes, numbered as they are first seen.

use std::collections::HashMap;

/// Most classes a trace may have: more are a column that is no class.
pub(crate) const MAX_CLASSES: usize = 1_024;

/// Collects the names of classes.
#[derive(Default)]
pub(crate) struct Classes {
    names: Vec<String>,
    index: HashMap<String, u16>,
}

impl Classes {
    /// The number of class `name`; `None` where there are too many.
    pub fn number(&mut self, name: &str) -> Option<u16> {
        if let Some(number) = self.index.get(name) {
            return Some(*number);
        }
        if self.names.len() == MAX_CLASSES {
            return None;
        }
        let number = self.names.len() as u16;
        self.names.push(name.into());
        self.index.insert(name.into(), number);
        Some(number)
    }

    /// The names, in the order of their numbers; at least one.
    pub fn finish(self) -> Vec<String> {
        if self.names.is_empty() { vec!["default".into()] } else { self.names }
    }
}

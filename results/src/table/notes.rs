//! Numbered notes: why a cell is empty, or what to know about it. The same reason keeps its number.

/// The notes of one table, in order of their first use.
#[derive(Default)]
pub(super) struct Notes(Vec<String>);

impl Notes {
    /// The mark of a reason, such as `[2]`.
    pub fn mark(&mut self, reason: &str) -> String {
        let index = self.0.iter().position(|r| r == reason).unwrap_or_else(|| {
            self.0.push(reason.to_owned());
            self.0.len() - 1
        });
        format!("[{}]", index + 1)
    }

    /// A cell with its reason's mark, if there is one.
    pub fn cell(&mut self, text: &str, reason: Option<&str>) -> String {
        match reason {
            Some(reason) => format!("{text} {}", self.mark(reason)),
            None => text.to_owned(),
        }
    }

    /// Mark and reason of every note.
    pub fn lines(&self) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().enumerate().map(|(index, reason)| (format!("[{}]", index + 1), reason.as_str()))
    }
}

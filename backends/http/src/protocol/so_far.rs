//! What a dialect must remember of an answer to understand its next event: how much of a text was sent that is sent whole each time,
//! counts of each choice, counts that are reported in parts.
//!
//! Kept beside the event's pieces, so that the dialects themselves stay pure; gone with the answer.

/// The most choices of an answer that are told apart.
const MAX_CHOICES: usize = 1024;

/// What is remembered of an answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct SoFar {
    choices: Vec<Choice>,
    /// Prompt tokens as Anthropic reports them: neither read from a cache nor written to one, read from one, written to one. The
    /// last report of each counts.
    pub input: [Option<u32>; 3],
}

/// One of several answers to a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Choice {
    index: u32,
    /// Bytes of its text that came.
    pub bytes: usize,
    /// Its generated tokens, as last reported.
    pub output: Option<u32>,
    /// Of them, reasoning.
    pub reasoning: Option<u32>,
}

impl SoFar {
    /// Forgets the answer; keeps the memory.
    pub fn clear(&mut self) {
        self.choices.clear();
        self.input = [None; 3];
    }

    /// A choice, by its index; nothing if there are more than anybody asks for.
    pub fn choice(&mut self, index: u32) -> Option<&mut Choice> {
        let at = self.choices.iter().position(|c| c.index == index);
        if at.is_none() && self.choices.len() >= MAX_CHOICES {
            return None;
        }
        let at = at.unwrap_or_else(|| {
            self.choices.push(Choice { index, ..Choice::default() });
            self.choices.len() - 1
        });
        self.choices.get_mut(at)
    }

    /// The tokens of all choices together, and the reasoning among them.
    pub fn output(&self) -> (Option<u32>, Option<u32>) {
        let sum = |of: fn(&Choice) -> Option<u32>| self.choices.iter().filter_map(of).reduce(u32::saturating_add);
        (sum(|c| c.output), sum(|c| c.reasoning))
    }

    /// The prompt's tokens, cached ones included, from parts that exclude each other; nothing if none was reported.
    pub fn prompt(&self) -> Option<u32> {
        self.input.iter().copied().flatten().reduce(u32::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_told_apart_and_summed() {
        let mut so_far = SoFar::default();
        assert_eq!(so_far.output(), (None, None));
        for (index, output, sum) in [(0, 1, 1), (1, 1, 2), (0, 2, 3), (7, u32::MAX, u32::MAX)] {
            so_far.choice(index).expect("few choices").output = Some(output);
            assert_eq!(so_far.output(), (Some(sum), None));
        }
        so_far.clear();
        assert_eq!(so_far, SoFar::default());
        assert!((0..MAX_CHOICES as u32).all(|i| so_far.choice(i).is_some()));
        assert!(so_far.choice(MAX_CHOICES as u32).is_none() && so_far.choice(0).is_some());
    }
}

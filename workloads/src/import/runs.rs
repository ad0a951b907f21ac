//! Lists of block ids, kept as runs of consecutive ones from the moment they are parsed: a session of megabytes of ids is a few ranges.

use super::MAX_BLOCK_ID;
use nomoat_core::prompt::BlockRange;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use std::fmt;

/// Block ids as runs of consecutive ones.
pub(crate) struct Runs {
    pub ranges: Vec<BlockRange>,
    /// How many ids.
    pub count: u64,
}

impl Runs {
    /// Takes the last id away.
    pub fn pop(&mut self) {
        let Some(last) = self.ranges.last_mut() else { return };
        self.count -= 1;
        last.count -= 1;
        if last.count == 0 {
            self.ranges.pop();
        }
    }
}

impl<'de> Deserialize<'de> for Runs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ids;
        impl<'de> Visitor<'de> for Ids {
            type Value = Runs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of block ids")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Runs, A::Error> {
                let mut runs = Runs { ranges: Vec::with_capacity(8), count: 0 };
                while let Some(id) = list.next_element::<u64>()? {
                    if id > MAX_BLOCK_ID {
                        return Err(A::Error::custom("block id too large"));
                    }
                    runs.count += 1;
                    match runs.ranges.last_mut() {
                        Some(last) if last.first + u64::from(last.count) == id && last.count < u32::MAX => last.count += 1,
                        _ => runs.ranges.push(BlockRange { first: id, count: 1 }),
                    }
                }
                Ok(runs)
            }
        }
        deserializer.deserialize_seq(Ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_become_runs_and_lose_their_last() {
        let mut runs: Runs = serde_json::from_str("[0, 7, 8, 9, 3]").unwrap();
        let ranges = |runs: &Runs| runs.ranges.iter().map(|r| (r.first, r.count)).collect::<Vec<_>>();
        assert_eq!((ranges(&runs), runs.count), (vec![(0, 1), (7, 3), (3, 1)], 5));
        runs.pop();
        runs.pop();
        assert_eq!((ranges(&runs), runs.count), (vec![(0, 1), (7, 2)], 3));
        let mut none: Runs = serde_json::from_str("[]").unwrap();
        none.pop();
        assert_eq!(none.count, 0);
    }
}

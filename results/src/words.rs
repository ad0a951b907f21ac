//! Names of the closed lists of `nomoat-core`, both ways: how a status, a source or a severity is written in files.
//!
//! A name once written is never given another meaning. The position in `ALL` is the code in the spool, which outlives no version.

use nomoat_core::energy::Scope as EnergyScope;
use nomoat_core::fidelity::{Content, Routes};
use nomoat_core::record::{Connection, CountSource, ErrorCode, FinishReason, Phase, StampSource, Status};
use nomoat_core::report::{Population, Stat};
use nomoat_core::sample::SampleSource;
use nomoat_core::validity::{Finding, Severity};

/// A member of a closed list with a name.
pub(crate) trait Word: Copy + PartialEq + 'static {
    /// What the list is called in messages.
    const WHAT: &'static str;
    /// Every member.
    const ALL: &'static [Self];

    /// Its name in files.
    fn word(self) -> &'static str;

    /// The member with a name.
    fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|w| w.word() == word)
    }

    /// Its position in the list.
    fn code(self) -> u8 {
        Self::ALL.iter().position(|w| *w == self).expect("a test holds that ALL lists every variant that has a word") as u8
    }

    /// The member at a position.
    fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// Writes the list once: the `match` that the compiler holds complete, and `ALL` from the same lines.
macro_rules! words {
    ($type:ident, $what:literal, $($variant:ident => $word:literal),+ $(,)?) => {
        impl Word for $type {
            const WHAT: &'static str = $what;
            const ALL: &'static [Self] = &[$(Self::$variant),+];
            fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

words!(Phase, "phase", Warmup => "warmup", Measure => "measure", Drain => "drain");
words!(Connection, "connection", None => "none", New => "new", Reused => "reused", H2 => "h2");
words!(StampSource, "stamp source", Kernel => "kernel", Read => "read", Local => "local");
words!(
    CountSource, "count source",
    Unknown => "unknown", Usage => "usage", PerChunk => "per_chunk", Chunks => "chunks",
    Estimated => "estimated", Trace => "trace", Engine => "engine", Tokenizer => "tokenizer",
);
words!(
    FinishReason, "finish reason",
    Stop => "stop", Length => "length", Tool => "tool", ContentFilter => "content_filter", Abort => "abort", Other => "other",
);
words!(Severity, "severity", Flag => "flag", BlocksPublication => "blocks_publication", Invalid => "invalid");
words!(Finding, "finding", Pass => "pass", Fail => "fail", NotChecked => "not_checked");
words!(SampleSource, "sample source", Host => "host", Harness => "harness", Engine => "engine", Power => "power");

// These five have their names in `nomoat-core`.

impl Word for EnergyScope {
    const WHAT: &'static str = "scope of energy";
    const ALL: &'static [Self] = &EnergyScope::ALL;
    fn word(self) -> &'static str {
        self.name()
    }
}

impl Word for Content {
    const WHAT: &'static str = "content of prompts";
    const ALL: &'static [Self] = &Content::ALL;
    fn word(self) -> &'static str {
        self.name()
    }
}

impl Word for Routes {
    const WHAT: &'static str = "reason why words matter";
    const ALL: &'static [Self] = &Routes::ALL;
    fn word(self) -> &'static str {
        self.name()
    }
}

impl Word for Status {
    const WHAT: &'static str = "status";
    const ALL: &'static [Self] = &Status::ALL;
    fn word(self) -> &'static str {
        self.name()
    }
}

impl Word for ErrorCode {
    const WHAT: &'static str = "error code";
    const ALL: &'static [Self] = &ErrorCode::ALL;
    fn word(self) -> &'static str {
        self.name()
    }
}

impl Word for Stat {
    const WHAT: &'static str = "statistic";
    const ALL: &'static [Self] = &[Self::P50, Self::P90, Self::P95, Self::P99, Self::Mean, Self::Max, Self::Total, Self::Rate, Self::Value];
    fn word(self) -> &'static str {
        self.name()
    }
}

impl Word for Population {
    const WHAT: &'static str = "population";
    const ALL: &'static [Self] = &[Self::Ok, Self::All];
    fn word(self) -> &'static str {
        self.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn check<W: Word + std::fmt::Debug>() {
        let names: BTreeSet<&str> = W::ALL.iter().map(|w| w.word()).collect();
        assert_eq!(names.len(), W::ALL.len(), "two members of `{}` share a name", W::WHAT);
        for word in W::ALL {
            assert_eq!(W::of_word(word.word()), Some(*word));
            assert_eq!(W::of_code(word.code()), Some(*word));
        }
        assert_eq!(W::of_word("no such word"), None);
        assert_eq!(W::of_code(u8::MAX), None);
    }

    #[test]
    fn every_list_reads_back() {
        check::<Phase>();
        check::<Connection>();
        check::<StampSource>();
        check::<CountSource>();
        check::<FinishReason>();
        check::<Severity>();
        check::<Finding>();
        check::<SampleSource>();
        check::<EnergyScope>();
        check::<Status>();
        check::<ErrorCode>();
        check::<Stat>();
        check::<Population>();
    }
}

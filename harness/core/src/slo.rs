//! Service levels a user cares about.

use crate::record::RequestRecord;
use crate::units::Nanos;

/// Limits a request must meet; an absent limit is met.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slo {
    /// Largest time to first token.
    pub ttft: Option<Nanos>,
    /// Largest time per output token.
    pub tpot: Option<Nanos>,
    /// Largest end-to-end time.
    pub e2e: Option<Nanos>,
}

impl Slo {
    /// Whether no limit is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The limits for people: `TTFT ≤ 500 ms, TPOT ≤ 50.0 ms`; `None` where there is none.
    pub fn words(&self) -> Option<String> {
        let limits = [("TTFT", self.ttft), ("TPOT", self.tpot), ("E2E", self.e2e)];
        let words: Vec<String> = limits.iter().filter_map(|(name, limit)| limit.map(|l| format!("{name} ≤ {l}"))).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// Whether a request met every limit. A request that failed met none. A TPOT that is undefined (one token) cannot be
    /// missed.
    pub fn met(&self, record: &RequestRecord) -> bool {
        let within = |value: Option<Nanos>, limit: Option<Nanos>, undefined: bool| match (value, limit) {
            (_, None) => true,
            (Some(value), Some(limit)) => value <= limit,
            (None, Some(_)) => undefined,
        };
        record.is_ok()
            && within(record.ttft(), self.ttft, false)
            && within(record.tpot(), self.tpot, true)
            && within(record.e2e(), self.e2e, false)
    }

    /// Reads `ttft=500ms,tpot=50ms,e2e=10s`.
    ///
    /// # Errors
    /// Which part is wrong and what it may be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut slo = Self::default();
        for part in text.split([',', ' ']).filter(|p| !p.is_empty()) {
            let (name, limit) =
                part.split_once('=').ok_or_else(|| format!("`{part}` is not a limit; write ttft=500ms,tpot=50ms,e2e=10s"))?;
            let limit = Some(Nanos::parse(limit)?);
            match name.trim() {
                "ttft" => slo.ttft = limit,
                "tpot" => slo.tpot = limit,
                "e2e" | "e2el" => slo.e2e = limit,
                other => return Err(format!("`{other}` has no service level; it may be ttft, tpot or e2e")),
            }
        }
        Ok(slo)
    }
}

//! Quantities with their units in the type. Money and rates stay `f64` with the unit in the name.

use std::fmt;
use std::ops::{Add, AddAssign, Div, Mul, Sub};

/// Nanoseconds. As a moment: on `CLOCK_MONOTONIC` of one host. As a duration: a difference of two moments.
///
/// Signed, because a difference may be negative (a stamp taken before the moment it is compared with) and hiding that
/// would hide an error of the instrument.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Nanos(pub i64);

impl Nanos {
    /// The origin of the clock, or an empty duration.
    pub const ZERO: Self = Self(0);
    /// Later than every moment of a run.
    pub const MAX: Self = Self(i64::MAX);

    /// Whole microseconds as nanoseconds.
    pub const fn from_micros(us: i64) -> Self {
        Self(us * 1_000)
    }

    /// Whole milliseconds as nanoseconds.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms * 1_000_000)
    }

    /// Whole seconds as nanoseconds.
    pub const fn from_secs(s: i64) -> Self {
        Self(s * 1_000_000_000)
    }

    /// Seconds rounded to the nearest nanosecond, half away from zero, so that schedules are the same on every platform.
    pub fn from_secs_f64(s: f64) -> Self {
        Self(libm::round(s * 1e9) as i64)
    }

    /// Seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Milliseconds.
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The duration for the runtime's timers; a negative one is zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }

    /// Scales a duration by a factor, rounded to the nearest nanosecond.
    pub fn scale(self, factor: f64) -> Self {
        Self(libm::round(self.0 as f64 * factor) as i64)
    }

    /// Reads `500ms`, `1.5s`, `2m`, `30us`, `10ns`, `1h`, or a bare number of seconds.
    ///
    /// # Errors
    /// A message that names the text and the units it may have.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration; write a number with ns, us, ms, s, m or h, such as 500ms or 30s");
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let value: f64 = number.parse().map_err(|_| wrong())?;
        let seconds = match unit.trim() {
            "ns" => value / 1e9,
            "us" | "µs" => value / 1e6,
            "ms" => value / 1e3,
            "s" | "" => value,
            "m" | "min" => value * 60.0,
            "h" => value * 3600.0,
            _ => return Err(wrong()),
        };
        if seconds > 1e9 { Err(wrong()) } else { Ok(Self::from_secs_f64(seconds)) }
    }
}

impl Add for Nanos {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Nanos {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Nanos {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Mul<i64> for Nanos {
    type Output = Self;
    fn mul(self, by: i64) -> Self {
        Self(self.0 * by)
    }
}

impl Div<i64> for Nanos {
    type Output = Self;
    fn div(self, by: i64) -> Self {
        Self(self.0 / by)
    }
}

impl fmt::Display for Nanos {
    /// Three significant digits and the largest unit that keeps the number at least one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0 as f64;
        let (value, unit) = match ns.abs() {
            a if a >= 1e9 => (ns / 1e9, "s"),
            a if a >= 1e6 => (ns / 1e6, "ms"),
            a if a >= 1e3 => (ns / 1e3, "µs"),
            _ => return write!(f, "{} ns", self.0),
        };
        let digits = match value.abs() {
            v if v >= 100.0 => 0,
            v if v >= 10.0 => 1,
            _ => 2,
        };
        write!(f, "{value:.digits$} {unit}")
    }
}

/// A number with its thousands set apart.
pub fn grouped(n: u64) -> String {
    if n < 1000 { n.to_string() } else { format!("{},{:03}", grouped(n / 1000), n % 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print() {
        for (text, ns) in
            [("500ms", 500_000_000), ("1.5s", 1_500_000_000), ("2m", 120_000_000_000), ("30us", 30_000), ("7", 7_000_000_000), ("10ns", 10)]
        {
            assert_eq!(Nanos::parse(text), Ok(Nanos(ns)), "{text}");
        }
        for text in ["", "ms", "5 parsecs", "-1s", "1e400s", "99999999999999h"] {
            assert!(Nanos::parse(text).is_err(), "{text}");
        }
        for (ns, text) in [(0, "0 ns"), (1_500, "1.50 µs"), (12_345_678, "12.3 ms"), (250_000_000, "250 ms"), (-2_000_000_000, "-2.00 s")]
        {
            assert_eq!(Nanos(ns).to_string(), text);
        }
    }
}

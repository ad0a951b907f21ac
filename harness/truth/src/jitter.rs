//! How scripted times vary: a law, and draws that depend on nothing but three keys.

use std::fmt;
use std::str::FromStr;

/// How times vary from request to request and from token to token. Draws depend on the seed, the request's ordinal and the token's
/// index only: the same script gives the same times, in whatever order requests are served.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Jitter {
    /// Not at all.
    #[default]
    None,
    /// A factor uniform in 1 − share … 1 + share, share from 0 to 1.
    Uniform(f64),
    /// A factor exponential with mean 1.
    Exponential,
}

impl Jitter {
    /// The factor of token `index` of request `ordinal`.
    pub(crate) fn factor(self, seed: u64, ordinal: u64, index: u64) -> f64 {
        match self {
            Self::None => 1.0,
            Self::Uniform(share) => 1.0 + share * (2.0 * uniform(seed, ordinal, index) - 1.0),
            Self::Exponential => -uniform(seed, ordinal, index).ln(),
        }
    }
}

/// Uniform in (0, 1], by three rounds of the SplitMix64 finaliser (Steele, Lea, Flood 2014) over the three keys. Written here
/// anew: the measuring side draws its arrivals from other code.
fn uniform(seed: u64, ordinal: u64, index: u64) -> f64 {
    let mut z = 0_u64;
    for part in [seed, ordinal, index] {
        z = (z ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
    }
    ((z >> 11) as f64 + 1.0) / (1_u64 << 53) as f64
}

impl fmt::Display for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Uniform(share) => write!(f, "uniform:{share}"),
            Self::Exponential => f.write_str("exponential"),
        }
    }
}

impl FromStr for Jitter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "exponential" => Ok(Self::Exponential),
            _ => text
                .strip_prefix("uniform:")
                .and_then(|share| share.parse().ok())
                .filter(|share| (0.0..=1.0).contains(share))
                .map(Self::Uniform)
                .ok_or_else(|| format!("jitter `{text}` should be none, exponential or uniform:SHARE with a share from 0 to 1")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_have_mean_one_and_their_spread() {
        let n = 100_000;
        let check = |jitter: Jitter, variance: f64, range: std::ops::RangeInclusive<f64>| {
            let factors: Vec<f64> = (0..n).map(|index| jitter.factor(5, index / 100, index % 100)).collect();
            let mean = factors.iter().sum::<f64>() / n as f64;
            let spread = factors.iter().map(|f| (f - mean).powi(2)).sum::<f64>() / n as f64;
            assert!((mean - 1.0).abs() < 0.015 && (spread - variance).abs() < 0.03 * variance.max(0.01), "{jitter}: {mean} {spread}");
            assert!(factors.iter().all(|f| range.contains(f)), "{jitter}");
        };
        check(Jitter::None, 0.0, 1.0..=1.0);
        check(Jitter::Uniform(0.5), 0.25 / 3.0, 0.5..=1.5);
        check(Jitter::Uniform(1.0), 1.0 / 3.0, 0.0..=2.0);
        check(Jitter::Exponential, 1.0, 0.0..=f64::MAX);
    }

    #[test]
    fn laws_read_as_they_print() {
        for law in [Jitter::None, Jitter::Uniform(0.1), Jitter::Exponential] {
            assert_eq!(law.to_string().parse(), Ok(law));
        }
        for text in ["", "uniform", "uniform:-0.1", "uniform:NaN", "uniform:1.1", "normal"] {
            assert!(text.parse::<Jitter>().is_err(), "{text}");
        }
    }
}

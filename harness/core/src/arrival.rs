//! Laws for when requests arrive.

use crate::rng::Stream;
use crate::units::Nanos;

/// A law of arrivals.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ArrivalProcess {
    /// Evenly spaced, the first at once.
    Constant,
    /// Exponential gaps.
    Poisson,
    /// Gamma gaps with this coefficient of variation (1 is Poisson; above it, bursts).
    Gamma {
        /// Standard deviation of the gaps over their mean. vLLM's `burstiness` is 1/cv².
        cv: f64,
    },
}

impl ArrivalProcess {
    /// Name as typed on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
            Self::Gamma { .. } => "gamma",
        }
    }

    /// Arrival times at `rate_per_s`, without end. Each is computed from the start, so none drifts: a constant law from its
    /// index, the others from one running sum of gaps. Nothing is rescaled to hit a count or a duration.
    pub fn times(self, rate_per_s: f64, mut stream: Stream) -> impl Iterator<Item = Nanos> + Send {
        let mut index = 0_u64;
        let mut elapsed = 0.0;
        std::iter::from_fn(move || {
            let at = match self {
                Self::Constant => index as f64 / rate_per_s,
                Self::Poisson => {
                    elapsed += stream.exponential() / rate_per_s;
                    elapsed
                }
                Self::Gamma { cv } => {
                    let shape = 1.0 / (cv * cv);
                    elapsed += stream.gamma(shape) / (shape * rate_per_s);
                    elapsed
                }
            };
            index += 1;
            Some(Nanos::from_secs_f64(at))
        })
    }
}

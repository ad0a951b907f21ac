//! How much the engine can do: a closed loop straight into it, for a given time.
//!
//! It finds out what the engine alone sustains, without the harness beside it; whoever chooses a rate from it stays well below.
//! Wall time is read here, because a rate is tokens over time; no measured request ever sees this clock.

use crate::engine::Engine;
use crate::scheduler::{Ask, Refusal, SequenceId};
use nomoat_core::rng::keyed;
use std::time::{Duration, Instant};

/// The load of a probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// How long, wall time; longer where no token was counted by then, so that a slow host gets a figure too, if a poor one.
    /// The first fifth fills the batch and is not counted.
    pub budget: Duration,
    /// Prompt length of each request in tokens.
    pub input_tokens: u32,
    /// Answer length of each request in tokens.
    pub output_tokens: u32,
    /// Requests in the engine at any time.
    pub concurrency: u32,
}

/// What the engine sustained.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Capacity {
    /// Requests of the probe's shape per second.
    pub requests_per_s: f64,
    /// Generated tokens per second.
    pub tokens_per_s: f64,
}

/// Why there is no capacity to report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CapacityError {
    /// The shape cannot run.
    #[error("probing the built-in engine's capacity: {0}")]
    Refused(#[from] Refusal),
    /// Nothing to keep in flight.
    #[error("probing the built-in engine's capacity with no request in flight; give a concurrency of at least one")]
    NoLoad,
    /// Requests are in it already.
    #[error("probing the built-in engine's capacity while it serves requests; probe before the load")]
    Busy,
}

/// Keeps `load` in an idle engine and measures. The engine is idle again afterwards.
///
/// # Errors
/// Why there is no figure.
pub fn measure(engine: &mut Engine, load: Load) -> Result<Capacity, CapacityError> {
    let begin = Instant::now();
    measure_by(engine, load, || begin.elapsed())
}

/// As [`measure`], by any clock that starts at zero.
fn measure_by(engine: &mut Engine, load: Load, clock: impl FnMut() -> Duration) -> Result<Capacity, CapacityError> {
    if load.concurrency == 0 {
        return Err(CapacityError::NoLoad);
    }
    if !engine.is_idle() {
        return Err(CapacityError::Busy);
    }
    engine.limits().check_size(load.input_tokens as usize, load.output_tokens)?;
    let mut probe = Probe { load, number: 0, live: vec![] };
    let result = probe.run(engine, clock);
    for id in probe.live {
        engine.cancel(id);
    }
    engine.reset_peak();
    result
}

struct Probe {
    load: Load,
    number: u64,
    live: Vec<SequenceId>,
}

impl Probe {
    fn run(&mut self, engine: &mut Engine, mut clock: impl FnMut() -> Duration) -> Result<Capacity, CapacityError> {
        let (budget, concurrency) = (self.load.budget, u64::from(self.load.concurrency));
        for lane in 1..=concurrency {
            // First answers of spread lengths, so that lanes do not all prefill together ever after.
            let answer = (u64::from(self.load.output_tokens) * lane).div_ceil(concurrency);
            self.ask(engine, answer as u32)?;
        }
        let (mut counting, mut tokens) = (None, 0_u64);
        loop {
            engine.step();
            let now = clock();
            match counting {
                None if now >= budget / 5 => counting = Some(now),
                None => (),
                Some(from) => {
                    tokens += engine.produced().len() as u64;
                    // Two readings may be equal on a coarse clock; then one more step is needed.
                    let seconds = now.saturating_sub(from).as_secs_f64();
                    if now >= budget && tokens > 0 && seconds > 0.0 {
                        let tokens_per_s = tokens as f64 / seconds;
                        return Ok(Capacity { requests_per_s: tokens_per_s / f64::from(self.load.output_tokens), tokens_per_s });
                    }
                }
            }
            let ended: Vec<SequenceId> = engine.produced().iter().filter(|one| one.finish.is_some()).map(|one| one.id).collect();
            for id in ended {
                self.live.retain(|live| *live != id);
                self.ask(engine, self.load.output_tokens)?;
            }
        }
    }

    fn ask(&mut self, engine: &mut Engine, max_tokens: u32) -> Result<(), Refusal> {
        let vocab = engine.limits().vocab as u64;
        let prompt = (0..self.load.input_tokens).map(|i| (keyed(self.number, i.into()) % vocab) as u32).collect();
        self.number += 1;
        self.live.push(engine.submit(Ask { prompt, max_tokens, exact: true })?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LocalConfig;
    use crate::kernels::Kernel;

    fn engine() -> Engine {
        Engine::new(&LocalConfig { preset: "micro".into(), threads: 1, ..LocalConfig::default() }, Kernel::detect(), || ()).unwrap()
    }

    const LOAD: Load = Load { budget: Duration::from_millis(100), input_tokens: 5, output_tokens: 3, concurrency: 3 };

    /// A clock by which every step takes a millisecond. In the steady state three requests of three tokens give three tokens a
    /// step: a request gets its first with its prompt, and follows the one before it without a gap.
    #[test]
    fn a_probe_finds_the_rate_and_leaves_nothing_behind() {
        let mut engine = engine();
        let mut steps = 0;
        let clock = || {
            steps += 1;
            Duration::from_millis(steps)
        };
        let capacity = measure_by(&mut engine, LOAD, clock).unwrap();
        assert_eq!(capacity, Capacity { requests_per_s: 1000.0, tokens_per_s: 3000.0 });
        assert_eq!(steps, 100);
        assert!(engine.is_idle());
        assert_eq!((engine.pool().used_blocks, engine.pool().peak_blocks), (0, 0));
    }

    #[test]
    fn a_slow_host_gets_a_figure_too() {
        let mut times = [1, 2, 3, 4].map(Duration::from_secs).into_iter();
        let load = Load { budget: Duration::ZERO, ..LOAD };
        let capacity = measure_by(&mut engine(), load, || times.next().unwrap()).unwrap();
        assert_eq!(capacity.tokens_per_s, 3.0);
        assert!(measure(&mut engine(), load).unwrap().tokens_per_s > 0.0);
    }

    #[test]
    fn what_cannot_be_probed_is_said() {
        let mut engine = engine();
        let long = Load { input_tokens: 300, ..LOAD };
        assert!(matches!(measure(&mut engine, long), Err(CapacityError::Refused(Refusal::Context { tokens: 303, context: 256 }))));
        assert_eq!(measure(&mut engine, Load { concurrency: 0, ..LOAD }), Err(CapacityError::NoLoad));
        assert!(engine.is_idle());
        engine.submit(Ask { prompt: vec![1], max_tokens: 1, exact: true }).unwrap();
        assert_eq!(measure(&mut engine, LOAD), Err(CapacityError::Busy));
    }
}

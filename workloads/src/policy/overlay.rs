//! What no public trace records, put over any: classes with priorities, adapters, users who go away.
//!
//! Each is drawn by a key of its own from the seed, so that adding one changes nothing of the others. A session stays in its class and with
//! its adapter; whether a user goes away is drawn for each request.

use super::slice::groups;
use nomoat_core::request::Cancel;
use nomoat_core::rng::{Stream, keyed, stream_key};
use nomoat_core::trace::Trace;
use nomoat_core::units::Nanos;

/// A class of requests.
#[derive(Clone, PartialEq, Debug)]
pub struct ClassShare {
    /// Its name.
    pub name: String,
    /// Its share of sessions (and of requests without one), as a weight.
    pub share: f64,
    /// What its requests are sent with.
    pub priority: i32,
}

/// What is put over a trace.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Overlay {
    /// Classes; none leaves those of the trace.
    pub classes: Vec<ClassShare>,
    /// Names of adapters (LoRA); none leaves those of the trace.
    pub adapters: Vec<String>,
    /// How unequally adapters are asked for: the k-th with weight k to the power of minus this.
    pub zipf: f64,
    /// Users go away at random while they wait: this often per second. 0 for never.
    pub cancel_hazard_per_s: f64,
    /// The share of users who would; the others stay. `None` for all.
    pub cancel_share: Option<f64>,
    /// Of the draws.
    pub seed: u64,
}

/// Most classes or adapters: what an index of a request holds, one of them meaning none.
const MOST: usize = u16::MAX as usize - 1;

impl Overlay {
    /// Puts it over `trace`; what was done stands in its losses.
    ///
    /// # Errors
    /// What of it is impossible.
    pub fn apply(&self, trace: &mut Trace) -> Result<(), String> {
        let groups = groups(trace);
        if !self.classes.is_empty() {
            self.classify(trace, &groups)?;
        }
        if !self.adapters.is_empty() {
            self.adapt(trace, &groups)?;
        }
        self.cancel(trace)
    }

    fn classify(&self, trace: &mut Trace, groups: &[u32]) -> Result<(), String> {
        if let Some(wrong) = self.classes.iter().find(|class| !(class.share > 0.0 && class.share.is_finite()) || class.name.is_empty()) {
            return Err(format!("class `{}` needs a name and a positive share, not {}", wrong.name, wrong.share));
        }
        let chosen = Chosen::new(self.classes.iter().map(|class| class.share), self.seed, "overlay/classes")?;
        unique("class", self.classes.iter().map(|class| class.name.as_str()))?;
        for (request, group) in trace.requests.iter_mut().zip(groups) {
            let class = chosen.of(*group);
            (request.class, request.priority) = (class, self.classes[usize::from(class)].priority);
        }
        trace.classes = self.classes.iter().map(|class| class.name.clone()).collect();
        let words: Vec<String> = self.classes.iter().map(|c| format!("{} {} (priority {})", c.name, c.share, c.priority)).collect();
        trace.losses.push(format!("classes were drawn, not recorded: {}", words.join(", ")));
        Ok(())
    }

    fn adapt(&self, trace: &mut Trace, groups: &[u32]) -> Result<(), String> {
        if !(0.0..=10.0).contains(&self.zipf) {
            return Err(format!("adapters are asked for by a zipf exponent from 0 to 10, not {}", self.zipf));
        }
        unique("adapter", self.adapters.iter().map(String::as_str))?;
        let weights = (1..=self.adapters.len()).map(|k| libm::pow(k as f64, -self.zipf));
        let chosen = Chosen::new(weights, self.seed, "overlay/adapters")?;
        for (request, group) in trace.requests.iter_mut().zip(groups) {
            request.adapter = chosen.of(*group) + 1;
        }
        trace.adapters.clone_from(&self.adapters);
        trace.losses.push(format!("{} adapters were drawn, not recorded, by Zipf's law with exponent {}", self.adapters.len(), self.zipf));
        Ok(())
    }

    fn cancel(&self, trace: &mut Trace) -> Result<(), String> {
        let (hazard, share) = (self.cancel_hazard_per_s, self.cancel_share.unwrap_or(1.0));
        if hazard == 0.0 {
            return if self.cancel_share.is_none() { Ok(()) } else { Err("a share of users who go away needs a hazard per second".into()) };
        }
        if !(1e-9..=1e6).contains(&hazard) {
            return Err(format!("users go away between 0.000000001 and 1000000 times per second, not {hazard}"));
        }
        if !(0.0..=1.0).contains(&share) {
            return Err(format!("the share of users who go away is from 0 to 1, not {share}"));
        }
        let (mut waits, mut goes) = (Stream::new(self.seed, "overlay/cancel"), Stream::new(self.seed, "overlay/cancel-share"));
        let mut gone = 0_u64;
        for request in &mut trace.requests {
            // Both are drawn for every request, so that another share leaves the other times as they are.
            let seconds = waits.exponential() / hazard;
            if goes.uniform() <= share {
                // At least a microsecond, the unit of the canonical format.
                let after = Nanos::from_micros((Nanos::from_secs_f64(seconds.min(1e9)).0 / 1_000).max(1));
                request.cancel = Some(Cancel::After(after));
                gone += 1;
            }
        }
        trace.losses.push(format!("{gone} of {} users go away if not answered by a drawn time, {hazard}/s each", trace.requests.len()));
        Ok(())
    }
}

/// Things with weights, one of which is drawn for each group.
struct Chosen {
    sums: Vec<f64>,
    key: u64,
}

impl Chosen {
    fn new(weights: impl Iterator<Item = f64>, seed: u64, name: &str) -> Result<Self, String> {
        let mut sum = 0.0;
        let mut sums: Vec<f64> = vec![];
        for weight in weights {
            sum += weight;
            sums.push(sum);
        }
        if sums.len() > MOST {
            return Err(format!("{} of them are more than the {MOST} that a request can name", sums.len()));
        }
        sums.iter_mut().for_each(|part| *part /= sum);
        Ok(Self { sums, key: stream_key(seed, name) })
    }

    fn of(&self, group: u32) -> u16 {
        let uniform = (keyed(self.key, u64::from(group)) >> 11) as f64 / (1_u64 << 53) as f64;
        self.sums.partition_point(|sum| *sum <= uniform).min(self.sums.len() - 1) as u16
    }
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if name.is_empty() || !seen.insert(name) {
            return Err(format!("{what} `{name}` has no name or is given twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::generate;

    fn class(name: &str, share: f64, priority: i32) -> ClassShare {
        ClassShare { name: name.into(), share, priority }
    }

    fn overlay() -> Overlay {
        Overlay {
            classes: vec![class("critical", 0.2, 100), class("normal", 0.6, 0), class("batch", 0.2, -10)],
            adapters: ["a", "b", "c"].map(String::from).to_vec(),
            zipf: 1.0,
            cancel_hazard_per_s: 0.1,
            cancel_share: Some(0.5),
            seed: 4,
        }
    }

    fn over(overlay: &Overlay, sessions: u32) -> Trace {
        let mut trace = generate("multi-turn", 3, &[format!("sessions={sessions}")]).unwrap();
        overlay.apply(&mut trace).unwrap();
        trace
    }

    #[test]
    fn shares_are_those_asked_for_and_sessions_stay_together() {
        let trace = over(&overlay(), 20_000);
        let n = trace.requests.len() as f64;
        let share = |is: &dyn Fn(&nomoat_core::trace::TraceRequest) -> bool| trace.requests.iter().filter(|r| is(r)).count() as f64 / n;
        let near = |value: f64, expect: f64| assert!((value - expect).abs() < 0.01, "{value}, not {expect}");
        near(share(&|r| r.priority == 100 && r.class == 0), 0.2);
        near(share(&|r| r.priority == 0 && r.class == 1), 0.6);
        near(share(&|r| r.priority == -10 && r.class == 2), 0.2);
        near(share(&|r| r.adapter == 1), 6.0 / 11.0);
        near(share(&|r| r.adapter == 3), 2.0 / 11.0);
        near(share(&|r| r.cancel.is_some()), 0.5);
        for pair in trace.requests.windows(2).filter(|pair| pair[0].session == pair[1].session) {
            assert_eq!((pair[0].class, pair[0].adapter), (pair[1].class, pair[1].adapter));
        }
        let waits: Vec<f64> = trace
            .requests
            .iter()
            .filter_map(|r| match r.cancel {
                Some(Cancel::After(time)) => Some(time.as_secs_f64()),
                _ => None,
            })
            .collect();
        near(waits.iter().sum::<f64>() / waits.len() as f64 / 10.0, 1.0);
        assert_eq!((trace.classes.len(), trace.adapters.len(), trace.losses.len()), (3, 3, 3));
    }

    #[test]
    fn one_overlay_changes_nothing_of_another() {
        let all = over(&overlay(), 50);
        let only = over(&Overlay { adapters: vec![], classes: vec![], ..overlay() }, 50);
        let cancels = |t: &Trace| t.requests.iter().map(|r| r.cancel).collect::<Vec<_>>();
        assert_eq!(cancels(&all), cancels(&only));
        let more = over(&Overlay { cancel_share: None, ..overlay() }, 50);
        assert!(cancels(&all).iter().zip(cancels(&more)).all(|(some, every)| some.is_none() || *some == every));
        assert!(over(&Overlay::default(), 5).losses.is_empty());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (overlay, expect) in [
            (Overlay { classes: vec![class("a", 0.0, 1)], ..Overlay::default() }, "positive share"),
            (Overlay { classes: vec![class("a", 1.0, 1), class("a", 1.0, 2)], ..Overlay::default() }, "twice"),
            (Overlay { adapters: vec![String::new()], ..Overlay::default() }, "no name"),
            (Overlay { zipf: -1.0, ..overlay() }, "zipf exponent"),
            (Overlay { cancel_hazard_per_s: f64::NAN, ..Overlay::default() }, "per second"),
            (Overlay { cancel_share: Some(2.0), ..overlay() }, "from 0 to 1"),
            (Overlay { cancel_share: Some(0.5), ..Overlay::default() }, "needs a hazard"),
        ] {
            let mut trace = generate("chat", 3, &["requests=3"]).unwrap();
            let error = overlay.apply(&mut trace).unwrap_err();
            assert!(error.contains(expect), "{error}");
        }
    }
}

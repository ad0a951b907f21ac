//! Numbers as others publish them, from our records: MLPerf Endpoints' point and InferenceX's row. Names and definitions are theirs, stamps
//! are ours. What they count that a run does not hold (a precision, a reference tokenizer) is absent with its reason, never guessed.
//!
//! A yardstick is one entry of [`YARDSTICKS`]. [`crate::compat`] is something else: it explains why another harness's numbers differ from ours.

use crate::cost::counted;
use crate::record::{Phase, RequestRecord};
use crate::stats::nearest_rank;

/// A way to publish a run.
#[derive(Debug)]
pub struct Yardstick {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it calls itself.
    pub title: &'static str,
    /// Where its definitions were read.
    pub source: &'static str,
    /// Its fields of a run.
    pub fields: fn(&Sums, &System) -> Vec<Field>,
}

/// Every yardstick.
pub const YARDSTICKS: &[Yardstick] = &[
    Yardstick {
        name: "mlperf-endpoints",
        title: "MLPerf Endpoints, one measurement point",
        source: "docs.mlcommons.org/endpoints-submission-docs, metrics and regions, v1.0",
        fields: mlperf,
    },
    Yardstick {
        name: "inferencex",
        title: "InferenceX, one row",
        source: "InferenceX utils/process_result.py over vLLM's benchmark; MODELS.md of AgentX",
        fields: inferencex,
    },
];

/// What a run was on, as far as it tells.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct System {
    /// The model.
    pub model: String,
    /// The engine.
    pub engine: String,
    /// Requests in flight at most: lanes of a closed loop.
    pub concurrency: Option<u32>,
    /// Name of the accelerators; of several kinds every name.
    pub accelerator: Option<String>,
    /// How many, of all kinds.
    pub accelerators: Option<u64>,
}

/// One field: a number, a word, or why there is neither.
#[derive(Clone, PartialEq, Debug)]
pub struct Field {
    /// Its name, theirs.
    pub name: String,
    /// What it says.
    pub value: Value,
    /// How it is computed.
    pub about: &'static str,
}

/// What a field says.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A word.
    Word(String),
    /// Nothing, and why.
    Absent(&'static str),
}

/// What the yardsticks need of a run's answered requests, in seconds.
#[derive(Clone, Default, Debug)]
pub struct Sums {
    ttft: Vec<f64>,
    tpot: Vec<f64>,
    itl: Vec<f64>,
    e2e: Vec<f64>,
    /// End to end by output tokens.
    normalised: Vec<f64>,
    input: u64,
    input_unknown: u64,
    output: u64,
    uncounted: u64,
    answered: u64,
    sessions: bool,
    first_start: Option<i64>,
    last_end: Option<i64>,
}

impl Sums {
    /// Takes a record: answered requests of the window count, others do not.
    ///
    /// Latencies are from the moment the harness began to act on a request ([`crate::record::Moments::start`]), which is what both call the
    /// issue of a query; waiting for a free lane is in none of them.
    pub fn add(&mut self, record: &RequestRecord) {
        if record.phase != Phase::Measure || !record.is_ok() {
            return;
        }
        self.answered += 1;
        self.sessions |= record.session.is_some() && record.turn > 0;
        let seconds = |ns: i64| ns as f64 / 1e9;
        let (Some(start), Some(first), Some(last)) = (record.at.start, record.at.first_token, record.at.last_token) else { return };
        self.first_start = Some(self.first_start.map_or(start.0, |at| at.min(start.0)));
        self.last_end = Some(self.last_end.map_or(last.0, |at| at.max(last.0)));
        let e2e = seconds((last - start).0);
        self.ttft.push(seconds((first - start).0));
        self.e2e.push(e2e);
        self.itl.extend(record.chunk_gaps.iter().skip(1).map(|gap| seconds(*gap)));
        match record.tokens.input.filter(|_| counted(record.tokens.input_source)) {
            Some(input) => self.input += u64::from(input),
            None => self.input_unknown += 1,
        }
        match record.tokens.output.filter(|_| counted(record.tokens.output_source)) {
            Some(output) if output > 0 => {
                self.output += u64::from(output);
                self.normalised.push(e2e / f64::from(output));
                if output > 1 {
                    self.tpot.push(seconds((last - first).0) / f64::from(output - 1));
                }
            }
            _ => self.uncounted += 1,
        }
    }

    /// From the first start to the last token of answered requests.
    fn elapsed(&self) -> Option<f64> {
        let elapsed = (self.last_end? - self.first_start?) as f64 / 1e9;
        (elapsed > 0.0).then_some(elapsed)
    }

    fn output_rate(&self) -> Value {
        if self.uncounted > 0 {
            return Value::Absent("requests whose output tokens nobody counted");
        }
        number(self.elapsed().map(|elapsed| self.output as f64 / elapsed))
    }
}

fn number(value: Option<f64>) -> Value {
    value.filter(|value| value.is_finite()).map_or(Value::Absent("no answered request has it"), Value::Number)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// The percentile by nearest rank, as this project takes it.
fn ranked(values: &[f64], q: f64) -> Option<f64> {
    let rank = nearest_rank(values.len() as u64, q);
    sorted(values).get((rank as usize).checked_sub(1)?).copied()
}

/// The percentile of numpy, by linear interpolation between ranks.
fn linear(sorted: &[f64], q: f64) -> Option<f64> {
    let at = q * sorted.len().checked_sub(1)? as f64;
    let (below, rest) = (libm::floor(at) as usize, at - libm::floor(at));
    let above = sorted.get(below + 1).copied().unwrap_or(sorted[below]);
    Some(sorted[below] + (above - sorted[below]) * rest)
}

fn mlperf(sums: &Sums, system: &System) -> Vec<Field> {
    let field = |name: &str, value, about| Field { name: name.to_owned(), value, about };
    let tpot = ranked(&sums.tpot, 0.9);
    let agentic = if !sums.sessions {
        Value::Absent("the workload has no sessions of several turns")
    } else if sums.uncounted > 0 {
        Value::Absent("requests whose output tokens nobody counted")
    } else {
        let turns: f64 = sums.e2e.iter().sum();
        number((turns > 0.0).then(|| sums.output as f64 / turns))
    };
    let concurrency =
        system.concurrency.map_or(Value::Absent("an open loop has no concurrency that it aims at"), |n| Value::Number(n.into()));
    vec![
        field("concurrency", concurrency, "queries in flight that the load aims at"),
        field("system_tps", sums.output_rate(), "output tokens of answered requests by the time from the first start to the last token"),
        field("tps_per_user", number(tpot.map(|s| 1.0 / s)), "1000 ÷ tpot_p90_ms"),
        field(
            "tpot_p90_ms",
            number(tpot.map(|s| s * 1e3)),
            "90th percentile of (last − first token) ÷ (tokens − 1), answers of one token have none",
        ),
        field(
            "ttft_p90_ms",
            number(ranked(&sums.ttft, 0.9).map(|s| s * 1e3)),
            "90th percentile from the start to the first text of any kind",
        ),
        field(
            "e2e_avg_interactivity",
            agentic,
            "output tokens of all turns by their summed time, seen from the client; theirs is timed at the server",
        ),
    ]
}

fn inferencex(sums: &Sums, system: &System) -> Vec<Field> {
    let field = |name: String, value, about| Field { name, value, about };
    let word =
        |word: Option<&str>, why| word.filter(|word| !word.is_empty()).map_or(Value::Absent(why), |word| Value::Word(word.to_owned()));
    let per = |rate: Value| match (rate, system.accelerators.filter(|n| *n > 0)) {
        (Value::Number(rate), Some(n)) => Value::Number(rate / n as f64),
        (Value::Number(_), None) => Value::Absent("number of accelerators unknown: --accelerators NAME:COUNT"),
        (other, _) => other,
    };
    let input_rate = if sums.input_unknown > 0 {
        Value::Absent("the endpoint does not count prompt tokens")
    } else {
        number(sums.elapsed().map(|elapsed| sums.input as f64 / elapsed))
    };
    let total = match (input_rate.clone(), sums.output_rate()) {
        (Value::Number(input), Value::Number(output)) => Value::Number(input + output),
        (Value::Number(_), absent) | (absent, _) => absent,
    };
    const RATE: &str = "tokens of answered requests by the time from the first start to the last token, by accelerator";
    let mut fields = vec![
        field("hw".into(), word(system.accelerator.as_deref(), "the run does not tell: --accelerators NAME:COUNT"), "accelerator"),
        field(
            "num_gpus".into(),
            system.accelerators.map_or(Value::Absent("the run does not tell"), |n| Value::Number(n as f64)),
            "accelerators",
        ),
        field("conc".into(), system.concurrency.map_or(Value::Absent("an open loop"), |n| Value::Number(n.into())), "requests in flight"),
        field("model".into(), word(Some(&system.model), "the run does not tell"), "model"),
        field("framework".into(), word(Some(&system.engine), "the run does not tell"), "engine"),
        field("precision".into(), Value::Absent("a run does not hold it"), "precision of the weights"),
        field("tput_per_gpu".into(), per(total), RATE),
        field("output_tput_per_gpu".into(), per(sums.output_rate()), RATE),
        field("input_tput_per_gpu".into(), per(input_rate), RATE),
    ];
    let metrics: [(&str, &[f64], &str); 4] = [
        ("ttft", &sums.ttft, "s, from the start to the first text"),
        ("tpot", &sums.tpot, "s, (last − first token) ÷ (tokens − 1)"),
        ("itl", &sums.itl, "s, gaps between chunks"),
        ("e2el", &sums.e2e, "s, from the start to the last token"),
    ];
    for (metric, values, about) in metrics {
        let values = sorted(values);
        let mean = (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
        let stats = [("mean", mean), ("median", linear(&values, 0.5)), ("p90", linear(&values, 0.9)), ("p99", linear(&values, 0.99))];
        for (stat, value) in stats {
            fields.push(field(format!("{stat}_{metric}"), number(value), about));
            if metric == "tpot" {
                let about = "tokens/s of one user: the reciprocal of the same number of TPOT";
                fields.push(field(format!("{stat}_intvty"), number(value.map(|s| 1.0 / s)), about));
            }
        }
    }
    fields.push(field(
        "p90_e2e_norm_intvty".into(),
        number(linear(&sorted(&sums.normalised), 0.9).map(|s| 1.0 / s)),
        "tokens/s: the reciprocal of the 90th percentile of end to end ÷ output tokens, the percentile taken before inverting",
    ));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CountSource, Moments, Status, Tokens};
    use crate::units::Nanos;

    /// Starts at `start`, first token after `first`, then one token every `gap` until `output` are there; ms.
    fn answer(start: i64, first: i64, gap: i64, output: u32) -> RequestRecord {
        let at = |ms: i64| Some(Nanos::from_millis(ms));
        let gaps = (0..i64::from(output)).map(|i| if i == 0 { 0 } else { gap * 1_000_000 }).collect();
        let source = CountSource::Usage;
        RequestRecord {
            at: Moments {
                due: Nanos::from_millis(start - 5),
                start: at(start),
                first_token: at(start + first),
                last_token: at(start + first + gap * (i64::from(output) - 1)),
                ..Moments::default()
            },
            chunk_gaps: gaps,
            chunk_tokens: vec![1; output as usize],
            tokens: Tokens { input: Some(100), output: Some(output), input_source: source, output_source: source, ..Tokens::default() },
            ..RequestRecord::default()
        }
    }

    fn fields(name: &str, records: &[RequestRecord], system: &System) -> Vec<Field> {
        let mut sums = Sums::default();
        records.iter().for_each(|record| sums.add(record));
        (YARDSTICKS.iter().find(|y| y.name == name).unwrap().fields)(&sums, system)
    }

    fn of(fields: &[Field], name: &str) -> f64 {
        match &fields.iter().find(|field| field.name == name).unwrap().value {
            Value::Number(value) => *value,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn a_point_and_a_row_of_ten_answers() {
        // TTFT 10, 20, … 100 ms; TPOT 1, 2, … 10 ms; 11 tokens each; one after the other, a second apart.
        let mut records: Vec<RequestRecord> = (1..=10).map(|i| answer(i * 1_000, i * 10, i, 11)).collect();
        records.push(RequestRecord { status: Status::Timeout, ..answer(0, 1, 1, 11) });
        records.push(RequestRecord { phase: Phase::Warmup, ..answer(0, 1, 1, 11) });
        let system =
            System { concurrency: Some(4), accelerator: Some("h200".into()), accelerators: Some(2), model: "m".into(), engine: "e".into() };
        let point = fields("mlperf-endpoints", &records, &system);
        let near = |found: f64, expect: f64| assert!((found - expect).abs() < 1e-9 * expect, "{found} for {expect}");
        // From 1 s to the tenth answer's end, 10 s + 100 ms + 100 ms.
        near(of(&point, "system_tps"), 110.0 / 9.2);
        near(of(&point, "ttft_p90_ms"), 90.0);
        near(of(&point, "tpot_p90_ms"), 9.0);
        near(of(&point, "tps_per_user"), 1_000.0 / 9.0);
        near(of(&point, "concurrency"), 4.0);
        assert!(matches!(point.last().unwrap().value, Value::Absent(why) if why.contains("no sessions")));

        let row = fields("inferencex", &records, &system);
        near(of(&row, "output_tput_per_gpu"), 110.0 / 9.2 / 2.0);
        near(of(&row, "tput_per_gpu"), 1_110.0 / 9.2 / 2.0);
        near(of(&row, "median_ttft"), 0.055);
        near(of(&row, "p90_tpot"), 0.0091);
        near(of(&row, "p90_intvty"), 1.0 / 0.0091);
        near(of(&row, "mean_e2el"), 0.11);
        // End to end is i·20 ms for 11 tokens.
        near(of(&row, "p90_e2e_norm_intvty"), 11.0 / 0.182);
    }

    #[test]
    fn agents_and_what_is_not_known() {
        let turn = |n| RequestRecord { session: Some(crate::request::SessionId(1)), turn: n, ..answer(i64::from(n) * 1_000, 100, 10, 11) };
        let point = fields("mlperf-endpoints", &[turn(0), turn(1)], &System::default());
        assert!((of(&point, "e2e_avg_interactivity") - 22.0 / 0.4).abs() < 1e-9);
        let absent = |fields: &[Field], name: &str| match fields.iter().find(|f| f.name == name).unwrap().value {
            Value::Absent(why) => why,
            ref other => panic!("{other:?}"),
        };
        assert!(absent(&point, "concurrency").contains("open loop"));
        let mut uncounted = answer(0, 10, 1, 3);
        uncounted.tokens.output_source = CountSource::Chunks;
        let row = fields("inferencex", &[uncounted], &System::default());
        assert!(absent(&row, "output_tput_per_gpu").contains("nobody counted"));
        assert!(absent(&row, "p90_tpot").contains("no answered request"));
        assert!(absent(&row, "hw").contains("--accelerators"));
        assert!(fields("inferencex", &[], &System::default()).iter().all(|f| !matches!(f.value, Value::Number(_))));
    }
}

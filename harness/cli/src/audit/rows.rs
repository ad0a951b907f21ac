//! The rows of an audit's table: one question, answered for the other harness and for ours.

use super::plan::Plan;
use nomoat_core::units::Nanos;
use nomoat_truth::audit::{AskedLoad, Quantity, Side, Stat, StatRow};

/// A cell. Every kind knows its unit.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Nanoseconds.
    Time(f64),
    /// Nanoseconds of an error, whose sign matters.
    Error(f64),
    /// A number of requests.
    Count(u64),
    /// Requests per second.
    Rate(f64),
    /// A number without unit.
    Number(f64),
    /// Seconds lost per second.
    Drift(f64),
    /// Not known, or not said.
    Unknown,
}

impl Value {
    /// For people.
    pub fn shown(&self) -> String {
        let time = |ns: f64| Nanos(ns.round() as i64).to_string();
        match self {
            Self::Time(ns) => precise(*ns),
            Self::Error(ns) if *ns >= 0.0 => format!("+{}", time(*ns)),
            Self::Error(ns) => time(*ns).replace('-', "−"),
            Self::Count(n) => n.to_string(),
            Self::Rate(rate) => format!("{rate:.2}/s"),
            Self::Number(number) => format!("{number:.3}"),
            Self::Drift(drift) => format!("{:+.3} ms/s", drift * 1e3).replace('-', "−"),
            Self::Unknown => "–".to_owned(),
        }
    }

    /// For machines: the number in its unit; `None` where there is none.
    pub fn raw(&self) -> Option<f64> {
        match self {
            Self::Time(v) | Self::Error(v) | Self::Rate(v) | Self::Number(v) | Self::Drift(v) => Some(*v),
            Self::Count(n) => Some(*n as f64),
            Self::Unknown => None,
        }
    }

    /// The unit of [`Self::raw`].
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Time(_) | Self::Error(_) => "ns",
            Self::Count(_) => "requests",
            Self::Rate(_) => "per_s",
            Self::Number(_) => "",
            Self::Drift(_) => "s_per_s",
            Self::Unknown => "",
        }
    }
}

/// Two decimals of a millisecond and more, so that two latencies in one row can be subtracted by eye.
fn precise(ns: f64) -> String {
    if ns.abs() >= 1e9 { format!("{:.4} s", ns / 1e9) } else { format!("{:.3} ms", ns / 1e6) }
}

/// A row.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// What is asked, such as `TTFT`.
    pub what: &'static str,
    /// Of it, such as `p50`.
    pub stat: &'static str,
    /// The other harness's cells, one per column of the section.
    pub theirs: Vec<Value>,
    /// Ours.
    pub ours: Vec<Value>,
}

/// Rows under common columns.
#[derive(Clone, PartialEq, Debug)]
pub struct Section {
    /// Its name in CSV and JSON.
    pub name: &'static str,
    /// Its title.
    pub title: &'static str,
    /// Columns, which each harness has.
    pub columns: &'static [&'static str],
    /// Rows.
    pub rows: Vec<Row>,
}

/// All sections.
pub fn sections(plan: &Plan, theirs: &Side, ours: &Side) -> Vec<Section> {
    vec![statistics(theirs, ours), each(theirs, ours), requests(plan, theirs, ours), arrivals(plan, theirs, ours)]
}

fn statistics(theirs: &Side, ours: &Side) -> Section {
    let of = |side: &Side, quantity: Quantity, stat: Stat| {
        let row = side.stats.iter().find(|row| row.quantity == quantity && row.stat == stat);
        let cell = |value: Option<f64>, kind: fn(f64) -> Value| value.map_or(Value::Unknown, kind);
        vec![
            cell(row.and_then(|r| r.reported), Value::Time),
            cell(row.and_then(|r| r.truth), Value::Time),
            cell(row.and_then(StatRow::error), Value::Error),
        ]
    };
    let rows = Quantity::ALL
        .iter()
        .flat_map(|quantity| Stat::ALL.map(|stat| (*quantity, stat)))
        .map(|(quantity, stat)| Row {
            what: quantity.name(),
            stat: stat.name(),
            theirs: of(theirs, quantity, stat),
            ours: of(ours, quantity, stat),
        })
        .collect();
    let columns = &["reported", "truth", "error"];
    Section { name: "statistics", title: "what was reported, what was true, and the difference", columns, rows }
}

fn each(theirs: &Side, ours: &Side) -> Section {
    let stats: [&'static str; 4] = ["mean", "p50", "p99", "largest"];
    let of = |side: &Side, quantity: Quantity, stat: &str| {
        let errors = side.each.iter().find(|(q, _)| *q == quantity).map(|(_, errors)| errors);
        vec![errors.map_or(Value::Unknown, |e| match stat {
            "mean" => Value::Error(e.mean_ns),
            "p50" => Value::Error(e.p50.0 as f64),
            "p99" => Value::Error(e.p99.0 as f64),
            _ => Value::Time(e.max_abs.0 as f64),
        })]
    };
    let rows = Quantity::ALL
        .iter()
        .flat_map(|quantity| stats.map(|stat| (*quantity, stat)))
        .map(|(quantity, stat)| Row { what: quantity.name(), stat, theirs: of(theirs, quantity, stat), ours: of(ours, quantity, stat) })
        .filter(|row| row.theirs[0] != Value::Unknown || row.ours[0] != Value::Unknown)
        .collect();
    Section { name: "each", title: "errors request by request (ITL: gap by gap where there are gaps)", columns: &["error"], rows }
}

fn requests(plan: &Plan, theirs: &Side, ours: &Side) -> Section {
    let row = |what, stat, of: &dyn Fn(&Side) -> Option<u64>| {
        let cell = |side| vec![of(side).map_or(Value::Unknown, Value::Count)];
        Row { what, stat, theirs: cell(theirs), ours: cell(ours) }
    };
    let mut rows = vec![
        row("asked for", "", &|_| Some(u64::from(plan.requests))),
        row("seen by the server", "all", &|side| Some(side.seen.all)),
        row("seen by the server", "answered whole", &|side| Some(side.seen.complete)),
        row("reported", "answered", &|side| side.reported.completed),
        row("reported", "failed or left", &|side| side.reported.failed),
        row("found in the log", "", &|side| Some(side.seen.reported)),
    ];
    // What is rare is shown where it happened.
    let rare = [
        row("not in the result", "before it began", &|side| Some(side.seen.before)),
        row("not in the result", "in between", &|side| Some(side.seen.between)),
        row("not in the result", "after it ended", &|side| Some(side.seen.after)),
        row("reported, not seen", "", &|side| Some(side.seen.unseen)),
        row("other token count", "", &|side| Some(side.seen.other_tokens)),
    ];
    rows.extend(rare.into_iter().filter(|row| row.theirs[0] != Value::Count(0) || row.ours[0] != Value::Count(0)));
    Section { name: "requests", title: "requests really sent", columns: &["count"], rows }
}

fn arrivals(plan: &Plan, theirs: &Side, ours: &Side) -> Section {
    let row = |what, stat, of: &dyn Fn(&Side) -> Option<Value>| {
        let cell = |side| vec![of(side).unwrap_or(Value::Unknown)];
        Row { what, stat, theirs: cell(theirs), ours: cell(ours) }
    };
    let law = match plan.load {
        AskedLoad::Constant(_) => Some(0.0),
        AskedLoad::Poisson(_) => Some(1.0),
        AskedLoad::Closed(_) => None,
    };
    let mut rows = vec![
        row("rate", "asked", &|_| plan.load.rate().map(Value::Rate)),
        row("rate", "achieved", &|side| side.arrivals.rate_per_s.map(Value::Rate)),
        row("CV of gaps", "asked", &|_| law.map(Value::Number)),
        row("CV of gaps", "achieved", &|side| side.arrivals.cv.map(Value::Number)),
        row("index of dispersion", "asked", &|_| law.map(Value::Number)),
        row("index of dispersion", "achieved", &|side| side.arrivals.dispersion.map(Value::Number)),
    ];
    if matches!(plan.load, AskedLoad::Poisson(_)) {
        rows.push(row("KS distance", "5 % critical", &|side| side.arrivals.ks.map(|ks| Value::Number(ks.critical))));
        rows.push(row("KS distance", "of the gaps", &|side| side.arrivals.ks.map(|ks| Value::Number(ks.distance))));
    }
    if let (Ok(_), _) | (_, Ok(_)) = (&theirs.lateness, &ours.lateness) {
        let late = |of: fn(&nomoat_truth::audit::Lateness) -> Value| move |side: &Side| side.lateness.as_ref().ok().map(of);
        rows.push(row("lateness", "p50", &late(|l| Value::Error(l.p50.0 as f64))));
        rows.push(row("lateness", "p99", &late(|l| Value::Error(l.p99.0 as f64))));
        rows.push(row("lateness", "max", &late(|l| Value::Error(l.max.0 as f64))));
        rows.push(row("lateness", "drift", &late(|l| Value::Drift(l.drift))));
    }
    Section { name: "arrivals", title: "arrivals as the server saw them", columns: &["value"], rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_for_people() {
        for (value, shown) in [
            (Value::Time(52_345_678.0), "52.346 ms"),
            (Value::Time(1_234_567_890.0), "1.2346 s"),
            (Value::Error(2_345_678.0), "+2.35 ms"),
            (Value::Error(-12_345.0), "−12.3 µs"),
            (Value::Error(0.0), "+0 ns"),
            (Value::Count(3), "3"),
            (Value::Rate(19.876), "19.88/s"),
            (Value::Drift(-0.0125), "−12.500 ms/s"),
            (Value::Number(0.0), "0.000"),
            (Value::Unknown, "–"),
        ] {
            assert_eq!(value.shown(), shown);
        }
    }
}

//! `nomoat profiles link-fit`: α and β of measured collectives, how well they fit, and what follows for tensor parallelism.

use crate::args::LinkFitArgs;
use crate::config::choose;
use crate::exit::Failure;
use crate::output::{line, put};
use nomoat_core::collective::{Collective, Weighting};
use nomoat_results::collectives::{Asked, LinkFit};
use nomoat_results::table::{Cell, Figure, Figures, Format, note};
use serde_json::{Value, json};

/// A residual from which on a line is said not to fit: a size at which the time is off by a quarter is moved by something else.
const MISFIT: f64 = 0.25;

/// Runs the subcommand.
pub fn link_fit(args: &LinkFitArgs, format: Format) -> Result<(), Failure> {
    let weighting = match choose("--weighting", &args.weighting, &["relative", "even"])? {
        "even" => Weighting::Even,
        _ => Weighting::Relative,
    };
    if let Some(width) = args.d_model.iter().find(|width| **width == 0) {
        return Err(Failure::usage(format!("--d-model takes widths of models, not {width}")));
    }
    let told = args.collective.as_deref().map(named).transpose()?;
    let asked = Asked { collective: told, otherwise: None, ranks: args.ranks, in_place: args.in_place, weighting };
    let mut all = vec![];
    for path in &args.files {
        all.extend(LinkFit::open(path, asked).map_err(Failure::usage)?);
    }
    match format {
        Format::Table | Format::Markdown => tables(&all, args, format),
        Format::Csv => put(&residuals(&all).render(format)),
        Format::Json => line(&as_json(&all, args).to_string()),
    }
    Ok(())
}

fn named(name: &str) -> Result<Collective, Failure> {
    let name = choose("--collective", name, &Collective::ALL.map(|(_, name)| name))?;
    Ok(Collective::ALL.iter().find(|(_, known)| *known == name).map_or(Collective::AllReduce, |(collective, _)| *collective))
}

fn column(key: &'static str, header: &'static str) -> Figure {
    Figure { key, header, number: true }
}

fn plus_minus(value: f64, half: f64) -> String {
    format!("{value:.2} ± {half:.2}")
}

fn lines(all: &[LinkFit]) -> Figures {
    let columns = vec![
        Figure { key: "file", header: "file", number: false },
        Figure { key: "collective", header: "collective", number: false },
        column("ranks", "ranks"),
        column("sizes", "sizes"),
        column("alpha_us", "α µs"),
        column("beta_gb_s", "β GB/s"),
        column("bus_gb_s", "bus GB/s"),
        column("r2", "R²"),
        column("worst", "worst %"),
    ];
    let row = |of: &LinkFit| {
        let (low, high) = of.rate_interval();
        let high = high.map_or_else(|| "?".into(), |high| format!("{:.1}", high / 1e9));
        vec![
            Cell::word(of.shown.as_str()),
            Cell::word(of.collective.name()),
            Cell::number(Some(f64::from(of.ranks)), |n| n.to_string()),
            Cell::number(Some(of.points.len() as f64), |n| n.to_string()),
            Cell::number(Some(of.fit.alpha_s * 1e6), |us| plus_minus(us, of.fit.half_width(of.fit.alpha_error_s) * 1e6)),
            Cell::number(of.fit.bytes_per_s().map(|n| n / 1e9), |n| format!("{n:.1} ({:.1} … {high})", low / 1e9)),
            Cell::number(of.bus().map(|n| n / 1e9), |n| format!("{n:.1}")),
            Cell::number(Some(of.fit.r2), |n| format!("{n:.5}")),
            Cell::number(Some(of.fit.worst()), |n| format!("{:.1}", n * 100.0)),
        ]
    };
    Figures { columns, rows: all.iter().map(row).collect() }
}

fn residuals(all: &[LinkFit]) -> Figures {
    let mut columns = vec![];
    if all.len() > 1 {
        columns.push(Figure { key: "file", header: "file", number: false });
    }
    columns.extend([
        column("bytes", "bytes"),
        column("measured_us", "measured µs"),
        column("fitted_us", "fitted µs"),
        column("residual", "residual %"),
    ]);
    let rows = all.iter().flat_map(|of| {
        of.points.iter().zip(&of.fit.residuals).map(move |((bytes, seconds), residual)| {
            let mut row = if all.len() > 1 { vec![Cell::word(of.shown.as_str())] } else { vec![] };
            row.extend([
                Cell::number(Some(*bytes), |n| n.to_string()),
                Cell::number(Some(seconds * 1e6), |n| format!("{n:.2}")),
                Cell::number(Some((1.0 - residual) * seconds * 1e6), |n| format!("{n:.2}")),
                Cell::number(Some(*residual), |n| format!("{:+.1}", n * 100.0)),
            ]);
            row
        })
    });
    Figures { rows: rows.collect(), columns }
}

fn crossings(all: &[LinkFit], args: &LinkFitArgs) -> Figures {
    let mut columns = vec![];
    if all.len() > 1 {
        columns.push(Figure { key: "file", header: "file", number: false });
    }
    columns.extend([column("d_model", "d-model"), column("crossover_tokens", "B* tokens"), column("half_width", "±")]);
    let rows = all.iter().filter(|of| of.collective == Collective::AllReduce).flat_map(|of| {
        args.d_model.iter().map(move |width| {
            let crossing = of.crossover(*width);
            let mut row = if all.len() > 1 { vec![Cell::word(of.shown.as_str())] } else { vec![] };
            row.extend([
                Cell::number(Some(f64::from(*width)), |n| n.to_string()),
                Cell::number(crossing.map(|(tokens, _)| tokens), |n| format!("{n:.0}")),
                Cell::number(crossing.map(|(_, half)| half), |n| format!("{n:.0}")),
            ]);
            row
        })
    });
    Figures { rows: rows.collect(), columns }
}

fn tables(all: &[LinkFit], args: &LinkFitArgs, format: Format) {
    let say = |text: &str| put(&(note(text) + if format == Format::Markdown { "\n" } else { "" }));
    put(&lines(all).render(format));
    put("\n");
    put(&residuals(all).render(format));
    put("\n");
    let crossings = crossings(all, args);
    if !crossings.rows.is_empty() {
        put(&crossings.render(format));
        put("\n");
    }
    say(&format!(
        "One operation over S bytes takes α + S/β, times {}; ± and (…) are 95 % intervals, by least squares of {} errors. bus: β times \
         the factor of nccl-tests for this collective and these ranks.",
        if args.in_place { "in place" } else { "out of place" },
        if args.weighting == "even" { "absolute" } else { "relative" },
    ));
    if !crossings.rows.is_empty() {
        say(
            "B* = α·β/(2·d-model): tokens of a step at which the bytes of one bf16 all-reduce of tensor parallelism take as long as its α; \
             with fewer, latency is the larger part. It is no constant: it goes with α, β and the model.",
        );
    }
    for of in all {
        say(&judged(of));
    }
}

fn judged(of: &LinkFit) -> String {
    let checked = of.table.rows.iter().filter(|row| row.timings.iter().flatten().all(|timing| timing.checked)).count();
    let mut text = match of.misfit(MISFIT) {
        _ if !of.fit.is_physical() => format!("{}: no α and β describe these times: one of them came out negative.", of.shown),
        Some(why) => {
            format!("{}: {why}; the library changes its way there, and B* between such sizes is not to be trusted.", of.shown)
        }
        None => format!("{}: the line is off by {:.1} % at most.", of.shown, of.fit.worst() * 100.0),
    };
    if checked < of.table.rows.len() {
        text += " Values were not compared in all rows.";
    }
    if !of.table.ended {
        text += " No \"Out of bounds values\" and no \"Avg bus bandwidth\" follow its rows: the page may have been cut off, and larger sizes be missing.";
    }
    text
}

fn as_json(all: &[LinkFit], args: &LinkFitArgs) -> Value {
    let fits: Vec<Value> = all
        .iter()
        .map(|of| {
            let (low, high) = of.rate_interval();
            let crossings: Vec<Value> = args
                .d_model
                .iter()
                .filter(|_| of.collective == Collective::AllReduce)
                .map(|width| {
                    let crossing = of.crossover(*width);
                    json!({"d_model": width, "tokens": crossing.map(|(n, _)| n), "half_width": crossing.map(|(_, half)| half)})
                })
                .collect();
            json!({
                "file": of.shown, "collective": of.collective.name(), "ranks": of.ranks, "version": of.table.version, "devices": of.table.devices,
                "ended": of.table.ended,
                "alpha_s": of.fit.alpha_s, "alpha_half_width_s": of.fit.half_width(of.fit.alpha_error_s),
                "bytes_per_s": of.fit.bytes_per_s(), "bytes_per_s_low": low, "bytes_per_s_high": high, "bus_bytes_per_s": of.bus(),
                "r2": of.fit.r2, "worst_residual": of.fit.worst(), "fits": of.fit.is_physical() && of.fit.worst() <= MISFIT,
                "residuals": of.points.iter().zip(&of.fit.residuals)
                    .map(|((bytes, seconds), residual)| json!({"bytes": bytes, "seconds": seconds, "residual": residual})).collect::<Vec<_>>(),
                "crossover": crossings,
            })
        })
        .collect();
    json!({"schema": "nomoat.link-fit/1", "in_place": args.in_place, "weighting": args.weighting, "fits": fits})
}

//! Pictures of every format over two made-up reports. Reviewed by eye when they change.

use super::*;
use crate::made_up;

fn context() -> TableContext {
    TableContext {
        run_id: made_up::RUN_ID.into(),
        engine: "vllm".into(),
        version: "0.32.0".into(),
        model: "made-up-8b".into(),
        trace: "chat-sample".into(),
        load: "Poisson 20.1/s (recorded 5.2/s)".into(),
        accelerators: Some("8 × h200".into()),
        slo: made_up::facts().slo,
        energy_asked: false,
        kv_rows: None,
        endpoints: vec![],
        below: vec![
            "host: Made-up 9000, 2 cores, linux 6.12".into(),
            "schedule 5891b5b522d5 · seed 7 · files in runs/01930000-0000-7000-8000-000000000001".into(),
        ],
        calibration: None,
        next: Some("nomoat run --url http://127.0.0.1:8000 --rate 30 --slo ttft=500ms,tpot=50ms".into()),
    }
}

fn bare() -> TableContext {
    TableContext { accelerators: None, slo: Slo::default(), ..context() }
}

#[test]
fn terminal() {
    insta::assert_snapshot!("table_valid", render(&made_up::valid_report(), &context(), Format::Table));
    insta::assert_snapshot!("table_invalid", render(&made_up::invalid_report(), &bare(), Format::Table));
}

#[test]
fn several_endpoints() {
    use nomoat_core::report::{EndpointCounts, Scope};
    let mut report = made_up::valid_report();
    let half = |measured, ok| EndpointCounts { measured, ok, failed: measured - ok, output_tokens: 100 * ok };
    report.counts.by_endpoint = vec![half(302, 302), half(301, 300)];
    let ttft: Vec<MetricRow> = report.metrics.iter().filter(|r| r.name == "ttft").cloned().collect();
    for endpoint in 0..2 {
        report
            .metrics
            .extend(ttft.iter().map(|r| MetricRow { scope: Scope { endpoint: Some(endpoint), ..Scope::default() }, ..r.clone() }));
    }
    let context = TableContext { endpoints: vec!["http://10.0.0.1:8000".into(), "http://10.0.0.2:8000".into()], ..context() };
    let text = render(&report, &context, Format::Table);
    let part: Vec<&str> = text.lines().skip_while(|l| !l.starts_with("Endpoint")).take_while(|l| !l.is_empty()).collect();
    insta::assert_snapshot!("table_endpoints", part.join("\n"));
    let markdown = render(&report, &context, Format::Markdown);
    assert!(markdown.contains("- endpoint 1: http://10.0.0.2:8000, 300 of 301 answered"), "{markdown}");
    assert!(markdown.contains("| ttft | p50 | ok | endpoint 1 |"), "{markdown}");
    let rungs = [Rung { label: "8", run_id: "8", report: &report }];
    let ladder = render_ladder(&rungs, &context, Format::Table);
    assert!(ladder.contains("  endpoint 1") && ladder.contains("300 of 301") && ladder.contains("endpoint 1: http"), "{ladder}");
    let back = Summary::from_json("s", &Summary::new("r", &report).to_json()).unwrap();
    assert_eq!((back.counts.by_endpoint[1].ok, back.metrics.last().unwrap().scope.endpoint), (300, Some(1)));
}

#[test]
fn markdown() {
    insta::assert_snapshot!("markdown_valid", render(&made_up::valid_report(), &context(), Format::Markdown));
    insta::assert_snapshot!("markdown_invalid", render(&made_up::invalid_report(), &bare(), Format::Markdown));
}

#[test]
fn csv() {
    insta::assert_snapshot!("csv_valid", render(&made_up::valid_report(), &context(), Format::Csv));
    insta::assert_snapshot!("csv_invalid", render(&made_up::invalid_report(), &bare(), Format::Csv));
}

#[test]
fn ladder() {
    let (good, bad) = (made_up::valid_report(), made_up::invalid_report());
    let rung = |label, report| Rung { label, run_id: label, report };
    let rungs = [rung("1", &good), rung("8", &good), rung("64", &bad)];
    insta::assert_snapshot!("ladder_table", render_ladder(&rungs, &context(), Format::Table));
    insta::assert_snapshot!("ladder_markdown", render_ladder(&rungs, &context(), Format::Markdown));
    let csv = render_ladder(&rungs, &context(), Format::Csv);
    assert_eq!(csv.lines().count(), 1 + 2 * good.metrics.len() + bad.metrics.len());
    assert!(csv.starts_with("rung,name,unit"));
    let summaries: Vec<Summary> = serde_json::from_str(&render_ladder(&rungs, &context(), Format::Json)).unwrap();
    assert_eq!(summaries, [("1", &good), ("8", &good), ("64", &bad)].map(|(id, report)| Summary::new(id, report)));
}

#[test]
fn json_is_the_summary() {
    let report = made_up::valid_report();
    assert_eq!(render(&report, &context(), Format::Json), Summary::new(made_up::RUN_ID, &report).to_json());
}

#[test]
fn no_line_is_wider_than_a_terminal() {
    let (good, bad) = (made_up::valid_report(), made_up::invalid_report());
    let rung = |report| Rung { label: "4096", run_id: "r", report };
    let rungs: Vec<Rung> = (0..12).map(|i| rung(if i % 2 == 0 { &good } else { &bad })).collect();
    let mut long = context();
    long.model = "a/very-long-name ".repeat(12);
    for text in [render(&good, &long, Format::Table), render(&bad, &bare(), Format::Table), render_ladder(&rungs, &long, Format::Table)] {
        for line in text.lines() {
            assert!(line.chars().count() <= grid::WIDTH, "{} columns: {line}", line.chars().count());
            assert_eq!(line, line.trim_end(), "no trailing spaces");
        }
    }
}

#[test]
fn energy_has_a_place_where_there_is_any_or_it_was_asked_for() {
    use nomoat_core::energy;
    use nomoat_core::report::{Population, Scope, Stat};
    let row = |name: &'static str, unit, stat, scope: Option<energy::Scope>, value: Result<f64, &str>| MetricRow {
        name,
        unit,
        stat,
        population: if name == "j_per_request" { Population::Ok } else { Population::All },
        scope: Scope { energy: scope, ..Scope::default() },
        value: value.ok(),
        n: 240,
        n_eff: None,
        ci: None,
        method: "counter",
        reason: Some(value.err().map_or_else(|| format!("{} scope: by a meter", scope.unwrap().name()), str::to_owned)),
    };
    let rows = |scope, joules: Result<f64, &'static str>| {
        let per = |parts: f64| joules.map(|j| j / parts);
        vec![
            row("energy_joules", "J", Stat::Total, scope, joules),
            row("avg_power_w", "W", Stat::Value, scope, per(30.0)),
            row("j_per_output_token", "J", Stat::Value, scope, per(61_000.0)),
            row("j_per_total_token", "J", Stat::Value, scope, per(300_000.0)),
            row("j_per_request", "J", Stat::Value, scope, per(603.0)),
            row("energy_usd", "USD", Stat::Total, scope, per(3.6e7)),
            row("energy_usd_per_mtok_out", "USD", Stat::Value, scope, per(2.2e6)),
        ]
    };
    let section = |report: &RunReport, context: &TableContext| {
        let text = render(report, context, Format::Table);
        text.lines().skip_while(|l| !l.starts_with("Energy")).take_while(|l| !l.is_empty()).collect::<Vec<_>>().join("\n")
    };
    let mut measured = made_up::valid_report();
    measured.metrics.extend(rows(Some(energy::Scope::Board), Ok(145_000.0)));
    measured.metrics.extend(rows(Some(energy::Scope::Package), Ok(4_100.0)));
    insta::assert_snapshot!("table_energy", section(&measured, &context()));
    let rungs = [Rung { label: "8", run_id: "8", report: &measured }];
    let ladder = render_ladder(&rungs, &context(), Format::Table);
    assert!(ladder.contains("J per output token") && ladder.contains("2.38 J"), "{ladder}");
    let markdown = render(&measured, &context(), Format::Markdown);
    assert!(markdown.contains("| j_per_output_token | value | all | board scope | 2.38 J"), "{markdown}");
    let back = Summary::from_json("s", &Summary::new("r", &measured).to_json()).unwrap();
    assert_eq!(back.metrics.last().unwrap().scope.energy.as_deref(), Some("package"));

    let mut none = made_up::valid_report();
    none.metrics.extend(rows(None, Err("no energy source: none of rapl is there")));
    assert_eq!(section(&none, &context()), "", "nobody asked");
    let quiet = render(&none, &context(), Format::Table);
    assert_eq!(quiet.matches("no energy source").count(), 1, "{quiet}");
    let rungs = [Rung { label: "8", run_id: "8", report: &none }];
    let ladder = render_ladder(&rungs, &context(), Format::Table);
    assert!(!ladder.contains("J per output token") && ladder.contains("energy: no energy source"), "{ladder}");
    let asked = TableContext { energy_asked: true, ..context() };
    insta::assert_snapshot!("table_energy_absent", section(&none, &asked));
}

#[test]
fn rows_of_a_cache_stand_beside_its_bytes() {
    let named = TableContext { kv_rows: Some("plain fp8 rows, 576 B a layer".into()), ..context() };
    for (context, expect) in [(named, true), (context(), false)] {
        let text = render(&made_up::valid_report(), &context, Format::Table);
        let line = text.lines().find(|line| line.contains("per token, from the model's geometry")).unwrap();
        assert_eq!(line.contains("geometry: plain fp8 rows"), expect, "{text}");
        let markdown = render(&made_up::valid_report(), &context, Format::Markdown);
        assert_eq!(markdown.contains("- theoretical KV bytes: plain fp8 rows, 576 B a layer"), expect, "{markdown}");
    }
}

#[test]
fn an_empty_report_prints_what_there_is() {
    let report = RunReport {
        window: nomoat_core::report::Window::default(),
        counts: nomoat_core::report::Counts::default(),
        metrics: vec![],
        fidelity: nomoat_core::fidelity::Fidelity::default(),
        validity: nomoat_core::validity::Validity::default(),
    };
    let text = render(&report, &TableContext::default(), Format::Table);
    assert!(text.contains("Answered") && text.contains("not calibrated"), "{text}");
    assert!(!text.contains("Latency"), "no header without rows: {text}");
}

#[test]
fn every_reason_and_every_broken_rule_is_printed() {
    let report = made_up::invalid_report();
    let text = render(&report, &bare(), Format::Table);
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for rule in report.validity.rules.iter().filter(|r| r.finding != nomoat_core::validity::Finding::Pass) {
        assert!(flat.contains(rule.code) && flat.contains(&rule.value), "{}", rule.code);
        let failed = rule.finding == nomoat_core::validity::Finding::Fail;
        assert!(!failed || (flat.contains(&rule.limit) && flat.contains(&rule.remedy)), "{}", rule.code);
    }
    for reason in report.metrics.iter().filter_map(|r| r.reason.as_deref()) {
        assert!(flat.contains(reason), "{reason}");
    }
    assert!(flat.contains("INVALID V03 V05") && flat.contains("not calibrated"));
    assert!(text.lines().last().unwrap().contains("50ms"), "the last line is what to do next");
}

#[test]
fn formats_have_names() {
    for (format, name) in Format::ALL {
        assert_eq!(Format::parse(name), Ok(format));
    }
    assert!(Format::parse("html").unwrap_err().contains("markdown"));
}

#[test]
fn markup_in_names_stays_text() {
    let mut context = bare();
    context.model = "a|b*c`d".into();
    assert!(render(&made_up::valid_report(), &context, Format::Markdown).contains(r"a\|b\*c\`d"));
}

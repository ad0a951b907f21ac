//! The laws are followed, wherever windows end; wrong parameters are refused with their place.

use super::parameters::{Gaps, Law, Window, laws, windows};
use super::*;

fn near(what: &str, value: f64, expect: f64, tolerance: f64) {
    assert!((value - expect).abs() <= tolerance, "{what}: {value}, not {expect}");
}

#[test]
fn gaps_have_mean_one_and_their_variance() {
    for gaps in [Gaps::Gamma { shape: 0.25 }, Gaps::Gamma { shape: 4.0 }, Gaps::Weibull { shape: 0.7 }, Gaps::Weibull { shape: 2.0 }] {
        let mut stream = Stream::new(1, "test");
        let n = 200_000;
        let drawn: Vec<f64> = (0..n).map(|_| gaps.draw(&mut stream)).collect();
        let mean = drawn.iter().sum::<f64>() / f64::from(n);
        let variance = drawn.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / f64::from(n);
        near("mean", mean, 1.0, 0.02);
        near("variance", variance, gaps.cv_squared(), 0.06 * gaps.cv_squared());
    }
}

#[test]
fn windows_change_the_rate_without_an_edge() {
    // Bursts far longer than a window: a process that began anew in each would make half as many again.
    let gaps = Gaps::Gamma { shape: 0.05 };
    let window = |index: u32| {
        let start = f64::from(index) * 600.0;
        Window { start, end: start + 600.0, rate: [0.05, 0.0, 0.1][index as usize % 3], gaps }
    };
    let all: Vec<Window> = (0..9_000).map(window).collect();
    let times = times(&all, 300.0, 9_000.0 * 600.0, 2.0, &mut Stream::new(7, "test"));
    assert!(times.is_sorted() && times.iter().all(|at| (300.0..9_000.0 * 600.0).contains(at)));
    let count = |phase: u32| times.iter().filter(|at| (**at / 600.0) as u32 % 3 == phase).count() as f64;
    near("first", count(0) / (3_000.0 * 600.0), 0.1, 0.005);
    near("silent", count(1), 0.0, 0.0);
    near("third", count(2) / (3_000.0 * 600.0), 0.2, 0.01);
}

#[test]
fn dictionaries_are_data() {
    let law = Law::parse("{143: 0.25, 7.5: 5e-1, 9 : 0.25}").unwrap().unwrap();
    assert_eq!([0.1, 0.5, 0.6, 0.9, 1.0].map(|u| law.draw(u)), [7.5, 7.5, 9.0, 143.0, 143.0]);
    near("mean", law.mean(), 41.75, 1e-9);
    assert_eq!(Law::parse(" {} ").unwrap(), None);
    for (text, expect) in [
        ("__import__('os')", "braces"),
        ("{1: 2", "braces"),
        ("{1: exit()}", "`1: exit()` is no pair"),
        ("{1: -1}", "`1: -1`"),
        ("{1: nan}", "`1: nan`"),
        ("{1: inf}", "`1: inf`"),
        ("{1}", "`1` is no pair"),
        ("{1: 0}", "all its probabilities are 0"),
        ("{1: 1,, 2: 1}", "is no pair"),
    ] {
        let error = Law::parse(text).unwrap_err();
        assert!(error.contains(expect), "{text}: {error}");
    }
}

#[test]
fn wrong_parameters_are_refused_with_their_place() {
    let row = "0,0.5,1,Gamma,1,2\n";
    assert_eq!(windows("f", &format!("{row}600,0,0,,0,0\n1200,1,1,Weibull,2,3")).unwrap().len(), 3);
    for (text, expect) in [
        (String::new(), "read trace f: it is empty"),
        (format!("{row}600,1\n"), "f:2: the line has 2 values"),
        (format!("{row}0,1,1,Gamma,1,1\n"), "f:2: field `window start` is 0, not after"),
        ("0,-1,1,Gamma,1,1".into(), "field `rate` is `-1`"),
        ("0,NaN,1,Gamma,1,1".into(), "field `rate` is `NaN`"),
        ("0,1,1,Pareto,1,1".into(), "`Pareto`"),
        ("0,1,1,,1,1".into(), "`pattern` is empty beside a rate"),
        ("0,1,1,Gamma,0,1".into(), "`parameter 1` is 0"),
    ] {
        let error = windows("f", &text).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }
    for (text, expect) in [
        ("[]", "no object"),
        ("{\"0\": {\"input_tokens\": {}}}", "no object"),
        ("{\"x\": {}}", "`x` is no number"),
        ("{\"0\": {\"input_tokens\": \"{1: 1}\"}}", "no lengths"),
        ("{\"0\": {\"input_tokens\": \"{1: 1}\", \"output_tokens\": \"{a: 1}\"}}", "`output_tokens` from second 0"),
    ] {
        let error = laws("f", text).err().unwrap().to_string();
        assert!(error.contains(expect), "{error}");
    }
    let nowhere = std::env::temp_dir().join("nomoat-no-such-folder");
    assert!(matches!(servegen(&nowhere, &ServeGenOptions::default()), Err(TraceError::Read { .. })));
    let scaled = ServeGenOptions { rate_scale: f64::NAN, ..ServeGenOptions::default() };
    assert!(servegen(&nowhere, &scaled).unwrap_err().to_string().contains("rate scale"));
}

#[test]
fn a_folder_makes_the_same_trace_twice() {
    let folder = std::env::temp_dir().join(format!("nomoat-servegen-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let dataset = "{\"0\": {\"text_tokens\": \"{0: 0.5, 4: 0.5}\", \"output_tokens\": \"{8: 1.0}\", \"image_count\": \"{1: 1}\", \"reason_ratio\": \"{0.5: 1}\"}}";
    for (name, text) in [
        ("chunk-3-trace.csv", "0,1,1,Gamma,1,1\n600,1,1,Weibull,1,1\n"),
        ("chunk-3-dataset.json", dataset),
        ("chunk-5-trace.csv", "0,9,1,Gamma,1,1\n"),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let options = ServeGenOptions { span: Nanos::from_secs(900), start: Nanos::from_secs(300), ..ServeGenOptions::default() };
    let make = |options: &ServeGenOptions| servegen(&folder, options);
    let trace = make(&options).unwrap();
    assert_eq!(make(&options).unwrap(), trace);
    assert_ne!(make(&ServeGenOptions { seed: 1, ..options.clone() }).unwrap().source, trace.source);
    near("requests", trace.requests.len() as f64, 900.0, 90.0);
    assert!(trace.requests.iter().all(|r| [1, 4].contains(&r.input_tokens) && r.output_tokens == 8 && r.at.unwrap() < options.span));
    assert_eq!(trace.classes, ["client 3"]);
    let text = trace.losses.join("; ");
    for part in ["independently", "reasoning for 50 %", "pictures", "raised to one", "without lengths were left out: 5"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(make(&ServeGenOptions { clients: vec![4], ..options.clone() }).unwrap_err().to_string().contains("no client 4"));
    assert!(make(&ServeGenOptions { clients: vec![5], ..options.clone() }).unwrap_err().to_string().contains("no client has lengths"));
    let late = ServeGenOptions { start: Nanos::from_secs(5_000), ..options };
    assert!(make(&late).unwrap_err().to_string().contains("no client sends"));
    std::fs::remove_dir_all(&folder).unwrap();
}

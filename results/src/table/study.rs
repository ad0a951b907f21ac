//! A study's findings: claim, rule, what was seen, verdict.

use super::grid::wrap;
use super::{Format, csv, markdown};
use crate::json::pretty;
use crate::kernels::KernelRun;
use crate::study::{Finding, Study};
use serde_json::json;

/// Prints findings.
pub(crate) fn study_text(study: &Study, run: &KernelRun, findings: &[Finding], format: Format) -> String {
    let on = format!("{} ({}), measured {}, {}", run.device.id, run.device.name, run.started_at, run.id);
    match format {
        Format::Json => {
            let findings: Vec<_> =
                findings.iter().map(|f| json!({"claim": f.claim, "rule": f.rule, "seen": f.seen, "verdict": f.verdict.word()})).collect();
            pretty(&json!({"study": study.name, "about": study.about, "run": run.id, "device": run.device.id, "findings": findings}))
        }
        Format::Csv => {
            let mut text = String::from("study,device,claim,rule,seen,verdict\n");
            for f in findings {
                let cells = [study.name, &run.device.id, f.claim, f.rule, &f.seen, f.verdict.word()];
                csv::line(&mut text, cells.into_iter().map(str::to_owned));
            }
            text
        }
        Format::Markdown => {
            let rows: Vec<Vec<String>> =
                findings.iter().map(|f| vec![f.claim.to_owned(), f.verdict.word().to_owned(), f.seen.clone(), f.rule.to_owned()]).collect();
            let head = format!("**{}** {}\n\n", study.name, markdown::escape(study.about));
            let table = markdown::table(&["claim", "verdict", "seen", "rule"], &rows, 4);
            format!("{head}{table}\n- {}\n", markdown::escape(&on))
        }
        Format::Table => {
            let mut text = wrap(&format!("{}: {}", study.name, study.about), 4);
            text.push_str(&wrap(&on, 4));
            for f in findings {
                text.push('\n');
                text.push_str(&wrap(&format!("{}: {}", f.verdict.word().to_uppercase(), f.claim), 4));
                text.push_str(&wrap(&format!("    rule: {}", f.rule), 6));
                text.push_str(&wrap(&format!("    {}", f.seen), 6));
            }
            text
        }
    }
}

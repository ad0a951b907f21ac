//! A job's energy by Slurm: the output of `sacct --parsable2` with a header.
//!
//! `ConsumedEnergyRaw` is in joules, of all nodes of the job for as long as it ran, whoever used them: it says something of the job only
//! where the job had its nodes alone. It is one number without a course, so it is a window's energy only where the job is the window.
//! Times must be seconds since 1970 (`SLURM_TIME_FORMAT=%s`): Slurm's own are in the zone of its host, which the page does not tell.

use super::WallClock;
use super::time::cut;
use nomoat_core::energy::Job;

/// How to record a page.
const RECORD: &str = "record it with SLURM_TIME_FORMAT=%s sacct -j JOB --parsable2 --format=JobID,Start,End,NNodes,ConsumedEnergyRaw";

/// Slurm's `NO_VAL64`, which some versions print.
const NO_VALUE: &str = "18446744073709551614";

/// A job's energy, on the wall clock.
#[derive(Clone, PartialEq, Debug)]
pub struct JobEnergy {
    id: String,
    start_s: i64,
    end_s: i64,
    joules: f64,
    nodes: Option<u32>,
}

/// Reads a page: its first row with an energy that is not a step's, or the first step's where only those have one.
///
/// # Errors
/// The line and what is wrong with it.
pub fn job(text: &str) -> Result<JobEnergy, String> {
    let mut lines = text.lines().zip(1_u64..).filter(|(line, _)| !line.trim().is_empty());
    let (header, at) = lines.next().ok_or_else(|| format!("it is empty; {RECORD}"))?;
    let names: Vec<&str> = header.split('|').map(str::trim).collect();
    let column = |name: &str| {
        let at_column = names.iter().position(|n| n.eq_ignore_ascii_case(name));
        at_column.ok_or_else(|| format!("line {at}: there is no column {name}; {RECORD}"))
    };
    let (id, start, end, energy) = (column("JobID")?, column("Start")?, column("End")?, column("ConsumedEnergyRaw")?);
    let nodes = column("NNodes").ok();
    let mut jobs: Vec<JobEnergy> = vec![];
    for (line, at) in lines {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let failed = |why: String| format!("line {at}: {why}");
        if cells.len() != names.len() {
            return Err(failed(format!("it has {} cells for {} columns; {RECORD}", cells.len(), names.len())));
        }
        // A number that Slurm does not have is empty, or the highest of its type less one.
        if cells[energy].is_empty() || cells[energy] == NO_VALUE {
            continue;
        }
        let seconds = |column: usize| {
            let wrong = || failed(format!("`{}` is no number of seconds since 1970; {RECORD}", cut(cells[column])));
            cells[column].parse::<i64>().ok().filter(|s| (0..100_000_000_000).contains(s)).ok_or_else(wrong)
        };
        let wrong = || failed(format!("`{}` is no energy in joules", cut(cells[energy])));
        let joules = cells[energy].parse::<f64>().ok().filter(|v| v.is_finite() && *v >= 0.0).ok_or_else(wrong)?;
        let job = JobEnergy {
            id: cut(cells[id]),
            start_s: seconds(start)?,
            end_s: seconds(end)?,
            joules,
            nodes: nodes.and_then(|column| cells[column].parse().ok()),
        };
        if job.end_s <= job.start_s {
            return Err(failed("the job has no length: it has not ended, or not begun".into()));
        }
        jobs.push(job);
    }
    let zero = "no energy is told: the cluster gathers none (AcctGatherEnergyType), or the job has not ended";
    let whole = jobs.iter().position(|job| !job.id.contains('.')).unwrap_or(0);
    jobs.into_iter().nth(whole).filter(|job| job.joules > 0.0).ok_or_else(|| zero.to_owned())
}

impl JobEnergy {
    /// The job on the run's clock.
    pub fn placed(self, clock: &WallClock) -> Job {
        let at = |seconds: i64| clock.place(seconds.saturating_mul(1_000_000_000));
        Job { id: self.id, start: at(self.start_s), end: at(self.end_s), joules: self.joules, nodes: self.nodes }
    }
}

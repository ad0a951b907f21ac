//! α and β of a table of collectives: its times as a line over bytes.

use super::{Table, read};
use nomoat_core::collective::{Collective, Fit, Weighting, crossover};
use std::path::Path;

/// Bytes of an element of bf16, in which activations are reduced.
const BF16: f64 = 2.0;

/// How tables are to be read, and what a file may not tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// What was run, by the user's word.
    pub collective: Option<Collective>,
    /// What is taken to have been run where neither the user nor a file tells.
    pub otherwise: Option<Collective>,
    /// How many ranks took part, where a file does not list them.
    pub ranks: Option<u32>,
    /// The times in place instead of those out of place.
    pub in_place: bool,
    /// How much each size says.
    pub weighting: Weighting,
}

/// One table with the line through its times.
#[derive(Clone, PartialEq, Debug)]
pub struct LinkFit {
    /// Its file, and which table of it where it has several.
    pub shown: String,
    /// The table.
    pub table: Table,
    /// What was run.
    pub collective: Collective,
    /// How many ranks took part.
    pub ranks: u32,
    /// (bytes, seconds) of its rows.
    pub points: Vec<(f64, f64)>,
    /// The line.
    pub fit: Fit,
}

impl LinkFit {
    /// Reads a file and fits each of its tables.
    ///
    /// # Errors
    /// The file and what is wrong with it, and what to give.
    pub fn open(path: &Path, asked: Asked) -> Result<Vec<Self>, String> {
        let shown = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|e| format!("reading {shown}: {e}; give what nccl-tests or rccl-tests printed"))?;
        let tables = read(&text).map_err(|e| format!("{shown}: {e}"))?;
        let several = tables.len() > 1;
        let fitted = |(index, table): (usize, Table)| {
            let shown = if several { format!("{shown} #{}", index + 1) } else { shown.clone() };
            Self::new(shown.clone(), table, asked).map_err(|why| format!("{shown}: {why}"))
        };
        tables.into_iter().enumerate().map(fitted).collect()
    }

    /// Fits a table.
    ///
    /// # Errors
    /// What the table does not tell, what contradicts it, or why there is no line.
    pub fn new(shown: String, table: Table, asked: Asked) -> Result<Self, String> {
        let differ = |what: &str, own: &str, given: &str| format!("its own {what} is {own}, not {given} as was said; leave out the flag");
        let collective = match (table.collective, asked.collective) {
            (Some(own), Some(given)) if own != given => return Err(differ("collective", own.name(), given.name())),
            (Some(collective), _) | (None, Some(collective)) => collective,
            (None, None) => match asked.otherwise {
                Some(collective) => collective,
                None => return Err("does not tell its collective; give --collective, for one all_reduce".into()),
            },
        };
        let ranks = match (table.ranks, asked.ranks) {
            (Some(own), Some(given)) if own != given => return Err(differ("number of ranks", &own.to_string(), &given.to_string())),
            (Some(ranks), _) | (None, Some(ranks)) => ranks,
            (None, None) => return Err("does not list its ranks from 0 on; give --ranks".into()),
        };
        if ranks < 2 {
            return Err(format!("{ranks} rank(s) move nothing over a link; two are the least"));
        }
        table.agrees(collective, ranks)?;
        let points = table.points(asked.in_place);
        let fit = Fit::new(&points, asked.weighting).map_err(|e| format!("{e}; {} of its rows have a time", points.len()))?;
        Ok(Self { shown, table, collective, ranks, points, fit })
    }

    /// Bus bandwidth of the fitted slope, bytes per second.
    pub fn bus(&self) -> Option<f64> {
        self.fit.bytes_per_s().map(|rate| rate * self.collective.bus_factor(self.ranks))
    }

    /// The 95 % interval of β, bytes per second; its upper end is unknown where the slope's interval holds zero.
    pub fn rate_interval(&self) -> (f64, Option<f64>) {
        let half = self.fit.half_width(self.fit.slope_error);
        (1.0 / (self.fit.slope + half), (self.fit.slope > half).then(|| 1.0 / (self.fit.slope - half)))
    }

    /// Tokens at which the bytes of one bf16 all-reduce of this width take as long as α, with half of the 95 % interval; `None` where the
    /// line is not physical.
    pub fn crossover(&self, width: u32) -> Option<(f64, f64)> {
        let (bytes, error) = self.fit.crossover_bytes()?;
        let per_token = BF16 * f64::from(width);
        Some((crossover(self.fit.alpha_s, self.fit.bytes_per_s()?, width, BF16), self.fit.half_width(error) / per_token))
            .filter(|_| bytes > 0.0)
    }

    /// That one line does not fit, where times are off it by more than this share: how many, and of which sizes.
    pub fn misfit(&self, share: f64) -> Option<String> {
        let off = self.points.iter().zip(&self.fit.residuals).filter(|(_, residual)| residual.abs() > share);
        let far: Vec<f64> = off.map(|((bytes, _), _)| *bytes).collect();
        let (first, last) = far.first().zip(far.last())?;
        Some(format!(
            "one line does not fit: {} of {} sizes are off by more than {:.0} %, from {first} to {last} bytes",
            far.len(),
            self.points.len(),
            share * 100.0
        ))
    }

    /// What was measured, in words: `8 × AMD Instinct MI300X, rccl-tests 2.18.3`.
    pub fn on(&self) -> String {
        let devices =
            if self.table.devices.is_empty() { "devices that are not named".to_owned() } else { self.table.devices.join(" and ") };
        let version = self.table.version.as_ref().map_or_else(String::new, |version| format!(", {version}"));
        format!("{} × {devices}{version}", self.ranks)
    }
}

//! `samples.parquet`: readings over time, one per row, in the order they were taken.

use crate::columnar::{Column, Field, Row, TableReader, TableWriter, Width};
use crate::error::StoreError;
use crate::words::Word;
use nomoat_core::sample::{Sample, SampleSource};
use nomoat_core::units::Nanos;
use std::path::Path;

/// The schema this crate writes and reads.
pub const SCHEMA: &str = "run-sample/1";

/// Writes all readings of a run; a file that is there is replaced.
///
/// # Errors
/// The file cannot be written.
pub fn write<'a>(path: &Path, run_id: &str, samples: impl IntoIterator<Item = &'a Sample>) -> Result<(), StoreError> {
    let mut writer = TableWriter::create(path, run_id)?;
    for sample in samples {
        writer.push(sample.clone())?;
    }
    writer.finish().map(drop)
}

/// Reads all readings of a run, in file order.
///
/// # Errors
/// It is not there, not Parquet, of a newer schema, or has other columns.
pub fn read(path: &Path) -> Result<Vec<Sample>, StoreError> {
    TableReader::open(path)?.collect()
}

impl Row for Sample {
    const SCHEMA: &'static str = SCHEMA;

    #[rustfmt::skip]
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("at", Field::Int(Width::I64, |s| s.at.0, |s, v| { s.at = Nanos(v); Some(()) })),
        Column::new("source", Field::Text(|s| s.source.word(), |s, v| { s.source = Word::of_word(v)?; Some(()) })),
        Column::new("metric", Field::Text(|s| &s.metric, |s, v| { v.clone_into(&mut s.metric); Some(()) })),
        Column::new("labels", Field::Text(|s| &s.labels, |s, v| { v.clone_into(&mut s.labels); Some(()) })),
        Column::new("value", Field::Float(|s| s.value, |s, v| s.value = v)),
    ];

    fn blank() -> Self {
        // Every column is required, so none of these values is ever seen.
        Self { at: Nanos::ZERO, source: SampleSource::Host, metric: String::new(), labels: String::new(), value: f64::NAN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up::arbitrary_sample;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_samples_come_back_equal(samples in prop::collection::vec(arbitrary_sample(), 0..40)) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("samples.parquet");
            write(&path, "run-1", &samples).unwrap();
            let back = read(&path).unwrap();
            // By bits, because a reading may be NaN.
            let bits = |s: &Sample| (s.at, s.source, s.metric.clone(), s.labels.clone(), s.value.to_bits());
            prop_assert_eq!(back.iter().map(bits).collect::<Vec<_>>(), samples.iter().map(bits).collect::<Vec<_>>());
        }
    }
}

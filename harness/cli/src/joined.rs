//! A run's records with what joins each to a row of a server's log: the id its request was sent with.

use nomoat_core::record::RequestRecord;
use nomoat_results::{Manifest, RunDir, StoreError};
use nomoat_truth::{ErrorReport, LogRow, compare};
use serde_json::Value;

/// All records of a run, in schedule order.
pub struct Joined {
    pub records: Vec<RequestRecord>,
    prefix: String,
}

impl Joined {
    /// Reads them. `manifest` is the run's.
    pub fn read(dir: &RunDir, manifest: &Manifest) -> Result<Self, StoreError> {
        let prefix = manifest.ext.get("x_request_id_prefix").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Self { records: dir.records()?.collect::<Result<_, _>>()?, prefix })
    }

    /// The id that went out with a record.
    pub fn id(&self, record: &RequestRecord) -> String {
        format!("{}-{}", self.prefix, record.request.0)
    }

    /// Holds them against a server's log.
    pub fn compare(&self, rows: &[LogRow]) -> ErrorReport {
        compare(self.records.iter(), rows, |record| self.id(record))
    }
}

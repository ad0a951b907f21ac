//! Writing a table: rows are collected into row groups, and each column of a group is written in one go.

use super::{Column, Field, Row, schema};
use crate::error::StoreError;
use parquet::basic::{Compression, Encoding, Type as Physical, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type,
};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::ColumnPath;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of one row group at most.
const GROUP_ROWS: usize = 16_384;
/// List entries of one row group at most, so that long answers do not grow the writer.
const GROUP_ENTRIES: usize = 1 << 20;
/// zstd's default level: higher ones cost seconds at the end of a run and save little on delta-packed integers.
const ZSTD_LEVEL: i32 = 3;

fn properties<R: Row>(run_id: &str) -> Result<WriterProperties, parquet::errors::ParquetError> {
    let meta = |key: &str, value: &str| KeyValue::new(key.to_owned(), value.to_owned());
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("nomoat ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_dictionary_enabled(false)
        .set_key_value_metadata(Some(vec![meta("schema", R::SCHEMA), meta("run_id", run_id)]));
    for column in R::COLUMNS {
        let path = ColumnPath::new(column.path());
        builder = match column.field {
            Field::Text(..) | Field::OptText(..) => builder.set_column_dictionary_enabled(path, true),
            Field::Int(..) | Field::OptInt(..) | Field::Longs(..) | Field::Counts(..) => {
                builder.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
            }
            Field::Bool(..) | Field::Float(..) | Field::OptHash(..) => builder,
        };
    }
    Ok(builder.build())
}

/// Writes rows in the order given.
pub(crate) struct TableWriter<R: Row> {
    path: PathBuf,
    file: SerializedFileWriter<File>,
    rows: Vec<R>,
    entries: usize,
    written: u64,
}

impl<R: Row> TableWriter<R> {
    /// Creates the file; one that is there is replaced.
    pub(crate) fn create(path: &Path, run_id: &str) -> Result<Self, StoreError> {
        let file = File::create(path).map_err(StoreError::io("creating", path))?;
        let file = schema::<R>()
            .and_then(|schema| SerializedFileWriter::new(file, schema, Arc::new(properties::<R>(run_id)?)))
            .map_err(StoreError::parquet("creating", path))?;
        Ok(Self { path: path.to_owned(), file, rows: vec![], entries: 0, written: 0 })
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: R) -> Result<(), StoreError> {
        self.entries += row.entries();
        self.rows.push(row);
        if self.rows.len() >= GROUP_ROWS || self.entries >= GROUP_ENTRIES { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<(), StoreError> {
        let wrong = StoreError::parquet("writing", &self.path);
        let rows = &self.rows;
        let file = &mut self.file;
        let mut write = || {
            let mut group = file.next_row_group()?;
            for column in R::COLUMNS {
                write_column(&mut group, column, rows)?;
            }
            group.close().map(drop)
        };
        write().map_err(wrong)?;
        self.written += self.rows.len() as u64;
        self.rows.clear();
        self.entries = 0;
        Ok(())
    }

    /// Writes what is left and the footer, waits for the disk, and says how many rows there are.
    pub(crate) fn finish(mut self) -> Result<u64, StoreError> {
        if !self.rows.is_empty() {
            self.write_group()?;
        }
        let file = self.file.into_inner().map_err(StoreError::parquet("finishing", &self.path))?;
        file.sync_all().map_err(StoreError::io("finishing", &self.path))?;
        Ok(self.written)
    }
}

/// Values of one column of a row group, with their levels.
struct Leaves<V> {
    values: Vec<V>,
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

impl<V> Leaves<V> {
    fn required(values: impl Iterator<Item = V>) -> Self {
        Self { values: values.collect(), definition: vec![], repetition: vec![] }
    }

    fn optional(values: impl Iterator<Item = Option<V>>) -> Self {
        let mut leaves = Self { values: vec![], definition: vec![], repetition: vec![] };
        for value in values {
            leaves.definition.push(i16::from(value.is_some()));
            leaves.values.extend(value);
        }
        leaves
    }

    fn lists<'a>(lists: impl Iterator<Item = &'a [V]>) -> Self
    where
        V: Copy + 'a,
    {
        let mut leaves = Self { values: vec![], definition: vec![], repetition: vec![] };
        for list in lists {
            // An empty list is one level without a value.
            leaves.definition.extend(std::iter::repeat_n(i16::from(!list.is_empty()), list.len().max(1)));
            leaves.repetition.push(0);
            leaves.repetition.extend(std::iter::repeat_n(1, list.len().saturating_sub(1)));
            leaves.values.extend_from_slice(list);
        }
        leaves
    }

    fn map<W>(self, f: impl FnMut(V) -> W) -> Leaves<W> {
        Leaves { values: self.values.into_iter().map(f).collect(), definition: self.definition, repetition: self.repetition }
    }

    fn write<T: DataType<T = V>>(self, group: &mut SerializedRowGroupWriter<'_, File>) -> Result<(), parquet::errors::ParquetError> {
        let mut writer = group.next_column()?.expect("the schema has as many leaves as there are columns");
        let levels = |levels: &[i16]| (!levels.is_empty()).then(|| levels.to_vec());
        let (definition, repetition) = (levels(&self.definition), levels(&self.repetition));
        writer.typed::<T>().write_batch(&self.values, definition.as_deref(), repetition.as_deref())?;
        writer.close()
    }
}

fn write_column<R: Row>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    column: &Column<R>,
    rows: &[R],
) -> Result<(), parquet::errors::ParquetError> {
    let narrow = |v: i64| v as i32;
    let text = |t: &str| ByteArray::from(t);
    match column.field {
        Field::Int(width, get, _) => {
            let leaves = Leaves::required(rows.iter().map(get));
            if width.physical() == Physical::INT32 {
                leaves.map(narrow).write::<Int32Type>(group)
            } else {
                leaves.write::<Int64Type>(group)
            }
        }
        Field::OptInt(width, get, _) => {
            let leaves = Leaves::optional(rows.iter().map(get));
            if width.physical() == Physical::INT32 {
                leaves.map(narrow).write::<Int32Type>(group)
            } else {
                leaves.write::<Int64Type>(group)
            }
        }
        Field::Bool(get, _) => Leaves::required(rows.iter().map(get)).write::<BoolType>(group),
        Field::Float(get, _) => Leaves::required(rows.iter().map(get)).write::<DoubleType>(group),
        Field::Text(get, _) => Leaves::required(rows.iter().map(get)).map(text).write::<ByteArrayType>(group),
        Field::OptText(get, _) => Leaves::optional(rows.iter().map(get)).map(text).write::<ByteArrayType>(group),
        Field::OptHash(get, _) => {
            let bytes = |h: u64| FixedLenByteArray::from(h.to_be_bytes().to_vec());
            Leaves::optional(rows.iter().map(get)).map(bytes).write::<FixedLenByteArrayType>(group)
        }
        Field::Longs(get, _) => Leaves::lists(rows.iter().map(get)).write::<Int64Type>(group),
        Field::Counts(get, _) => Leaves::lists(rows.iter().map(get)).map(|v| v as i32).write::<Int32Type>(group),
    }
}

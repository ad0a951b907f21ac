//! Reading a table: a batch of rows at a time, each column decoded into all rows of the batch.

use super::{Column, Field, Row, schema};
use crate::error::{StoreError, check_schema};
use parquet::basic::Type as Physical;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, Int32Type, Int64Type};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::TypePtr;
use std::collections::VecDeque;
use std::fs::File;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// Rows the reader decodes at a time.
const BATCH_ROWS: usize = 512;

/// Reads rows in file order.
pub(crate) struct TableReader<R: Row> {
    path: PathBuf,
    file: SerializedFileReader<File>,
    run_id: String,
    next_group: usize,
    /// The columns that are read: which of ours, and which leaf of the file.
    columns: Vec<(usize, usize)>,
    open: Vec<ColumnReader>,
    left_in_group: usize,
    batch: VecDeque<R>,
    failed: bool,
    row: PhantomData<R>,
}

impl<R: Row> TableReader<R> {
    /// Opens a file and checks that it is this table.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_columns(path, |_| true)
    }

    /// Opens a file of which some columns are wanted; the others stay as [`Row::blank`] has them.
    pub(crate) fn open_columns(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(StoreError::io("opening", path))?;
        let file = SerializedFileReader::new(file).map_err(StoreError::parquet("opening", path))?;
        let meta = file.metadata().file_metadata();
        let value = |key: &str| meta.key_value_metadata()?.iter().find(|kv| kv.key == key)?.value.clone();
        check_schema(&path.display().to_string(), value("schema").as_deref(), R::SCHEMA)?;
        let run_id = value("run_id").unwrap_or_default();
        let ours = schema::<R>().map_err(StoreError::parquet("opening", path))?;
        let theirs = meta.schema_descr().root_schema().get_fields();
        // Every column here has one leaf, so a column's place is its leaf's.
        let place = |name: &str| theirs.iter().position(|field| field.name() == name);
        let fits = |(column, field): (&Column<R>, &TypePtr)| match place(column.name) {
            Some(index) => theirs[index] == *field,
            None => R::ADDED.contains(&column.name) && column.optional(),
        };
        let known = theirs.iter().all(|field| R::COLUMNS.iter().any(|column| column.name == field.name()));
        if !known || !R::COLUMNS.iter().zip(ours.get_fields()).all(fits) {
            return Err(StoreError::value(path.display().to_string(), format!("its columns are not those of {}", R::SCHEMA)));
        }
        let columns = R::COLUMNS.iter().enumerate().filter(|(_, column)| wanted(column.name));
        let columns = columns.filter_map(|(index, column)| Some((index, place(column.name)?))).collect();
        Ok(Self {
            path: path.to_owned(),
            file,
            run_id,
            next_group: 0,
            columns,
            open: vec![],
            left_in_group: 0,
            batch: VecDeque::new(),
            failed: false,
            row: PhantomData,
        })
    }

    /// Whose rows they are.
    pub(crate) fn run_id(&self) -> &str {
        &self.run_id
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> u64 {
        u64::try_from(self.file.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// Decodes the next batch; leaves it empty at the end of the file.
    fn fill(&mut self) -> Result<(), StoreError> {
        while self.left_in_group == 0 {
            if self.next_group >= self.file.num_row_groups() {
                return Ok(());
            }
            let wrong = StoreError::parquet("reading", &self.path);
            let open = || {
                let group = self.file.get_row_group(self.next_group)?;
                let rows = group.metadata().num_rows();
                let columns: Result<Vec<ColumnReader>, _> = self.columns.iter().map(|(_, leaf)| group.get_column_reader(*leaf)).collect();
                Ok((columns?, usize::try_from(rows).unwrap_or(0)))
            };
            (self.open, self.left_in_group) = open().map_err(wrong)?;
            self.next_group += 1;
        }
        let n = self.left_in_group.min(BATCH_ROWS);
        let mut rows: Vec<R> = (0..n).map(|_| R::blank()).collect();
        // The typed readers take the untyped ones by value, so they are put back after use.
        let readers = std::mem::take(&mut self.open);
        for ((index, _), reader) in self.columns.iter().zip(readers) {
            self.open.push(read_column(&self.path, &R::COLUMNS[*index], reader, &mut rows)?);
        }
        self.left_in_group -= n;
        self.batch = rows.into();
        Ok(())
    }
}

impl<R: Row> Iterator for TableReader<R> {
    type Item = Result<R, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.batch.is_empty()
            && !self.failed
            && let Err(error) = self.fill()
        {
            self.failed = true;
            return Some(Err(error));
        }
        self.batch.pop_front().map(Ok)
    }
}

/// Decodes as many values of one column as there are rows, into the rows.
fn read_column<R: Row>(path: &Path, column: &Column<R>, reader: ColumnReader, rows: &mut [R]) -> Result<ColumnReader, StoreError> {
    let bad = |value: String| {
        StoreError::value(format!("{}: column `{}`", path.display(), column.name), format!("{value} is not a value it may have"))
    };
    match &column.field {
        Field::Int(width, _, set) | Field::OptInt(width, _, set) => {
            let each = |row: &mut R, value: i64| set(row, value).ok_or_else(|| bad(value.to_string()));
            if width.physical() == Physical::INT32 {
                scalars::<Int32Type, R>(path, column, reader, rows, ColumnReader::Int32ColumnReader, |row, v| each(row, width.widen(v)))
            } else {
                scalars::<Int64Type, R>(path, column, reader, rows, ColumnReader::Int64ColumnReader, each)
            }
        }
        Field::Bool(_, set) => scalars::<BoolType, R>(path, column, reader, rows, ColumnReader::BoolColumnReader, |row, v| {
            set(row, v);
            Ok(())
        }),
        Field::Float(_, set) => scalars::<DoubleType, R>(path, column, reader, rows, ColumnReader::DoubleColumnReader, |row, v| {
            set(row, v);
            Ok(())
        }),
        Field::Text(_, set) | Field::OptText(_, set) => {
            scalars::<ByteArrayType, R>(path, column, reader, rows, ColumnReader::ByteArrayColumnReader, |row, v| {
                let text = std::str::from_utf8(v.data()).map_err(|_| bad("text that is not UTF-8".to_owned()))?;
                set(row, text).ok_or_else(|| bad(format!("`{}`", text.chars().take(80).collect::<String>())))
            })
        }
        Field::OptHash(_, set) => {
            scalars::<FixedLenByteArrayType, R>(path, column, reader, rows, ColumnReader::FixedLenByteArrayColumnReader, |row, v| {
                let bytes: [u8; 8] = v.data().try_into().map_err(|_| bad("a hash of another length".to_owned()))?;
                set(row, u64::from_be_bytes(bytes));
                Ok(())
            })
        }
        Field::Longs(_, set) => lists::<Int64Type, R>(path, column, reader, rows, ColumnReader::Int64ColumnReader, |row, list| {
            set(row, list.to_vec());
        }),
        Field::Counts(_, set) => lists::<Int32Type, R>(path, column, reader, rows, ColumnReader::Int32ColumnReader, |row, list| {
            set(row, list.iter().map(|v| *v as u32).collect());
        }),
    }
}

/// Reads one value, or none, per row.
fn scalars<T: DataType, R: Row>(
    path: &Path,
    column: &Column<R>,
    reader: ColumnReader,
    rows: &mut [R],
    back: fn(ColumnReaderImpl<T>) -> ColumnReader,
    mut each: impl FnMut(&mut R, T::T) -> Result<(), StoreError>,
) -> Result<ColumnReader, StoreError> {
    let mut reader = get_typed_column_reader::<T>(reader);
    let (mut values, mut definition) = (vec![], vec![]);
    let levels = column.optional().then_some(&mut definition);
    let (records, ..) = reader.read_records(rows.len(), levels, None, &mut values).map_err(StoreError::parquet("reading", path))?;
    let short = || StoreError::value(format!("{}: column `{}`", path.display(), column.name), "it has fewer values than there are rows");
    if records != rows.len() {
        return Err(short());
    }
    let mut values = values.into_iter();
    for (index, row) in rows.iter_mut().enumerate() {
        if definition.get(index).is_none_or(|d| *d > 0) {
            each(row, values.next().ok_or_else(short)?)?;
        }
    }
    Ok(back(reader))
}

/// Reads one list per row.
fn lists<T: DataType, R: Row>(
    path: &Path,
    column: &Column<R>,
    reader: ColumnReader,
    rows: &mut [R],
    back: fn(ColumnReaderImpl<T>) -> ColumnReader,
    mut each: impl FnMut(&mut R, &[T::T]),
) -> Result<ColumnReader, StoreError> {
    let mut reader = get_typed_column_reader::<T>(reader);
    let (mut values, mut definition, mut repetition) = (vec![], vec![], vec![]);
    let (records, ..) = reader
        .read_records(rows.len(), Some(&mut definition), Some(&mut repetition), &mut values)
        .map_err(StoreError::parquet("reading", path))?;
    let short = || StoreError::value(format!("{}: column `{}`", path.display(), column.name), "it has fewer lists than there are rows");
    if records != rows.len() {
        return Err(short());
    }
    let (mut level, mut value) = (0, 0);
    for row in rows {
        // A list begins at repetition level 0 and goes on at level 1; the definition level says whether an entry is there.
        let first = value;
        loop {
            value += usize::from(*definition.get(level).ok_or_else(short)? > 0);
            level += 1;
            if repetition.get(level).is_none_or(|r| *r == 0) {
                break;
            }
        }
        each(row, values.get(first..value).ok_or_else(short)?);
    }
    Ok(back(reader))
}

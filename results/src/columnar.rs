//! Parquet tables through the low-level column interface: a row type lists its columns once, and writer, reader and schema follow.
//!
//! The only module that imports `parquet`. No arrow: it would double the build for nothing that is needed here. Memory is bounded on
//! both sides: the writer holds one row group of rows, the reader one batch of rows and one page per column.

mod read;
mod write;

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::schema::types::{Type, TypePtr};
use std::sync::Arc;

pub(crate) use read::TableReader;
pub(crate) use write::TableWriter;

/// A type that is a row of a table.
pub(crate) trait Row: Sized + 'static {
    /// Schema word in the file's metadata, `name/major`.
    const SCHEMA: &'static str;
    /// Its columns, in file order.
    const COLUMNS: &'static [Column<Self>];
    /// Optional columns that older files of the schema do not have.
    const ADDED: &'static [&'static str] = &[];
    /// A row whose optional columns are absent.
    fn blank() -> Self;
    /// Entries in its lists.
    fn entries(&self) -> usize {
        0
    }
}

/// One column: its name and how a row gives and takes its value.
pub(crate) struct Column<R: 'static> {
    pub name: &'static str,
    pub field: Field<R>,
}

/// The ways a column holds values. A getter says `None` where the row has no value; a setter says `None` to a value it cannot hold.
pub(crate) enum Field<R: 'static> {
    /// An integer that is always there.
    Int(Width, fn(&R) -> i64, fn(&mut R, i64) -> Option<()>),
    /// An integer that may be absent.
    OptInt(Width, fn(&R) -> Option<i64>, fn(&mut R, i64) -> Option<()>),
    /// A truth value.
    Bool(fn(&R) -> bool, fn(&mut R, bool)),
    /// A number, any bit pattern.
    Float(fn(&R) -> f64, fn(&mut R, f64)),
    /// A text that is always there; few distinct ones, so it is kept as a dictionary.
    Text(for<'a> fn(&'a R) -> &'a str, fn(&mut R, &str) -> Option<()>),
    /// A text that may be absent.
    OptText(for<'a> fn(&'a R) -> Option<&'a str>, fn(&mut R, &str) -> Option<()>),
    /// Eight bytes, big-endian, that may be absent. Not an integer: readers that turn integers with gaps into floats would round it.
    OptHash(fn(&R) -> Option<u64>, fn(&mut R, u64)),
    /// A list of 64-bit integers, never absent.
    Longs(for<'a> fn(&'a R) -> &'a [i64], fn(&mut R, Vec<i64>)),
    /// A list of 32-bit unsigned integers, never absent.
    Counts(for<'a> fn(&'a R) -> &'a [u32], fn(&mut R, Vec<u32>)),
}

/// How an integer is stored. The smaller ones are 32-bit in the file, with a logical type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    I32,
    I64,
    U16,
    U32,
    U64,
}

impl Width {
    fn physical(self) -> Physical {
        match self {
            Self::I32 | Self::U16 | Self::U32 => Physical::INT32,
            Self::I64 | Self::U64 => Physical::INT64,
        }
    }

    fn logical(self) -> Option<LogicalType> {
        let unsigned = |bit_width| Some(LogicalType::Integer { bit_width, is_signed: false });
        match self {
            Self::I32 | Self::I64 => None,
            Self::U16 => unsigned(16),
            Self::U32 => unsigned(32),
            Self::U64 => unsigned(64),
        }
    }

    /// The value of 32 stored bits.
    fn widen(self, stored: i32) -> i64 {
        if self == Self::I32 { i64::from(stored) } else { i64::from(stored as u32) }
    }
}

impl<R> Column<R> {
    pub(crate) const fn new(name: &'static str, field: Field<R>) -> Self {
        Self { name, field }
    }

    fn optional(&self) -> bool {
        matches!(self.field, Field::OptInt(..) | Field::OptText(..) | Field::OptHash(..))
    }

    /// Dotted path of the leaf that holds its values.
    fn path(&self) -> Vec<String> {
        let parts: &[&str] = if self.is_list() { &[self.name, "list", "element"] } else { &[self.name] };
        parts.iter().map(|p| (*p).to_owned()).collect()
    }

    fn is_list(&self) -> bool {
        matches!(self.field, Field::Longs(..) | Field::Counts(..))
    }

    fn parquet_type(&self) -> Result<TypePtr, parquet::errors::ParquetError> {
        let leaf = |name: &str, physical, logical, repetition, length| {
            let builder = Type::primitive_type_builder(name, physical).with_repetition(repetition).with_logical_type(logical);
            builder.with_length(length).build().map(Arc::new)
        };
        let repetition = if self.optional() { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        let element = |physical, logical| {
            // The three-level list of the format's specification.
            let element = leaf("element", physical, logical, Repetition::REQUIRED, -1)?;
            let list = Type::group_type_builder("list").with_repetition(Repetition::REPEATED).with_fields(vec![element]).build()?;
            let outer = Type::group_type_builder(self.name).with_repetition(Repetition::REQUIRED);
            outer.with_logical_type(Some(LogicalType::List)).with_fields(vec![Arc::new(list)]).build().map(Arc::new)
        };
        match &self.field {
            Field::Int(width, ..) | Field::OptInt(width, ..) => leaf(self.name, width.physical(), width.logical(), repetition, -1),
            Field::Bool(..) => leaf(self.name, Physical::BOOLEAN, None, repetition, -1),
            Field::Float(..) => leaf(self.name, Physical::DOUBLE, None, repetition, -1),
            Field::Text(..) | Field::OptText(..) => leaf(self.name, Physical::BYTE_ARRAY, Some(LogicalType::String), repetition, -1),
            Field::OptHash(..) => leaf(self.name, Physical::FIXED_LEN_BYTE_ARRAY, None, repetition, 8),
            Field::Longs(..) => element(Physical::INT64, None),
            Field::Counts(..) => element(Physical::INT32, Width::U32.logical()),
        }
    }
}

fn schema<R: Row>() -> Result<TypePtr, parquet::errors::ParquetError> {
    let columns: Result<Vec<TypePtr>, _> = R::COLUMNS.iter().map(Column::parquet_type).collect();
    Type::group_type_builder("schema").with_fields(columns?).build().map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[derive(Clone, PartialEq, Debug, Default)]
    struct New {
        x: i64,
        y: Option<i64>,
    }

    struct Old(i64);
    struct Other(i64);

    const X: Column<New> = Column::new(
        "x",
        Field::Int(
            Width::I64,
            |r| r.x,
            |r, v| {
                r.x = v;
                Some(())
            },
        ),
    );

    impl Row for New {
        const SCHEMA: &'static str = "row/1";
        const COLUMNS: &'static [Column<Self>] = &[
            X,
            Column::new(
                "y",
                Field::OptInt(
                    Width::I64,
                    |r| r.y,
                    |r, v| {
                        r.y = Some(v);
                        Some(())
                    },
                ),
            ),
        ];
        const ADDED: &'static [&'static str] = &["y"];
        fn blank() -> Self {
            Self::default()
        }
    }

    impl Row for Old {
        const SCHEMA: &'static str = "row/1";
        const COLUMNS: &'static [Column<Self>] = &[Column::new(
            "x",
            Field::Int(
                Width::I64,
                |r| r.0,
                |r, v| {
                    r.0 = v;
                    Some(())
                },
            ),
        )];
        fn blank() -> Self {
            Self(0)
        }
    }

    impl Row for Other {
        const SCHEMA: &'static str = "row/1";
        const COLUMNS: &'static [Column<Self>] = &[Column::new(
            "z",
            Field::Int(
                Width::I64,
                |r| r.0,
                |r, v| {
                    r.0 = v;
                    Some(())
                },
            ),
        )];
        fn blank() -> Self {
            Self(0)
        }
    }

    fn written<R: Row>(path: &Path, rows: Vec<R>) {
        let mut writer = TableWriter::create(path, "run").unwrap();
        rows.into_iter().for_each(|row| writer.push(row).unwrap());
        writer.finish().unwrap();
    }

    #[test]
    fn a_column_that_came_later_is_absent_in_older_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        written(&path, vec![Old(1), Old(2)]);
        let rows: Vec<New> = TableReader::open(&path).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(rows, [New { x: 1, y: None }, New { x: 2, y: None }]);
        written(&path, vec![New { x: 1, y: Some(5) }]);
        assert!(TableReader::<Old>::open(&path).is_err(), "a reader that does not know a column says so");
        written(&path, vec![Other(3)]);
        let error = TableReader::<New>::open(&path).err().unwrap().to_string();
        assert!(error.contains("its columns are not those of row/1"), "{error}");
    }

    #[test]
    fn columns_nobody_wants_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        written(&path, vec![New { x: 1, y: Some(5) }, New { x: 2, y: None }]);
        let rows: Vec<New> = TableReader::open_columns(&path, |name| name == "y").unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(rows, [New { x: 0, y: Some(5) }, New { x: 0, y: None }]);
    }
}

//! Rows as a Parquet file: `series`, `time`, and a column for each name and letter that values have.
//!
//! A value's column has the name its shape gives it, else `value` where it is the only one of its row, else `c1`,
//! `c2`, ... Where one name stands for values of several letters, the later ones get their letter behind it. A row
//! has nulls where its shape has no such column. Raw bytes are a column of byte arrays without a logical type.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use dotter_dot::{Letter, SeriesName, Shape, Timestamp, Value};
use dotter_store::{Row, Search};
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use crate::error::Error;
use crate::found;
use crate::progress::Progress;
use crate::target::Target;

/// Rows of a row group, about.
const GROUP_ROWS: usize = 512 << 10;

/// Bytes of a row group as it lies in memory, about.
const GROUP_BYTES: usize = 64 << 20;

/// Writes what a search finds; a regular file is there once it is whole.
///
/// - `path`: see [`Target`]
pub(crate) fn write(search: &Search<'_>, path: &Path) -> Result<(), Error> {
    let target = Target::begin(path)?;
    let written = write_to(search, &target, path).map_err(|error| match error {
        Error::Parquet(ParquetError::External(source)) if target.is_stdout() => match source.downcast() {
            Ok(source) => Error::Output(*source),
            Err(source) => Error::Parquet(ParquetError::External(source)),
        },
        error => error,
    })?;
    target.finish()?;
    eprintln!("wrote {written} rows");
    Ok(())
}

/// Returns how many rows were written.
fn write_to(search: &Search<'_>, target: &Target, path: &Path) -> Result<u64, Error> {
    let table = Table::new(&found::shapes(search)?);
    let cannot = |doing| move |source| Error::File { doing, path: path.to_owned(), source };
    let level = ZstdLevel::try_new(3)?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    let mut writer = SerializedFileWriter::new(
        target.file().map_err(cannot("write"))?,
        table.schema()?,
        Arc::new(properties),
    )?;
    let mut group = Vec::new();
    let (mut rows, mut bytes, mut written) = (0, 0, 0_u64);
    let mut progress = Progress::new("exporting", "rows", None);
    search.run(
        |name, row, batch: &mut Batch| batch.push(&table, name, row),
        |batch: Batch| -> Result<(), Error> {
            if let Some(time) = batch.late {
                return Err(Error::Usage(format!(
                    "time {time} lies beyond the year 2262, which Parquet cannot say"
                )));
            }
            rows += batch.times.len();
            bytes += batch.bytes;
            group.push(batch);
            if rows >= GROUP_ROWS || bytes >= GROUP_BYTES {
                write_group(&mut writer, &table, &std::mem::take(&mut group))?;
                written += rows as u64;
                (rows, bytes) = (0, 0);
                progress.at(written);
            }
            Ok(())
        },
    )?;
    write_group(&mut writer, &table, &group)?;
    writer.close()?;
    drop(progress);
    Ok(written + rows as u64)
}

/// The columns of values.
struct Table {
    columns: Vec<Head>,
    /// By shape, which column each of its values goes into.
    places: HashMap<Shape, Vec<usize>>,
}

/// What stands above a column.
struct Head {
    name: String,
    /// What shapes call it.
    base: String,
    letter: Letter,
}

impl Table {
    fn new(shapes: &[Shape]) -> Table {
        let mut table = Table { columns: Vec::new(), places: HashMap::new() };
        for shape in shapes {
            let places = table.places_of(shape);
            table.places.insert(shape.clone(), places);
        }
        table
    }

    fn places_of(&mut self, shape: &Shape) -> Vec<usize> {
        let mut places = Vec::new();
        for (number, letter) in shape.format().letters().enumerate() {
            let name = match shape.columns().get(number) {
                Some(name) if !matches!(&**name, "series" | "time") => name.to_string(),
                _ if shape.format().len() == 1 => "value".to_owned(),
                _ => format!("c{}", number + 1),
            };
            // Two columns of one row may have the same name; they do not share a place.
            let is_free = |place: &usize| !places.contains(place);
            let known = (0..self.columns.len())
                .filter(is_free)
                .find(|place| self.columns[*place].letter == letter && self.columns[*place].base == name);
            let place = known.unwrap_or_else(|| {
                self.columns.push(Head { name: self.free_name(&name, letter), base: name, letter });
                self.columns.len() - 1
            });
            places.push(place);
        }
        places
    }

    /// The name itself, or with its letter or a number behind it.
    fn free_name(&self, name: &str, letter: Letter) -> String {
        let is_free = |name: &str| self.columns.iter().all(|taken| taken.name != name);
        let numbered = (2..).map(|number| format!("{name}_{letter}{number}"));
        [name.to_owned(), format!("{name}_{letter}")]
            .into_iter()
            .chain(numbered)
            .find(|name| is_free(name))
            .expect("numbers do not end")
    }

    fn schema(&self) -> Result<TypePtr, ParquetError> {
        let column = |name: &str, physical, logical, repetition| {
            let column = Type::primitive_type_builder(name, physical);
            column.with_repetition(repetition).with_logical_type(logical).build().map(Arc::new)
        };
        let time = LogicalType::timestamp(true, TimeUnit::NANOS);
        let mut fields = vec![
            column("series", Physical::BYTE_ARRAY, Some(LogicalType::String), Repetition::REQUIRED)?,
            column("time", Physical::INT64, Some(time), Repetition::REQUIRED)?,
        ];
        for Head { name, letter, .. } in &self.columns {
            let (physical, logical) = match letter {
                Letter::F32 => (Physical::FLOAT, None),
                Letter::F64 => (Physical::DOUBLE, None),
                Letter::I32 => (Physical::INT32, None),
                Letter::I64 => (Physical::INT64, None),
                Letter::U32 => (Physical::INT32, Some(LogicalType::integer(32, false))),
                Letter::U64 => (Physical::INT64, Some(LogicalType::integer(64, false))),
                Letter::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
                Letter::Bytes => (Physical::BYTE_ARRAY, None),
            };
            fields.push(column(name, physical, logical, Repetition::OPTIONAL)?);
        }
        Type::group_type_builder("dots").with_fields(fields).build().map(Arc::new)
    }
}

/// Rows of one task, column by column.
#[derive(Default)]
struct Batch {
    /// Each series once, as often as it has rows one behind the other.
    series: Vec<(SeriesName, usize)>,
    times: Vec<i64>,
    columns: Vec<Column>,
    bytes: usize,
    /// A time that Parquet cannot say.
    late: Option<Timestamp>,
}

/// The values of one column, and which rows have them.
#[derive(Default)]
struct Column {
    words: Vec<u64>,
    /// Texts, or raw bytes.
    strings: Vec<ByteArray>,
    /// 1 where a row has a value; rows behind the last that has are missing.
    defined: Vec<i16>,
}

impl Batch {
    fn push(&mut self, table: &Table, name: &SeriesName, row: &Row<'_>) {
        let Some(places) = table.places.get(row.shape()) else { return };
        let time = row.time();
        let Ok(nanos) = i64::try_from(time.nanos()) else {
            self.late.get_or_insert(time);
            return;
        };
        match self.series.last_mut() {
            Some((last, count)) if last == name => *count += 1,
            _ => self.series.push((name.clone(), 1)),
        }
        let before = self.times.len();
        self.times.push(nanos);
        self.bytes += 32;
        for (value, place) in row.cells().zip(places) {
            if self.columns.len() <= *place {
                self.columns.resize_with(place + 1, Column::default);
            }
            let column = &mut self.columns[*place];
            column.defined.resize(before, 0);
            column.defined.push(1);
            match value {
                Value::Text(text) => {
                    self.bytes += text.len() + 32;
                    column.strings.push(ByteArray::from(text.as_bytes().to_vec()));
                }
                Value::Bytes(bytes) => {
                    self.bytes += bytes.len() + 32;
                    column.strings.push(ByteArray::from(bytes.to_vec()));
                }
                number => {
                    self.bytes += 8;
                    column.words.push(number.to_word().expect("it is a number"));
                }
            }
        }
    }
}

fn write_group(
    writer: &mut SerializedFileWriter<File>,
    table: &Table,
    batches: &[Batch],
) -> Result<(), ParquetError> {
    if batches.iter().all(|batch| batch.times.is_empty()) {
        return Ok(());
    }
    let mut group = writer.next_row_group()?;
    put::<ByteArrayType>(&mut group, batches, |batch| {
        let of = |(name, count): &(SeriesName, usize)| {
            let bytes = ByteArray::from(name.as_str().as_bytes().to_vec());
            std::iter::repeat_n(bytes, *count)
        };
        (batch.series.iter().flat_map(of).collect(), None)
    })?;
    put::<Int64Type>(&mut group, batches, |batch| (batch.times.clone(), None))?;
    for (place, Head { letter, .. }) in table.columns.iter().enumerate() {
        match letter {
            Letter::F32 => {
                put_words::<FloatType>(&mut group, batches, place, |word| f32::from_bits(word as u32))
            }
            Letter::F64 => put_words::<DoubleType>(&mut group, batches, place, f64::from_bits),
            Letter::U32 | Letter::I32 => {
                put_words::<Int32Type>(&mut group, batches, place, |word| word as i32)
            }
            Letter::U64 | Letter::I64 => {
                put_words::<Int64Type>(&mut group, batches, place, |word| word as i64)
            }
            Letter::Text | Letter::Bytes => put::<ByteArrayType>(&mut group, batches, |batch| {
                let column = batch.columns.get(place);
                (column.map_or_else(Vec::new, |column| column.strings.clone()), Some(defined(batch, place)))
            }),
        }?;
    }
    group.close()?;
    Ok(())
}

fn put_words<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    batches: &[Batch],
    place: usize,
    value: impl Fn(u64) -> T::T,
) -> Result<(), ParquetError> {
    put::<T>(group, batches, |batch| {
        let words = batch.columns.get(place).map_or(&[][..], |column| &column.words);
        (words.iter().map(|word| value(*word)).collect(), Some(defined(batch, place)))
    })
}

/// Which rows of a batch have a value in a column.
fn defined(batch: &Batch, place: usize) -> Vec<i16> {
    let mut defined = batch.columns.get(place).map_or_else(Vec::new, |column| column.defined.clone());
    defined.resize(batch.times.len(), 0);
    defined
}

/// Writes the next column of a row group.
fn put<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    batches: &[Batch],
    values: impl Fn(&Batch) -> (Vec<T::T>, Option<Vec<i16>>),
) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.expect("the schema has a column for each that is written");
    for batch in batches.iter().filter(|batch| !batch.times.is_empty()) {
        let (values, defined) = values(batch);
        column.typed::<T>().write_batch(&values, defined.as_deref(), None)?;
    }
    column.close()
}

impl From<ParquetError> for Error {
    fn from(error: ParquetError) -> Error {
        Error::Parquet(error)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use dotter_dot::{Format, NamedDots, TimeRange};
    use dotter_store::Reader;
    use parquet::file::reader::{FileReader as _, SerializedFileReader};

    use super::*;

    fn shape(letters: &str, columns: &[&str]) -> Shape {
        Shape::new(Format::new(letters).unwrap(), "", columns).unwrap()
    }

    #[test]
    fn columns_are_named_as_their_shapes_say() {
        let shapes = [
            shape("F", &[]),
            shape("sU", &["path", "code"]),
            shape("U", &[]),
            shape("sF", &["path", "time"]),
            shape("FF", &[]),
            shape("FF", &["x", "x"]),
            shape("FF", &["x_F", "x"]),
        ];
        let table = Table::new(&shapes);
        let names: Vec<String> =
            table.columns.iter().map(|head| format!("{}:{}", head.name, head.letter)).collect();
        assert_eq!(
            names,
            ["value:F", "path:s", "code:U", "value_U:U", "c2:F", "c1:F", "x:F", "x_F:F", "x_F_F:F"]
        );
        let places: Vec<&[usize]> = shapes.iter().map(|shape| &table.places[shape][..]).collect();
        assert_eq!(places, [&[0][..], &[1, 2], &[3], &[1, 4], &[5, 4], &[6, 7], &[8, 6]]);
    }

    #[test]
    fn a_file_holds_what_was_found() {
        let dir = tempfile::tempdir().unwrap();
        let (store, path) = (dir.path().join("store"), dir.path().join("out.parquet"));
        let mut bulk = NamedDots::default();
        let name = |text: &str| SeriesName::new(text).unwrap();
        let log = shape("sU", &["path", "code"]);
        bulk.push_number(&name("a"), Timestamp::from_nanos(5), 1.5);
        bulk.push_values(
            &name("log"),
            &log,
            Timestamp::from_nanos(6),
            [Value::Text("/x"), Value::U64(u64::MAX)],
        )
        .unwrap();
        let raw = shape("bb", &["id", "path"]);
        let cells = [Value::Bytes(&[0, 0xff, 0x80]), Value::Bytes(&[])];
        bulk.push_values(&name("raw"), &raw, Timestamp::from_nanos(7), cells).unwrap();
        for time in 0..100_000 {
            bulk.push_number(&name("z"), Timestamp::from_nanos(time), time as f64);
        }
        dotter_store::add(&store, bulk).unwrap();
        let snapshot = Reader::open(&store).unwrap().snapshot();
        let series: Vec<SeriesName> = snapshot.series().collect();
        let threads = NonZero::new(2);
        let search =
            Search { snapshot: &snapshot, series: &series, range: TimeRange::ALL, filter: None, threads };
        write(&search, &path).unwrap();
        let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
        assert_eq!(reader.metadata().file_metadata().num_rows(), 100_003);
        let rows: Vec<String> =
            reader.get_row_iter(None).unwrap().take(4).map(|row| row.unwrap().to_string()).collect();
        assert!(rows[0].contains("series: \"a\"") && rows[0].contains("value: 1.5"), "{}", rows[0]);
        assert!(
            rows[1].contains("path: \"/x\"") && rows[1].contains("code: 18446744073709551615"),
            "{}",
            rows[1]
        );
        assert!(rows[1].contains("value: null"), "{}", rows[1]);
        // What is no text is shown as numbers; `path` was text already.
        assert!(rows[2].contains("id: [0, 255, 128]") && rows[2].contains("path_b: []"), "{}", rows[2]);
        assert!(rows[3].contains("series: \"z\"") && rows[3].contains("value: 0"), "{}", rows[3]);
        // Nothing but the file is left beside the store.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}

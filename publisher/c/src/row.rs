//! `struct dotter_row`: a series of rows, several numbers at one time.

use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr;

use dotter_publisher::{AnyRow, COLUMNS_MAX, Cell as _, Timestamp};

use crate::border::{bytes, code, const_null, guard, name, unit, utf8};
use crate::failure::Failure;
use crate::publisher::Handle;
use crate::tagged::{Tagged, tag};

/// `struct dotter_row`
pub struct Row {
    row: AnyRow,
    letters: Box<[u8]>,
    /// Every column has 64 bits: its cells are words already.
    wide: bool,
}

tag!(Row, b"dot: row", "the row");

/// `union dotter_cell`
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub union Cell {
    pub f64: f64,
    pub f32: f32,
    pub i64: i64,
    pub u64: u64,
    pub i32: i32,
    pub u32: u32,
}

// The header makes the same statement to the C compiler.
const _: () = assert!(size_of::<Cell>() == 8);

/// See `dotter.h`.
///
/// # Safety
///
/// `dotter`: as in [`dotter_counts`](crate::dotter_counts). `name`, `unit`, `letters`: NULL or C strings.
/// `columns`: NULL, or as many pointers as there are letters, each NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_row(
    dotter: *const Tagged<Handle>,
    name_text: *const c_char,
    unit_text: *const c_char,
    letters: *const c_char,
    columns: *const *const c_char,
) -> *const Tagged<Row> {
    guard(const_null, || {
        // SAFETY: the caller's promise; a publisher is only ever used as shared.
        let handle = unsafe { Tagged::of(dotter) }?;
        // SAFETY: the caller's promise.
        let (name, unit, letters) = unsafe { (name(name_text)?, unit(unit_text)?, bytes(letters)) };
        let letters = utf8(letters.ok_or(Failure::null(c"the letters are NULL; no row"))?, "letters")?;
        if columns.is_null() {
            return Err(Failure::null(c"the columns are NULL; no row"));
        }
        if letters.len() > COLUMNS_MAX {
            let found = letters.len();
            return Err(Failure::columns(&format!(
                "a row of '{name}' has {found} columns, expected 1 to {COLUMNS_MAX}; no row"
            )));
        }
        let mut names = Vec::with_capacity(letters.len());
        for index in 0..letters.len() {
            // SAFETY: there are as many pointers as letters, and each is NULL or a C string.
            let column = unsafe { bytes(columns.add(index).read()) };
            let column = column.ok_or(Failure::null(c"the name of a column is NULL; no row"))?;
            names.push(utf8(column, "name of a column")?);
        }
        let mut row = handle.publisher.any_row(name, letters, &names)?;
        if !unit.is_empty() {
            row = row.unit(unit);
        }
        let columns = names.into_iter().map(str::to_owned).collect();
        let key = ((row.name().clone(), unit.to_owned()), letters.to_owned(), columns);
        let wide = letters.bytes().all(|letter| b"FIU".contains(&letter));
        let row = Row { row, letters: letters.as_bytes().into(), wide };
        handle.kept(|kept| {
            let row = kept.rows.entry(key).or_insert_with(|| Box::new(Tagged::new(row)));
            ptr::from_ref::<Tagged<Row>>(row)
        })
    })
}

impl Row {
    /// Gives `publish` the words of `count` cells.
    ///
    /// # Safety
    ///
    /// `cells`: NULL, or so many, of which those parts are set that the letters name.
    #[inline(always)]
    pub(crate) unsafe fn words<T>(
        &self,
        cells: *const Cell,
        count: usize,
        publish: impl FnOnce(&AnyRow, &[u64]) -> T,
    ) -> Result<T, Failure> {
        if cells.is_null() {
            return Err(Failure::null(c"the cells are NULL; the row is not published"));
        }
        if count != self.letters.len() {
            let message = c"there are more or fewer cells than columns; the row is not published";
            return Err(Failure::constant_size(message));
        }
        if self.wide && cells.is_aligned() {
            // SAFETY: so many cells, each of 64 bits that are set and of which every pattern is a u64.
            let words = unsafe { std::slice::from_raw_parts(cells.cast::<u64>(), count) };
            return Ok(publish(&self.row, words));
        }
        let mut words = [const { MaybeUninit::uninit() }; COLUMNS_MAX];
        // SAFETY: the caller's promise; there are as many cells as letters.
        Ok(publish(&self.row, unsafe { self.widen(cells, &mut words) }))
    }

    /// Puts the words of as many cells as there are letters into `words`, and gives these.
    ///
    /// # Safety
    ///
    /// There are as many, and what the letters name is set.
    unsafe fn widen<'a>(
        &self,
        cells: *const Cell,
        words: &'a mut [MaybeUninit<u64>; COLUMNS_MAX],
    ) -> &'a [u64] {
        for (index, (word, letter)) in words.iter_mut().zip(&self.letters).enumerate() {
            // SAFETY: there are as many cells as letters; what a letter names is set.
            word.write(unsafe {
                let cell = cells.add(index);
                match letter {
                    b'f' => cell.cast::<f32>().read_unaligned().to_word(),
                    b'i' => cell.cast::<i32>().read_unaligned().to_word(),
                    b'u' => cell.cast::<u32>().read_unaligned().to_word(),
                    // The words of the other three are their bits.
                    _ => cell.cast::<u64>().read_unaligned(),
                }
            });
        }
        // SAFETY: there are at most so many letters, and for each a word was just written.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), self.letters.len()) }
    }
}

/// See `dotter.h`.
///
/// # Safety
///
/// `row`: NULL, or of a publisher that is not closed. `cells`: NULL, or so many, of which those parts are set
/// that the row's letters name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_cells(row: *const Tagged<Row>, cells: *const Cell, count: usize) -> c_int {
    guard(code, || {
        // SAFETY: the caller's promise; nobody has another than a shared reference.
        unsafe { Tagged::of(row)?.words(cells, count, |row, words| row.dot(words)) }.map(|()| 0)
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// As [`dotter_cells`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_cells_at(
    row: *const Tagged<Row>,
    nanoseconds: u64,
    cells: *const Cell,
    count: usize,
) -> c_int {
    let time = Timestamp::from_nanos(nanoseconds);
    guard(code, || {
        // SAFETY: as in `dotter_cells`.
        unsafe { Tagged::of(row)?.words(cells, count, |row, words| row.dot_at(time, words)) }.map(|()| 0)
    })
}

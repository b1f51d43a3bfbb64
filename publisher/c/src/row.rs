//! `struct dotter_row`: a series of rows, several numbers at one time.

use std::ffi::{c_char, c_int};
use std::ptr;

use dotter_publisher::{COLUMNS_MAX, Timestamp};

use crate::border::{bytes, code, const_null, guard, name, unit, utf8};
use crate::cells::{Cell, Row};
use crate::failure::Failure;
use crate::publisher::Handle;
use crate::tagged::Tagged;

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

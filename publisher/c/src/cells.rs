//! A series of rows, and the words of its cells.

use std::mem::MaybeUninit;

use dotter_publisher::{AnyRow, COLUMNS_MAX, Cell as _};

use crate::failure::Failure;
use crate::tagged::tag;

/// `struct dotter_row`
pub struct Row {
    pub(crate) row: AnyRow,
    pub(crate) letters: Box<[u8]>,
    /// Every column has 64 bits: its cells are words already.
    pub(crate) wide: bool,
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

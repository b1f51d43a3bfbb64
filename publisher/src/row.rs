//! Series of rows: several numbers at one time.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use dotter_dot::{Format, SeriesName, Timestamp};
use dotter_ring::{COLUMNS_MAX, Cell, Error, Shape};

use crate::handle::Handle;
use crate::homeless::Refusal;
use crate::local;
use crate::write::{Cells, CellsAt};

mod sealed {
    pub trait Sealed {}
}

/// The columns of a row, each a [`Cell`]: a tuple of up to 12, or an array of up to 64 of one type.
pub trait Columns: Copy + fmt::Debug + Send + Sync + sealed::Sealed + 'static {
    /// A word for each column.
    type Words: AsRef<[u64]>;

    /// A letter for each column.
    fn letters() -> String;

    /// As they stand in a ring.
    fn to_words(self) -> Self::Words;
}

impl<T: Cell, const N: usize> sealed::Sealed for [T; N] {}
impl<T: Cell, const N: usize> Columns for [T; N] {
    type Words = [u64; N];

    fn letters() -> String {
        const { assert!(N > 0, "a row has a column") };
        const { assert!(N <= COLUMNS_MAX, "a row has at most 64 columns") };
        std::iter::repeat_n(T::LETTER, N).collect()
    }

    #[inline(always)]
    fn to_words(self) -> [u64; N] {
        self.map(T::to_word)
    }
}

macro_rules! tuples {
    () => {};
    ($first:ident $($rest:ident)*) => {
        tuples!($($rest)*);
        impl<$first: Cell, $($rest: Cell),*> sealed::Sealed for ($first, $($rest,)*) {}
        impl<$first: Cell, $($rest: Cell),*> Columns for ($first, $($rest,)*) {
            type Words = [u64; 1 $(+ { let _ = stringify!($rest); 1 })*];

            fn letters() -> String {
                [$first::LETTER, $($rest::LETTER),*].iter().collect()
            }

            #[inline(always)]
            #[allow(non_snake_case)]
            fn to_words(self) -> Self::Words {
                let ($first, $($rest,)*) = self;
                [$first.to_word(), $($rest.to_word()),*]
            }
        }
    };
}

// As far as the standard library's own traits go for tuples.
tuples!(A B C D E F G H I J K L);

/// What the registry is to say of a row with these letters and names.
pub(crate) fn shape(name: &str, letters: &str, columns: &[&str]) -> Result<Shape, Error> {
    let wrong = |found: String| Error::Columns { name: name.chars().take(80).collect(), found };
    if columns.len() != letters.len() {
        return Err(wrong(format!("{} names for {} columns", columns.len(), letters.len())));
    }
    let bad = |name: &&&str| !(1..=255).contains(&name.len()) || name.contains(char::is_control);
    if let Some(bad) = columns.iter().find(bad) {
        return Err(wrong(format!("the name {:?}", bad.chars().take(80).collect::<String>())));
    }
    let format = Format::new(letters).map_err(|error| wrong(error.to_string()))?;
    let columns = columns.iter().map(|name| (*name).to_owned()).collect();
    Shape::row(format, columns).ok_or_else(|| wrong("a column of text or raw bytes".to_owned()))
}

/// Where rows of one name go. Cheap to clone; any thread may use it.
pub struct Row<C> {
    handle: Handle,
    shape: Arc<Shape>,
    columns: PhantomData<fn(C)>,
}

impl<C> Clone for Row<C> {
    fn clone(&self) -> Row<C> {
        Row { handle: self.handle.clone(), shape: Arc::clone(&self.shape), columns: PhantomData }
    }
}

impl<C: Columns> Row<C> {
    pub(crate) fn new(handle: Handle, shape: Shape) -> Row<C> {
        Row { handle, shape: Arc::new(shape), columns: PhantomData }
    }

    /// Says what the columns are measured in; for the page, changes nothing else.
    #[must_use = "the row with the unit is the one returned"]
    pub fn unit(self, unit: &str) -> Row<C> {
        let handle = self.handle.unit(&self.shape, unit);
        Row { handle, ..self }
    }

    /// The name.
    pub fn name(&self) -> &SeriesName {
        &self.handle.name
    }

    /// Whether the ring had no room for the name: then its rows are counted as refused.
    pub fn is_refused(&self) -> bool {
        self.handle.id.is_none()
    }

    /// Publishes a row, now.
    #[inline]
    pub fn dot(&self, values: C) {
        local::publish(&self.handle, Cells(values.to_words()));
    }

    /// Publishes a row of another time.
    #[inline]
    pub fn dot_at(&self, time: Timestamp, values: C) {
        local::publish(&self.handle, CellsAt(time.nanos(), values.to_words()));
    }

    #[inline(always)]
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// Where rows of one name go whose columns are known only when the program runs: from a file, from another
/// language. Costs what a [`Row`] costs, and leaves it to the caller that the words are of the right type.
#[derive(Clone, Debug)]
pub struct AnyRow {
    handle: Handle,
    shape: Arc<Shape>,
}

impl AnyRow {
    pub(crate) fn new(handle: Handle, shape: Shape) -> AnyRow {
        AnyRow { handle, shape: Arc::new(shape) }
    }

    /// Says what the columns are measured in; for the page, changes nothing else.
    #[must_use = "the row with the unit is the one returned"]
    pub fn unit(self, unit: &str) -> AnyRow {
        let handle = self.handle.unit(&self.shape, unit);
        AnyRow { handle, ..self }
    }

    /// The name.
    pub fn name(&self) -> &SeriesName {
        &self.handle.name
    }

    /// Publishes a row, now: a word for each column, see [`Cell::to_word`]. One with more or fewer words than
    /// columns is counted as refused.
    pub fn dot(&self, words: &[u64]) {
        if self.fits(words) {
            local::publish(&self.handle, Cells(words));
        }
    }

    /// Publishes a row of another time.
    pub fn dot_at(&self, time: Timestamp, words: &[u64]) {
        if self.fits(words) {
            local::publish(&self.handle, CellsAt(time.nanos(), words));
        }
    }

    #[inline(always)]
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Whether they are as many as columns; where not, that is counted.
    #[inline]
    pub(crate) fn fits(&self, words: &[u64]) -> bool {
        let fits = words.len() == self.shape.format.as_str().len();
        if !fits {
            self.handle.home.refuse(Refusal::Other);
        }
        fits
    }
}

impl<C> fmt::Debug for Row<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Row({:?})", self.handle)
    }
}

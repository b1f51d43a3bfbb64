//! Dots together with the names and shapes of their series: what a way in fills, and a transaction takes.

use crate::series_table::SeriesTable;
use crate::{
    Cell, Column, DotKey, Dots, RowError, SeriesKey, SeriesName, Shape, Timestamp, Value, put_row_of,
};

/// Dots of any series and any shapes, all with explicit times, in the order they came.
///
/// Each series, a name with a shape, stands in a table once. Whoever pushes many dots asks for its number once and
/// pushes by that.
#[derive(Clone, Debug, Default)]
pub struct NamedDots {
    series: SeriesTable,
    /// By number of the series.
    keys: Vec<SeriesKey>,
    dots: Dots,
    /// Scratch for rows.
    row: Vec<u8>,
}

impl NamedDots {
    /// The number of a series that is among them.
    ///
    /// - `name`: canonical; a name that is not canonical is not found
    pub fn find(&self, name: &str, shape: &Shape) -> Option<u32> {
        self.series.find(name, shape)
    }

    /// The number of a series, which joins the table where it is not among them.
    ///
    /// # Panics
    ///
    /// Where there are [`SERIES_MAX`](crate::SERIES_MAX) others.
    pub fn series(&mut self, name: &SeriesName, shape: &Shape) -> u32 {
        let number = self.series.number(name, shape);
        if number as usize == self.keys.len() {
            self.keys.push(SeriesKey::new(number, shape));
        }
        number
    }

    /// Every series, by its number.
    pub fn series_list(&self) -> &[(SeriesName, Shape)] {
        self.series.series()
    }

    /// How many names there are, whatever their shapes.
    pub fn name_count(&self) -> usize {
        self.series.names().len()
    }

    /// Appends a dot by the number of its series.
    ///
    /// - `cell`: row bytes are a row of the series' format
    ///
    /// # Panics
    ///
    /// Where there is no such number, or the series' format has no such value.
    #[inline]
    pub fn push_to(&mut self, series: u32, time: Timestamp, cell: Cell<'_>) {
        self.dots.push(self.keys[series as usize], false, time, cell);
    }

    /// Appends a dot by the name and the shape of its series.
    ///
    /// - `cell`: row bytes are a row of the shape's format
    ///
    /// # Panics
    ///
    /// Where the shape's format has no such value.
    pub fn push(&mut self, name: &SeriesName, shape: &Shape, time: Timestamp, cell: Cell<'_>) {
        let series = self.series(name, shape);
        self.push_to(series, time, cell);
    }

    /// Appends a plain number: format `F`, no unit.
    pub fn push_number(&mut self, name: &SeriesName, time: Timestamp, value: f64) {
        self.push(name, &Shape::number(), time, Cell::number(value));
    }

    /// Appends a dot of these values, one for each column of `shape`.
    ///
    /// # Errors
    ///
    /// [`RowError`] where they are not values of the shape; nothing is appended then.
    pub fn push_values<'a>(
        &mut self,
        name: &SeriesName,
        shape: &Shape,
        time: Timestamp,
        values: impl IntoIterator<Item = Value<'a>>,
    ) -> Result<(), RowError> {
        let mut row = std::mem::take(&mut self.row);
        row.clear();
        let pushed = put_row_of(shape.format(), values, &mut row)
            .and_then(|()| Cell::from_row(shape.format(), &row))
            .map(|cell| self.push(name, shape, time, cell));
        self.row = row;
        pushed
    }

    /// Appends the dots of a column under one name.
    pub fn extend(&mut self, name: &SeriesName, column: &Column) {
        for (part, shape) in column.parts(0..column.len()) {
            let series = self.series(name, shape);
            for index in part {
                self.push_to(series, Timestamp::from_nanos(column.times()[index]), column.cell(index, shape));
            }
        }
    }

    /// How many dots.
    pub fn len(&self) -> usize {
        self.dots.len()
    }

    /// Whether there are no dots.
    pub fn is_empty(&self) -> bool {
        self.dots.is_empty()
    }

    /// What all of it takes in memory, in bytes; names and shapes are counted roughly.
    pub fn bytes(&self) -> usize {
        self.dots.bytes() + self.series.bytes()
    }

    /// Every dot in the order they came.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&SeriesName, &Shape, Timestamp, Cell<'_>)> {
        let series = self.series_list();
        self.dots.keys().iter().zip(self.dots.times()).enumerate().map(move |(index, (key, time))| {
            let (name, shape) = &series[key.series() as usize];
            (name, shape, Timestamp::from_nanos(*time), self.dots.cell(index))
        })
    }

    /// Every name that has dots, sorted by their bytes, with its dots in the order they came.
    ///
    /// # Panics
    ///
    /// Where there are more than 2^32 dots.
    pub fn columns(&self) -> impl Iterator<Item = (&SeriesName, Column)> {
        let mut names: Vec<(&SeriesName, u32)> = self.series.names().collect();
        names.sort_unstable();
        // By number of the series: the place of its name among all names. The first series of a name has the
        // least number of them.
        let mut ranks = vec![0_u32; self.series_list().len()];
        names.iter().zip(0..).for_each(|((_, first), rank)| ranks[*first as usize] = rank);
        let first = self.series.first().iter().enumerate();
        first.for_each(|(number, first)| ranks[number] = ranks[*first as usize]);
        let rank = |key: &DotKey| ranks[key.series() as usize] as usize;
        let mut ends = vec![0_u32; names.len()];
        u32::try_from(self.len()).expect("places of dots have 32 bits");
        self.dots.keys().iter().for_each(|key| ends[rank(key)] += 1);
        let mut next = 0;
        for end in &mut ends {
            // From here on the place where the name's next dot goes.
            next += std::mem::replace(end, next);
        }
        let mut order = vec![0_u32; self.len()];
        for (index, key) in self.dots.keys().iter().enumerate() {
            let end = &mut ends[rank(key)];
            order[*end as usize] = index as u32;
            *end += 1;
        }
        let mut start = 0;
        names.into_iter().zip(ends).filter_map(move |((name, _), end)| {
            let dots = &order[start..end as usize];
            start = end as usize;
            (!dots.is_empty()).then(|| (name, self.column(dots)))
        })
    }

    /// Dots of one name.
    fn column(&self, dots: &[u32]) -> Column {
        let mut column = Column::default();
        column.reserve(dots.len());
        for index in dots.iter().map(|index| *index as usize) {
            let (_, shape) = &self.series_list()[self.dots.keys()[index].series() as usize];
            column.push(shape, Timestamp::from_nanos(self.dots.times()[index]), self.dots.cell(index));
        }
        column
    }

    /// Appends every dot to `dots`; returns how many had no key there.
    ///
    /// - `keys`: by number of the series its key in `dots`, of the same format
    ///
    /// # Panics
    ///
    /// Where a key is of another format, or there are fewer keys than series.
    pub fn copy_to(&self, keys: &[Option<SeriesKey>], dots: &mut Dots) -> u64 {
        let mut without = 0;
        for (index, (key, time)) in self.dots.keys().iter().zip(self.dots.times()).enumerate() {
            match keys[key.series() as usize] {
                Some(key) => dots.push(key, false, Timestamp::from_nanos(*time), self.dots.cell(index)),
                None => without += 1,
            }
        }
        without
    }
}

impl FromIterator<(SeriesName, Timestamp, f64)> for NamedDots {
    fn from_iter<T: IntoIterator<Item = (SeriesName, Timestamp, f64)>>(numbers: T) -> NamedDots {
        let mut dots = NamedDots::default();
        numbers.into_iter().for_each(|(name, time, value)| dots.push_number(&name, time, value));
        dots
    }
}

impl From<Vec<(SeriesName, Timestamp, f64)>> for NamedDots {
    fn from(numbers: Vec<(SeriesName, Timestamp, f64)>) -> NamedDots {
        numbers.into_iter().collect()
    }
}

//! Series by name and shape, each with a number.

use std::collections::HashMap;

use crate::{SeriesName, Shape};

/// Series, numbered from 0 in the order they were met. A series is a name with a shape.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeriesTable {
    series: Vec<(SeriesName, Shape)>,
    /// By number: the first series of the same name.
    first: Vec<u32>,
    /// The first series of each name, which for nearly all names is the only one.
    names: HashMap<SeriesName, u32>,
    /// The others, by the first series of their name and their shape.
    others: HashMap<(u32, Shape), u32>,
    /// The series that was asked for last.
    last: u32,
    /// Bytes of all names.
    name_bytes: usize,
}

/// What a series takes in memory besides its name: counted roughly.
const SERIES_BYTES: usize = 160;

impl SeriesTable {
    /// The number of a series that is known.
    ///
    /// - `name`: canonical, or it is not found
    pub(crate) fn find(&self, name: &str, shape: &Shape) -> Option<u32> {
        let first = *self.names.get(name)?;
        if self.series[first as usize].1 == *shape {
            return Some(first);
        }
        self.others.get(&(first, shape.clone())).copied()
    }

    /// The number of a series, known or not.
    pub(crate) fn number(&mut self, name: &SeriesName, shape: &Shape) -> u32 {
        // Dots come series by series more often than not.
        if let Some((last_name, last_shape)) = self.series.get(self.last as usize)
            && last_name == name
            && last_shape == shape
        {
            return self.last;
        }
        if let Some(number) = self.find(name.as_str(), shape) {
            self.last = number;
            return number;
        }
        let number = u32::try_from(self.series.len()).expect("the numbers of series are bounded far below");
        let first = *self.names.entry(name.clone()).or_insert(number);
        if first == number {
            self.name_bytes += name.as_str().len();
        } else {
            self.others.insert((first, shape.clone()), number);
        }
        self.series.push((name.clone(), shape.clone()));
        self.first.push(first);
        self.last = number;
        number
    }

    /// Every series, by its number.
    pub(crate) fn series(&self) -> &[(SeriesName, Shape)] {
        &self.series
    }

    /// By number: the first series of the same name.
    pub(crate) fn first(&self) -> &[u32] {
        &self.first
    }

    /// The first series of each name, in no order.
    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = (&SeriesName, u32)> {
        self.names.iter().map(|(name, first)| (name, *first))
    }

    /// What the table takes in memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.name_bytes + self.series.len() * SERIES_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;

    #[test]
    fn a_name_with_another_shape_is_another_series() {
        let mut table = SeriesTable::default();
        let shapes: Vec<Shape> = ["F", "s", "Fs"].map(|letters| Format::new(letters).unwrap().into()).into();
        let name = |text: &str| SeriesName::new(text).unwrap();
        let mut numbers = Vec::new();
        for _ in 0..2 {
            for text in ["a;x=1", "b"] {
                numbers.extend(shapes.iter().map(|shape| table.number(&name(text), shape)));
            }
        }
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]);
        assert_eq!(table.first(), [0, 0, 0, 3, 3, 3]);
        assert_eq!((table.names().len(), table.series().len()), (2, 6));
        assert_eq!((table.find("b", &shapes[2]), table.find("c", &shapes[0])), (Some(5), None));
        // Shapes are the same where they are equal, in memory or not.
        assert_eq!(table.find("b", &Shape::number()), Some(3));
        assert_eq!(table.series()[4], (name("b"), shapes[1].clone()));
    }
}

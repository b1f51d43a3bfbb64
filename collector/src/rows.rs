//! Dots that came without record numbers: names once, then one entry a dot.

use std::collections::HashMap;

use dotter_dot::{SeriesName, Timestamp};

/// Dots with explicit times, in the order they came; of equal times the last counts.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    names: Vec<SeriesName>,
    by_name: HashMap<SeriesName, u32>,
    series: Vec<u32>,
    times: Vec<Timestamp>,
    values: Vec<f64>,
}

impl Rows {
    /// The number of a series, where the text is a canonical name that is known already.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The number of a series.
    pub(crate) fn series(&mut self, name: SeriesName) -> u32 {
        let names = &mut self.names;
        *self.by_name.entry(name).or_insert_with_key(|name| {
            names.push(name.clone());
            // Fits: each takes a byte of a body or a line at least, and those are bounded far below.
            names.len() as u32 - 1
        })
    }

    /// - `series`: as [`series`](Self::series) gave it
    pub(crate) fn push(&mut self, series: u32, time: Timestamp, value: f64) {
        self.series.push(series);
        self.times.push(time);
        self.values.push(value);
    }

    /// Says only now which series the dots from `first` on belong to.
    pub(crate) fn assign(&mut self, first: usize, series: u32) {
        self.series[first..].fill(series);
    }

    /// Every series, by its number.
    pub(crate) fn names(&self) -> &[SeriesName] {
        &self.names
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Each dot: number of the series, time, value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Timestamp, f64)> {
        self.series.iter().zip(&self.times).zip(&self.values).map(|((s, t), v)| (*s, *t, *v))
    }

    /// Each dot under its name, as a transaction of any size takes them.
    pub(crate) fn into_named(self) -> Vec<(SeriesName, Timestamp, f64)> {
        self.iter().map(|(series, time, value)| (self.names[series as usize].clone(), time, value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_a_name_once_and_the_order_of_dots() {
        let mut rows = Rows::default();
        let a = rows.series(SeriesName::new("a;y=1;x=2").unwrap());
        let b = rows.series(SeriesName::new("b").unwrap());
        assert_eq!(rows.series(SeriesName::new("a;x=2;y=1").unwrap()), a);
        assert_eq!((rows.find("b"), rows.find("c")), (Some(b), None));
        rows.push(b, Timestamp::from_nanos(2), 1.0);
        rows.push(b, Timestamp::from_nanos(1), 2.0);
        rows.assign(1, a);
        let named: Vec<_> =
            rows.into_named().into_iter().map(|(n, t, v)| (n.to_string(), t.nanos(), v)).collect();
        assert_eq!(named, [("b".into(), 2, 1.0), ("a;x=2;y=1".into(), 1, 2.0)]);
    }
}

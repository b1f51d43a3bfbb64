//! What is measured, and how it is printed.

use std::collections::BTreeMap;

/// One of the things that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    In,
    Bytes,
    Written,
    One,
    Part,
    Host,
    Scan,
    Cold,
    MemoryIn,
    MemoryRead,
    Settle,
    Exact,
    Wrong,
}

pub(crate) const FIGURES: [Figure; 13] = [
    Figure::In,
    Figure::Bytes,
    Figure::Written,
    Figure::One,
    Figure::Part,
    Figure::Host,
    Figure::Scan,
    Figure::Cold,
    Figure::MemoryIn,
    Figure::MemoryRead,
    Figure::Settle,
    Figure::Exact,
    Figure::Wrong,
];

impl Figure {
    /// As a child process says it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Figure::In => "in",
            Figure::Bytes => "bytes",
            Figure::Written => "written",
            Figure::One => "one",
            Figure::Part => "part",
            Figure::Host => "host",
            Figure::Scan => "scan",
            Figure::Cold => "cold",
            Figure::MemoryIn => "memory-in",
            Figure::MemoryRead => "memory-read",
            Figure::Settle => "settle",
            Figure::Exact => "exact",
            Figure::Wrong => "wrong",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Figure::In => "in, M/s",
            Figure::Bytes => "bytes each",
            Figure::Written => "bytes written each",
            Figure::One => "a series, ms",
            Figure::Part => "1 % of the time, ms",
            Figure::Host => "a prefix, ms",
            Figure::Scan => "scan, M/s",
            Figure::Cold => "cold open and read, ms",
            Figure::MemoryIn => "memory in, MB",
            Figure::MemoryRead => "memory reading, MB",
            Figure::Settle => "compaction, s",
            Figure::Exact => "exact",
            Figure::Wrong => "prefixes read wrongly",
        }
    }
}

/// Of each engine the figures of each of its turns.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<(String, BTreeMap<Figure, Vec<f64>>)>,
}

impl Table {
    pub(crate) fn add(&mut self, row: &str, figure: Figure, value: f64) {
        let at = self.rows.iter().position(|(name, _)| name == row).unwrap_or_else(|| {
            self.rows.push((row.to_owned(), BTreeMap::new()));
            self.rows.len() - 1
        });
        let values = self.rows[at].1.entry(figure).or_default();
        values.insert(values.partition_point(|other| *other < value), value);
    }

    /// Medians and how many times those of `unit` they are, then least and most.
    pub(crate) fn print(&self, unit: &str) {
        let there = |figure: &Figure| self.rows.iter().any(|(_, figures)| figures.contains_key(figure));
        let columns: Vec<Figure> =
            FIGURES.into_iter().filter(|figure| *figure < Figure::Exact).filter(there).collect();
        let unit = self.rows.iter().find(|(name, _)| name == unit).map(|(_, figures)| figures);
        let head = |what: &str, last: &str| {
            let titles: Vec<_> = columns.iter().map(|figure| figure.title()).collect();
            println!("| {what} | {}{last} |", titles.join(" | "));
            println!(
                "| --- |{}{}",
                " ---: |".repeat(columns.len()),
                if last.is_empty() { "" } else { " --- |" }
            );
        };
        head("median, times Dotter's", " | exact");
        for (name, figures) in &self.rows {
            let cell = |figure: &Figure| {
                let Some(values) = figures.get(figure) else { return String::new() };
                let of = unit.and_then(|unit| unit.get(figure)).map(|unit| median(values) / median(unit));
                let of = of.filter(|of| !of.is_nan());
                let of = of.map_or(String::new(), |of| format!(" ({})", short(of)));
                format!("{}{of}", short(median(values)))
            };
            let cells: Vec<_> = columns.iter().map(cell).collect();
            let exact = match figures.get(&Figure::Exact) {
                Some(values) if values.iter().all(|exact| *exact == 1.0) => "yes",
                Some(_) => "no",
                None => "",
            };
            let wrong = figures.get(&Figure::Wrong).map_or(0.0, |values| values[values.len() - 1]);
            let exact = if wrong > 0.0 {
                format!("{exact}, but {wrong} prefixes of 8 wrong")
            } else {
                exact.to_owned()
            };
            println!("| {name} | {} | {exact} |", cells.join(" | "));
        }
        println!();
        head("least to most", "");
        for (name, figures) in &self.rows {
            let cell = |figure: &Figure| {
                let Some(values) = figures.get(figure) else { return String::new() };
                format!("{} to {}", short(values[0]), short(values[values.len() - 1]))
            };
            let cells: Vec<_> = columns.iter().map(cell).collect();
            println!("| {name} | {} |", cells.join(" | "));
        }
        println!();
    }
}

fn median(values: &[f64]) -> f64 {
    values[values.len() / 2]
}

/// Three digits; what is no number was read wrongly.
fn short(value: f64) -> String {
    if value.is_nan() {
        return "wrong".to_owned();
    }
    let whole = value.abs().max(1e-6).log10().floor() as i32;
    let digits = (2 - whole).clamp(0, 6) as usize;
    format!("{value:.digits$}")
}

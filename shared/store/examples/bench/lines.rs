//! Log lines: a time and 54 characters each, over five hours.

use crate::Failure;
use crate::work::{Random, SECOND};

pub(crate) const LINE_BYTES: usize = 54;
pub(crate) const LINES: u64 = 3_000_000;
/// What is looked for.
pub(crate) const NEEDLE: &str = "ERROR";
const COMMIT_LINES: u64 = 10_000;
const START: u64 = 1_700_000_000 * SECOND;
/// Twice the mean distance of two lines, in microseconds.
const APART: u64 = 12_000;

/// When lines come.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Stamps {
    /// At a random microsecond, as requests do: 13.5 bits a line that no store can save.
    Random,
    /// As far from each other as on average: what is kept then is the text.
    Even,
}

/// Lines that are committed together.
#[derive(Default)]
pub(crate) struct LineBatch {
    /// Nanoseconds since 1970; they ascend.
    pub(crate) times: Vec<u64>,
    /// One behind the other, [`LINE_BYTES`] each.
    pub(crate) text: String,
}

impl LineBatch {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &str)> {
        let line = |at: usize| &self.text[at * LINE_BYTES..(at + 1) * LINE_BYTES];
        self.times.iter().enumerate().map(move |(at, time)| (*time, line(at)))
    }
}

/// What looking for lines is held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) lines: u64,
    pub(crate) times: u64,
}

impl Found {
    pub(crate) fn add(&mut self, time: u64) {
        self.lines += 1;
        self.times = self.times.wrapping_add(time);
    }
}

/// Gives `commit` all lines in their order.
pub(crate) fn arrive(
    stamps: Stamps,
    mut commit: impl FnMut(&LineBatch) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut random = Random(7);
    let (mut time, mut request) = (START, 1_000_000);
    let paths = ["/api/users", "/api/order", "/api/items", "/api/login", "/img/logos"];
    let levels = ["INFO ", "INFO ", "INFO ", "INFO ", "INFO ", "INFO ", "WARN ", "ERROR"];
    let statuses = [200, 200, 200, 200, 304, 404, 500];
    let mut batch = LineBatch::default();
    for number in 0..LINES {
        let apart = 1 + random.below(APART - 1);
        time += 1_000 * if stamps == Stamps::Random { apart } else { APART / 2 };
        request += 1 + random.below(3);
        let begun = batch.text.len();
        std::fmt::Write::write_fmt(
            &mut batch.text,
            format_args!(
                "{} web-{:02} GET {} {} {:4} ms req={:07} ok",
                levels[random.below(8) as usize],
                random.below(16),
                paths[random.below(5) as usize],
                statuses[random.below(7) as usize],
                random.below(40) * random.below(40),
                request
            ),
        )?;
        assert_eq!(batch.text.len() - begun, LINE_BYTES, "all lines are of one length");
        batch.times.push(time);
        if (number + 1) % COMMIT_LINES == 0 {
            commit(&batch)?;
            batch.times.clear();
            batch.text.clear();
        }
    }
    Ok(())
}

/// A hundredth of the time, in the middle.
pub(crate) fn part() -> std::ops::Range<u64> {
    let whole = LINES * APART / 2 * 1_000;
    let from = START + whole / 2;
    from..from + whole / 100
}

/// The lines with the needle, and those of [`part`] with it.
pub(crate) fn expected() -> Result<(Found, Found), Failure> {
    let (mut all, mut some, part) = (Found::default(), Found::default(), part());
    arrive(Stamps::Random, |batch| {
        for (time, _) in batch.iter().filter(|(_, line)| line.contains(NEEDLE)) {
            all.add(time);
            if part.contains(&time) {
                some.add(time);
            }
        }
        Ok(())
    })?;
    Ok((all, some))
}

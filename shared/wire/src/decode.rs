//! From bytes to a message, whoever sent them.
//!
//! No count is believed further than the bytes that are left reach: memory stays within a small multiple of the
//! message, and the message within [`BATCH_BYTES_MAX`].

use dotter_dot::{Incarnation, Reason, Rows, TimeRange, Timestamp, get_varint, unzigzag};

use crate::encode::checksum;
use crate::message::{
    Batch, Finish, LaneBatch, LossRange, Message, Question, RefusalTotals, Run, Sender, SeriesEntry,
};
use crate::{BATCH_BYTES_MAX, BATCH_DOTS_MAX, CRC_AT, DecodeError, HEADER_BYTES, INCARNATION_AT};
use crate::{KIND_BATCH, KIND_FINISH, KIND_QUESTION, MAGIC, TEXT_BYTES_MAX, VERSION};

/// The fewest bytes a dot takes: one each of series and time, and its value.
const DOT_BYTES_MIN: u64 = 10;

impl Message {
    /// Reads a message and checks every rule of the format.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] says what was found, where, and what was expected. Nothing of a refused message is used.
    pub fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
        if bytes.len() > BATCH_BYTES_MAX {
            return Err(DecodeError::TooLong(bytes.len()));
        }
        if let Some(found) = bytes.first_chunk::<4>().filter(|found| **found != MAGIC) {
            return Err(DecodeError::Magic(*found));
        }
        let mut input = Input { rest: bytes, len: bytes.len() };
        let header = input.take("header", HEADER_BYTES)?;
        let (version, kind, flags, compression) = (header[4], header[5], header[6], header[7]);
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let computed = checksum(bytes);
        let stated = u32::from_le_bytes(*header[CRC_AT..].first_chunk().expect("the header is longer"));
        if computed != stated {
            return Err(DecodeError::Checksum { computed, stated });
        }
        if flags != 0 {
            return Err(DecodeError::Flags(flags));
        }
        if compression != 0 {
            return Err(DecodeError::Compression(compression));
        }
        let incarnation =
            Incarnation(*header[INCARNATION_AT..].first_chunk().expect("the header ends with it"));
        let application = input.text("application", TEXT_BYTES_MAX)?;
        let broker = input.text("broker", TEXT_BYTES_MAX)?;
        let sender = Sender { incarnation, application, broker };
        let message = match kind {
            KIND_BATCH => Message::Batch(batch(&mut input, sender)?),
            KIND_FINISH => Message::Finish(finish(&mut input, sender)?),
            KIND_QUESTION => Message::Question(Question { sender }),
            other => return Err(DecodeError::Kind(other)),
        };
        if !input.rest.is_empty() {
            return Err(DecodeError::Trailing(input.rest.len()));
        }
        Ok(message)
    }
}

fn batch(input: &mut Input<'_>, sender: Sender) -> Result<Batch, DecodeError> {
    let refusals = refusals(input)?;
    let series_count = input.count("series", 4)?;
    let mut series = Vec::with_capacity(series_count);
    for _ in 0..series_count {
        let name = input.bytes("series name", usize::MAX)?.to_vec();
        let format = input.text("series format", TEXT_BYTES_MAX)?;
        let unit = input.text("series unit", usize::MAX)?;
        let column_count = input.count("column names", 1)?;
        let columns =
            (0..column_count).map(|_| input.text("column name", usize::MAX)).collect::<Result<_, _>>()?;
        series.push(SeriesEntry { name, format, unit, columns });
    }
    let lane_count = input.count("lanes", 5)?;
    let mut lanes = Vec::with_capacity(lane_count);
    let mut dots_left = BATCH_DOTS_MAX as u64;
    for _ in 0..lane_count {
        let lane = lane(input, &series, dots_left)?;
        dots_left -= lane.dots_len() as u64;
        lanes.push(lane);
    }
    distinct(lanes.iter().map(|lane| lane.lane).collect())?;
    Ok(Batch { sender, series, lanes, refusals })
}

fn finish(input: &mut Input<'_>, sender: Sender) -> Result<Finish, DecodeError> {
    let lane_count = input.count("lanes", 2)?;
    let mut lanes = Vec::with_capacity(lane_count);
    for _ in 0..lane_count {
        lanes.push((input.number_u32("lane")?, input.number("final record number")?));
    }
    distinct(lanes.iter().map(|(lane, _)| *lane).collect())?;
    Ok(Finish { sender, lanes, refusals: refusals(input)? })
}

fn refusals(input: &mut Input<'_>) -> Result<RefusalTotals, DecodeError> {
    let count = input.count("refusals", 2)?;
    // Reasons ascend and take one byte, so there are at most 224.
    let mut totals: Vec<(Reason, u64)> = Vec::with_capacity(count.min(224));
    for _ in 0..count {
        let offset = input.offset();
        let reason = Reason(input.byte("reason")?);
        if !reason.is_refusal() || totals.last().is_some_and(|(before, _)| *before >= reason) {
            let expected = "a refusal, 32 or above, greater than the one before";
            return Err(DecodeError::Reason { found: reason.0, offset, expected });
        }
        totals.push((reason, input.number("total of refusals")?));
    }
    Ok(RefusalTotals(totals))
}

fn lane(input: &mut Input<'_>, entries: &[SeriesEntry], dots_left: u64) -> Result<LaneBatch, DecodeError> {
    let lane = input.number_u32("lane")?;
    let broken = |rule| DecodeError::Records { rule, lane };
    let first = input.number("first record number")?;
    let length = input.number("count of records")?;
    let next = first.checked_add(length).ok_or(broken("they pass 64 bits"))?;

    let loss_count = input.count("losses", 4)?;
    let mut losses = Vec::with_capacity(loss_count);
    let (mut end, mut lost) = (first, 0);
    for _ in 0..loss_count {
        let from = input.number("gap before a loss")?.checked_add(end);
        let missing = input.number("count of lost records")?;
        let until = from.and_then(|from| from.checked_add(missing)).filter(|until| *until <= next);
        let (Some(from), Some(until)) = (from, until) else {
            return Err(broken("a loss reaches past the records of the batch"));
        };
        if missing == 0 {
            return Err(broken("a loss is empty"));
        }
        let offset = input.offset();
        let reason = Reason(input.byte("reason")?);
        if reason.0 == 0 {
            return Err(DecodeError::Reason { found: 0, offset, expected: "1 or above" });
        }
        losses.push(LossRange { first: from, next: until, reason, times: times(input)? });
        end = until;
        lost += missing;
    }

    let dots = length - lost;
    if dots > dots_left {
        return Err(DecodeError::TooManyDots(BATCH_DOTS_MAX as u64 - dots_left + dots));
    }
    let run_count = input.count("runs", 1)?;
    let mut runs = Vec::with_capacity(run_count);
    let mut in_runs = 0;
    for _ in 0..run_count {
        let run = input.number("run of dots")?;
        in_runs += run >> 1;
        if run >> 1 == 0 || in_runs > dots {
            return Err(broken("a run is empty, or runs hold more dots than there are"));
        }
        // Fits: `dots` is at most BATCH_DOTS_MAX.
        runs.push(Run { dots: (run >> 1) as u32, clock: run & 1 == 1 });
    }
    if in_runs != dots {
        return Err(broken("runs hold fewer dots than there are"));
    }

    input.expect_left("dots", dots * DOT_BYTES_MIN)?;
    let dots = dots as usize;
    let mut series = Vec::with_capacity(dots);
    for _ in 0..dots {
        let found = input.number("series of a dot")?;
        if found >= entries.len() as u64 {
            return Err(DecodeError::SeriesIndex { lane, found, series: entries.len() });
        }
        series.push(found as u32);
    }
    let mut times = Vec::with_capacity(dots);
    let mut time = 0_u64;
    for _ in 0..dots {
        time = time.wrapping_add(unzigzag(input.number("time of a dot")?) as u64);
        times.push(time);
    }
    let (words, _) = input.take("values", dots * 8)?.as_chunks::<8>();
    let mut words: Vec<u64> = words.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    let mut rows = Rows::default();
    if !entries.iter().all(SeriesEntry::is_word) {
        for (_, word) in series.iter().zip(&mut words).filter(|(of, _)| !entries[**of as usize].is_word()) {
            *word = rows.push(input.row(*word)?);
        }
    }
    Ok(LaneBatch { lane, first, next, losses, runs, series, times, words, rows })
}

fn times(input: &mut Input<'_>) -> Result<Option<TimeRange>, DecodeError> {
    let offset = input.offset();
    match input.byte("times flag")? {
        0 => Ok(None),
        1 => {
            let from = input.number("start of a span")?;
            let offset = input.offset();
            let length = input.number("length of a span")?;
            let until =
                from.checked_add(length).ok_or(DecodeError::Number { what: "length of a span", offset })?;
            Ok(Some(TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(until))))
        }
        _ => Err(DecodeError::Number { what: "times flag", offset }),
    }
}

fn distinct(mut lanes: Vec<u32>) -> Result<(), DecodeError> {
    lanes.sort_unstable();
    match lanes.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(DecodeError::LaneTwice(pair[0])),
        None => Ok(()),
    }
}

/// What is left of a message; every read is checked against it.
struct Input<'a> {
    rest: &'a [u8],
    /// Bytes of the whole message.
    len: usize,
}

impl<'a> Input<'a> {
    fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    fn expect_left(&self, what: &'static str, expected: u64) -> Result<(), DecodeError> {
        let found = self.rest.len();
        if found as u64 >= expected {
            return Ok(());
        }
        Err(DecodeError::Short { what, offset: self.offset(), expected, found })
    }

    fn take(&mut self, what: &'static str, bytes: usize) -> Result<&'a [u8], DecodeError> {
        self.expect_left(what, bytes as u64)?;
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(self.take(what, 1)?[0])
    }

    #[inline]
    fn number(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        get_varint(&mut self.rest).ok_or_else(|| self.no_number(what))
    }

    #[cold]
    fn no_number(&self, what: &'static str) -> DecodeError {
        let (offset, found) = (self.offset(), self.rest.len());
        match found < 10 && self.rest.iter().all(|byte| byte & 0x80 != 0) {
            true => DecodeError::Short { what, offset, expected: found as u64 + 1, found },
            false => DecodeError::Number { what, offset },
        }
    }

    fn number_u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        let offset = self.offset();
        u32::try_from(self.number(what)?).map_err(|_| DecodeError::Number { what, offset })
    }

    /// A count of entries that take at least `entry_bytes_min` each: never more than can still come.
    fn count(&mut self, what: &'static str, entry_bytes_min: u64) -> Result<usize, DecodeError> {
        let count = self.number(what)?;
        self.expect_left(what, count.saturating_mul(entry_bytes_min))?;
        Ok(count as usize)
    }

    fn bytes(&mut self, what: &'static str, most: usize) -> Result<&'a [u8], DecodeError> {
        let found = self.count(what, 1)?;
        if found > most {
            return Err(DecodeError::TextTooLong { what, found, most });
        }
        self.take(what, found)
    }

    /// A row of that many bytes.
    fn row(&mut self, bytes: u64) -> Result<&'a [u8], DecodeError> {
        self.expect_left("row of a dot", bytes)?;
        self.take("row of a dot", bytes as usize)
    }

    fn text(&mut self, what: &'static str, most: usize) -> Result<String, DecodeError> {
        let bytes = self.bytes(what, most)?;
        let offset = self.offset() - bytes.len();
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(source) => Err(DecodeError::Text { what, offset, source }),
        }
    }
}

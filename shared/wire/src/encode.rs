//! From a message to its bytes.

use dotter_dot::{put_varint, zigzag};

use crate::message::{Batch, Finish, LaneBatch, Message, RefusalTotals, Sender, SeriesEntry};
use crate::{CRC_AT, HEADER_BYTES, KIND_BATCH, KIND_FINISH, KIND_QUESTION, MAGIC, VERSION};

impl Message {
    /// Puts the bytes of this message in place of what `out` holds; its memory is used again.
    ///
    /// A message that breaks a rule of the format gives bytes that [`Message::decode`] refuses.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Message::Batch(batch) => batch.encode(out),
            Message::Finish(finish) => finish.encode(out),
            Message::Question(question) => {
                begin(out, KIND_QUESTION, &question.sender);
                end(out);
            }
        }
    }
}

impl Batch {
    /// As [`Message::encode`], for a batch that is not wrapped in a message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        begin(out, KIND_BATCH, &self.sender);
        put_refusals(out, &self.refusals);
        put_varint(out, self.series.len() as u64);
        for series in &self.series {
            put_text(out, &series.name);
            put_text(out, series.format.as_bytes());
            put_text(out, series.unit.as_bytes());
            put_varint(out, series.columns.len() as u64);
            for column in &series.columns {
                put_text(out, column.as_bytes());
            }
        }
        put_varint(out, self.lanes.len() as u64);
        for lane in &self.lanes {
            put_lane(out, lane, &self.series);
        }
        end(out);
    }
}

impl Finish {
    /// As [`Message::encode`], for a finish that is not wrapped in a message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        begin(out, KIND_FINISH, &self.sender);
        put_varint(out, self.lanes.len() as u64);
        for (lane, next) in &self.lanes {
            put_varint(out, u64::from(*lane));
            put_varint(out, *next);
        }
        put_refusals(out, &self.refusals);
        end(out);
    }
}

fn begin(out: &mut Vec<u8>, kind: u8, sender: &Sender) {
    out.clear();
    out.extend(MAGIC);
    out.extend([VERSION, kind, 0, 0]);
    out.extend([0; 4]);
    out.extend(sender.incarnation.0);
    debug_assert_eq!(out.len(), HEADER_BYTES);
    put_text(out, sender.application.as_bytes());
    put_text(out, sender.broker.as_bytes());
}

fn end(out: &mut [u8]) {
    let crc = checksum(out);
    out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
}

/// CRC-32C of a message of at least [`HEADER_BYTES`], without the four bytes that hold it.
pub(crate) fn checksum(message: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&message[..CRC_AT]), &message[CRC_AT + 4..])
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text);
}

fn put_refusals(out: &mut Vec<u8>, refusals: &RefusalTotals) {
    put_varint(out, refusals.0.len() as u64);
    for (reason, total) in &refusals.0 {
        out.push(reason.0);
        put_varint(out, *total);
    }
}

fn put_lane(out: &mut Vec<u8>, lane: &LaneBatch, series: &[SeriesEntry]) {
    put_varint(out, u64::from(lane.lane));
    put_varint(out, lane.first);
    put_varint(out, lane.next.wrapping_sub(lane.first));
    put_varint(out, lane.losses.len() as u64);
    let mut end = lane.first;
    for loss in &lane.losses {
        put_varint(out, loss.first.wrapping_sub(end));
        put_varint(out, loss.next.wrapping_sub(loss.first));
        out.push(loss.reason.0);
        out.push(u8::from(loss.times.is_some()));
        if let Some(times) = loss.times {
            put_varint(out, times.from.nanos());
            put_varint(out, times.until.nanos().wrapping_sub(times.from.nanos()));
        }
        end = loss.next;
    }
    put_varint(out, lane.runs.len() as u64);
    for run in &lane.runs {
        put_varint(out, u64::from(run.dots) << 1 | u64::from(run.clock));
    }
    // One growth for the whole lane: most dots take a byte of series and five or fewer of time.
    out.reserve(lane.words.len() * 14);
    for series in &lane.series {
        put_varint(out, u64::from(*series));
    }
    let mut before = 0;
    for time in &lane.times {
        put_varint(out, zigzag(time.wrapping_sub(before) as i64));
        before = *time;
    }
    if series.iter().all(SeriesEntry::is_word) {
        out.extend(lane.words.iter().flat_map(|word| word.to_le_bytes()));
        return;
    }
    let is_word = |of: &u32| series.get(*of as usize).is_none_or(SeriesEntry::is_word);
    let dots = || lane.series.iter().zip(&lane.words);
    for (of, word) in dots() {
        let word = if is_word(of) { *word } else { lane.rows.get(*word).len() as u64 };
        out.extend_from_slice(&word.to_le_bytes());
    }
    for (_, word) in dots().filter(|(of, _)| !is_word(of)) {
        out.extend_from_slice(lane.rows.get(*word));
    }
}

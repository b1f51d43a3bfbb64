//! Random writing and polling beside a plain queue.
//!
//! `DOTTER_SEED` repeats a run; a failing run prints its seed.
#![cfg(not(loom))]

mod support;

use std::collections::VecDeque;

use dotter_dot::Reason;
use dotter_ring::{
    COLUMNS_MAX, Clock, Drained, LaneCursor, LaneWriter, Manual, Moved, Pair, RingReader, TEXT_BYTES_MAX,
    Value,
};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use support::{lane, ring, seed};

/// A small fast source of choices.
struct Choices(TestRng);

impl Choices {
    fn new(seed: u64) -> Choices {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Choices(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0.next_u64() % limit
    }
}

/// What was written, one of each kind.
#[derive(Debug)]
enum What {
    F64(f64),
    I64(i64),
    U64(u64),
    F32(f32),
    Text(String),
    Bytes(Vec<u8>),
    Row(Vec<u64>),
}

impl What {
    /// Mostly plain numbers, and of the rest all lengths.
    fn choose(choices: &mut Choices, number: u64) -> What {
        match choices.below(40) {
            0 => What::I64(choices.0.next_u64() as i64),
            1 => What::U64(choices.0.next_u64()),
            2 => What::F32(number as f32),
            5 => What::Bytes((0..choices.below(80)).map(|_| choices.0.next_u64() as u8).collect()),
            3 => What::Row((0..1 + choices.below(COLUMNS_MAX as u64)).map(|cell| cell * number).collect()),
            4 => {
                let most = [9, 80, 1 + TEXT_BYTES_MAX as u64][choices.below(3) as usize];
                let length = choices.below(most);
                What::Text(number.to_string().chars().cycle().take(length as usize).collect())
            }
            _ => What::F64(number as f64),
        }
    }

    fn write(&self, writer: &mut LaneWriter, time: Option<u64>) -> Result<(), Moved> {
        match (self, time) {
            (What::F64(value), None) => writer.dot(0, *value),
            (What::F64(value), Some(time)) => writer.dot_at(0, time, *value),
            (What::I64(value), None) => writer.dot(0, *value),
            (What::I64(value), Some(time)) => writer.dot_at(0, time, *value),
            (What::U64(value), None) => writer.dot(0, *value),
            (What::U64(value), Some(time)) => writer.dot_at(0, time, *value),
            (What::F32(value), None) => writer.dot(0, *value),
            (What::F32(value), Some(time)) => writer.dot_at(0, time, *value),
            (What::Text(text), None) => writer.text(0, text),
            (What::Text(text), Some(time)) => writer.text_at(0, time, text),
            (What::Bytes(bytes), None) => writer.bytes(0, bytes),
            (What::Bytes(bytes), Some(time)) => writer.bytes_at(0, time, bytes),
            (What::Row(cells), None) => writer.row(0, cells),
            (What::Row(cells), Some(time)) => writer.row_at(0, time, cells),
        }
    }

    fn value(&self) -> Value<'_> {
        match self {
            What::F64(value) => Value::F64(*value),
            What::I64(value) => Value::I64(*value),
            What::U64(value) => Value::U64(*value),
            What::F32(value) => Value::F32(*value),
            What::Text(text) => Value::Text(text.as_bytes()),
            What::Bytes(bytes) => Value::Text(bytes),
            What::Row(cells) => Value::Row(cells),
        }
    }
}

/// A record as it was written: its time, or `None` where the clock stamped it.
type Written = (Option<u64>, What);

/// Checks what a cursor gave out against what was written: nothing twice, nothing silently missing.
struct Model {
    written: VecDeque<Written>,
    /// The number of the first in the queue.
    first: u64,
    lost: u64,
}

impl Model {
    fn check(&mut self, out: &Drained) {
        assert_eq!(out.first, self.first);
        let mut losses = out.losses.iter().peekable();
        let mut dots = out.dots.iter();
        while self.first < out.next {
            if let Some(loss) = losses.next_if(|loss| loss.first == self.first) {
                assert!(loss.first < loss.next, "{loss:?}");
                assert_eq!(loss.reason, Reason::LAPPED);
                let times = loss.times.expect("blocks around it say when");
                assert!(times.from <= times.until);
                self.lost += loss.next - loss.first;
                self.written.drain(..(loss.next - loss.first) as usize);
                self.first = loss.next;
                continue;
            }
            let dot = dots.next().expect("every number is a dot or lost");
            let (time, what) = self.written.pop_front().unwrap();
            assert_eq!((out.value(dot), dot.clock, dot.series), (what.value(), time.is_none(), 0));
            if let Some(time) = time {
                assert_eq!(dot.time.nanos(), time);
            }
            self.first += 1;
        }
        assert!(dots.next().is_none());
        assert!(losses.next().is_none());
    }
}

#[test]
fn random_writing_and_polling_agrees_with_a_queue() {
    let mut choices = Choices::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let mut laps = 0;
    for _ in 0..60 {
        let start = Pair { nanos: 1_700_000_000_000_000_000, ticks: 1 << 40 };
        let manual = Manual::new(start, 1_000_000_000);
        let ring = ring(dir.path(), Clock::manual(&manual));
        let mut writer = lane(&ring);
        let mut reader = RingReader::open(ring.path()).unwrap();
        let mut cursor = LaneCursor::start(0);
        let mut model = Model { written: VecDeque::new(), first: 0, lost: 0 };
        let (mut number, mut now) = (0_u64, 0);
        for _ in 0..40 {
            // From a few dots to more than a lane of them.
            let burst = 1 << choices.below(13);
            for _ in 0..choices.below(burst) {
                now += match choices.below(2000) {
                    0 => 1 << 41,
                    1 => 30_000_000,
                    _ => choices.below(1000),
                };
                manual.set(Pair { nanos: start.nanos + now, ticks: start.ticks + now });
                let what = What::choose(&mut choices, number);
                let time = match choices.below(8) {
                    0..4 => None,
                    4 => Some(choices.0.next_u64()),
                    _ => Some(start.nanos + now),
                };
                what.write(&mut writer, time).unwrap();
                model.written.push_back((time, what));
                number += 1;
            }
            let records_max = 1 + choices.below(5000) as usize;
            let mut out = Drained::default();
            let advanced = cursor.drain(&mut reader, records_max, &mut out);
            assert!(out.dots.len() <= records_max);
            assert_eq!(advanced as u64, out.next - out.first);
            model.check(&out);
            if choices.below(6) == 0 {
                cursor = LaneCursor::resume(&reader, 0, cursor.expected());
            }
        }
        let mut out = Drained::default();
        while cursor.drain(&mut reader, usize::MAX, &mut out) > 0 {
            model.check(&out);
            out.clear();
        }
        assert!(model.written.is_empty(), "{} were never given out", model.written.len());
        assert_eq!((cursor.expected(), reader.next_record(0), writer.records()), (number, number, number));
        laps += u64::from(model.lost > 0);
    }
    assert!(laps > 5, "only {laps} runs were lapped");
}

#[test]
fn what_does_not_fit_into_a_block_is_counted_as_too_big_and_nothing_else_changes() {
    let dir = tempfile::tempdir().unwrap();
    let ring = ring(dir.path(), Clock::realtime());
    let mut writer = lane(&ring);
    let text = "x".repeat(TEXT_BYTES_MAX + 1);
    writer.text(0, &text).unwrap();
    writer.text_at(0, 5, &text).unwrap();
    writer.row(0, &[0; COLUMNS_MAX + 1]).unwrap();
    writer.row_at(0, 5, &[]).unwrap();
    // The longest there is, each in a block of its own, whatever its time.
    for time in [5, u64::MAX, 1_700_000_000_000_000_000] {
        writer.text_at(0, time, &text[1..]).unwrap();
    }
    let mut reader = RingReader::open(ring.path()).unwrap();
    assert_eq!((reader.refusals().too_big, reader.next_record(0)), (4, 3));
    let (mut cursor, mut out) = (LaneCursor::start(0), Drained::default());
    cursor.drain(&mut reader, usize::MAX, &mut out);
    assert_eq!(out.dots.len(), 3);
    for (dot, time) in out.dots.iter().zip([5, u64::MAX, 1_700_000_000_000_000_000]) {
        assert_eq!((out.value(dot), dot.time.nanos()), (Value::Text(&text.as_bytes()[1..]), time));
    }
}

#[test]
fn clock_times_are_those_of_the_clock_whatever_the_poll() {
    let dir = tempfile::tempdir().unwrap();
    let start = Pair { nanos: 1_700_000_000_000_000_000, ticks: 1 << 40 };
    // Three ticks in a nanosecond by its word; really a hundred in a million more.
    let manual = Manual::new(start, 3_000_000_000);
    let ring = ring(dir.path(), Clock::manual(&manual));
    let mut writer = lane(&ring);
    let mut expected = Vec::new();
    for number in 0..3000_u64 {
        let nanos = number * 100_000;
        let ticks = nanos * 3 + nanos * 3 / 10_000;
        manual.set(Pair { nanos: start.nanos + nanos, ticks: start.ticks + ticks });
        writer.dot(0, number as f64).unwrap();
        expected.push(start.nanos + nanos);
    }
    let mut reader = RingReader::open(ring.path()).unwrap();
    let (mut cursor, mut out) = (LaneCursor::start(0), Drained::default());
    cursor.drain(&mut reader, usize::MAX, &mut out);
    // The newest block has no pair behind it yet, and this reader's clock is another.
    let settled = out.dots.len() - 252;
    for (dot, expected) in out.dots.iter().zip(expected).take(settled) {
        assert!(dot.time.nanos().abs_diff(expected) <= 2, "{} instead of {expected}", dot.time.nanos());
    }
}

#[test]
fn resuming_finds_every_watermark() {
    let dir = tempfile::tempdir().unwrap();
    let ring = ring(dir.path(), Clock::realtime());
    let mut writer = lane(&ring);
    for number in 0..6000_u64 {
        // Every seventh takes two granules, so blocks differ in their counts.
        let time = if number % 7 == 0 { 5 } else { 1_700_000_000_000_000_000 + number };
        writer.dot_at(0, time, number as f64).unwrap();
    }
    let mut reader = RingReader::open(ring.path()).unwrap();
    let mut out = Drained::default();
    for watermark in (0..=6000).step_by(13).chain([5999, 6000]) {
        out.clear();
        let mut cursor = LaneCursor::resume(&reader, 0, watermark);
        assert_eq!(cursor.expected(), watermark);
        cursor.drain(&mut reader, usize::MAX, &mut out);
        assert_eq!((out.first, out.next), (watermark, 6000));
        let lost: u64 = out.losses.iter().map(|loss| loss.next - loss.first).sum();
        assert_eq!(out.dots.len() as u64 + lost, 6000 - watermark);
        assert!(out.losses.iter().all(|loss| loss.first == watermark && loss.reason == Reason::LAPPED));
        let expected = (watermark + lost..6000).map(|number| number as f64);
        assert!(out.dots.iter().map(|dot| dot.value).eq(expected), "from {watermark}");
    }
    // A lane that ends below the watermark says nothing, until it has grown past it.
    out.clear();
    let mut cursor = LaneCursor::resume(&reader, 0, 6010);
    assert_eq!(cursor.drain(&mut reader, usize::MAX, &mut out), 0);
    for number in 6000..6020_u64 {
        writer.dot_at(0, 1_700_000_000_000_000_000 + number, number as f64).unwrap();
    }
    assert_eq!(cursor.drain(&mut reader, usize::MAX, &mut out), 10);
    assert_eq!((out.dots[0].value, out.losses.len()), (6010.0, 0));
}

#[test]
fn a_live_writer_and_a_reader_on_two_threads_lose_nothing_silently() {
    let dir = tempfile::tempdir().unwrap();
    let ring = ring(dir.path(), Clock::best());
    let mut writer = lane(&ring);
    let mut reader = RingReader::open(ring.path()).unwrap();
    let total = 3_000_000_u64;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..total {
                if number % 2 == 0 {
                    writer.dot(0, number as f64).unwrap();
                } else {
                    writer.dot_at(0, number, number as f64).unwrap();
                }
            }
        });
        let (mut cursor, mut out) = (LaneCursor::start(0), Drained::default());
        let (mut seen, mut lost) = (0, 0);
        while cursor.expected() < total {
            out.clear();
            if cursor.drain(&mut reader, 10_000, &mut out) == 0 {
                std::thread::yield_now();
                continue;
            }
            let mut number = out.first;
            let mut losses = out.losses.iter().peekable();
            for dot in &out.dots {
                while let Some(loss) = losses.next_if(|loss| loss.first == number) {
                    lost += loss.next - loss.first;
                    number = loss.next;
                }
                assert_eq!((dot.value, dot.clock), (number as f64, number % 2 == 0));
                assert!(dot.clock || dot.time.nanos() == number);
                number += 1;
            }
            lost += losses.map(|loss| loss.next - loss.first).sum::<u64>();
            seen += out.dots.len() as u64;
        }
        assert_eq!(seen + lost, total);
        println!("seen {seen}, lost {lost}");
    });
}

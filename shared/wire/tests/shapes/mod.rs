//! Valid messages for tests: one fixed of each kind, and any.

#![allow(dead_code, reason = "not every test file uses every shape")]

use dotter_dot::{Incarnation, Reason, Rows, TimeRange, Timestamp};
use dotter_wire::{
    Batch, Finish, LaneBatch, LossRange, Message, Question, RefusalTotals, Run, Sender, SeriesEntry,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// One of each kind, with every field in use.
pub(crate) fn fixed() -> Vec<(&'static str, Message)> {
    let sender = Sender {
        incarnation: Incarnation(*b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"),
        application: "demo".into(),
        broker: "web1".into(),
    };
    let refusals = RefusalTotals(vec![(Reason::TOO_BIG, 3), (Reason::SIGNAL_HANDLER, 1 << 40)]);
    let start = 1_710_504_000_000_000_000;
    let series = vec![
        SeriesEntry {
            name: b"host.web1.cpu.user".to_vec(),
            format: "F".into(),
            unit: "%".into(),
            columns: vec![],
        },
        SeriesEntry {
            name: b"not a name \xff\n".to_vec(),
            format: "FU".into(),
            unit: "".into(),
            columns: vec!["size".into(), "größe".into()],
        },
    ];
    // An f64 and a u64.
    let row = [f64::MAX.to_bits().to_le_bytes(), 17_u64.to_le_bytes()].concat();
    let mut rows = Rows::default();
    let lanes = vec![
        LaneBatch {
            lane: 3,
            first: 1_000,
            next: 1_012,
            losses: vec![
                LossRange {
                    first: 1_000,
                    next: 1_005,
                    reason: Reason::LAPPED,
                    times: Some(TimeRange::new(
                        Timestamp::from_nanos(start),
                        Timestamp::from_nanos(start + 9),
                    )),
                },
                LossRange { first: 1_007, next: 1_009, reason: Reason::DAMAGE, times: None },
            ],
            runs: vec![Run { dots: 3, clock: true }, Run { dots: 2, clock: false }],
            series: vec![0, 0, 1, 0, 0],
            times: vec![start + 9, start + 21, start + 20, start + 20, 0],
            words: vec![
                0,
                (-1.5_f64).to_bits(),
                rows.push(&row),
                f64::NAN.to_bits(),
                f64::NEG_INFINITY.to_bits(),
            ],
            rows,
        },
        LaneBatch { lane: 0, first: 7, next: 7, ..LaneBatch::default() },
    ];
    vec![
        (
            "batch",
            Message::Batch(Batch { sender: sender.clone(), series, lanes, refusals: refusals.clone() }),
        ),
        (
            "finish",
            Message::Finish(Finish { sender: sender.clone(), lanes: vec![(0, 7), (3, 1_012)], refusals }),
        ),
        ("question", Message::Question(Question { sender })),
    ]
}

/// Any valid message.
pub(crate) fn message() -> impl Strategy<Value = Message> {
    let finish = (sender(), vec(any::<u64>(), 0..5), refusals()).prop_map(|(sender, nexts, refusals)| {
        let lanes = nexts.into_iter().enumerate().map(|(lane, next)| (lane as u32, next)).collect();
        Message::Finish(Finish { sender, lanes, refusals })
    });
    prop_oneof![
        4 => batch().prop_map(Message::Batch),
        1 => finish,
        1 => sender().prop_map(|sender| Message::Question(Question { sender })),
    ]
}

fn sender() -> impl Strategy<Value = Sender> {
    (any::<[u8; 16]>(), "[a-zä.]{0,20}", "\\PC{0,10}").prop_map(|(incarnation, application, broker)| Sender {
        incarnation: Incarnation(incarnation),
        application,
        broker,
    })
}

fn refusals() -> impl Strategy<Value = RefusalTotals> {
    proptest::collection::btree_map(32_u8.., any::<u64>(), 0..5)
        .prop_map(|totals| RefusalTotals(totals.into_iter().map(|(code, n)| (Reason(code), n)).collect()))
}

fn batch() -> impl Strategy<Value = Batch> {
    let entry = (vec(any::<u8>(), 0..20), "[fFuU]{1,4}", "\\PC{0,5}", vec("\\PC{0,5}", 0..3))
        .prop_map(|(name, format, unit, columns)| SeriesEntry { name, format, unit, columns });
    (sender(), vec(entry, 1..5), refusals()).prop_flat_map(|(sender, mut series, refusals)| {
        for (index, entry) in series.iter_mut().enumerate() {
            // One letter alone tells a word from a row; of several letters any row will do.
            entry.format.truncate(if is_word(index as u32) { 1 } else { index % 3 * 2 });
            if !is_word(index as u32) {
                entry.format.push(if index % 4 == 1 { 's' } else { 'b' });
            }
        }
        let lanes = vec(lane(series.len() as u32), 0..4);
        lanes.prop_map(move |mut lanes| {
            for (index, lane) in lanes.iter_mut().enumerate() {
                lane.lane = (index as u32).wrapping_mul(0x9e37_79b1);
            }
            Batch { sender: sender.clone(), series: series.clone(), lanes, refusals: refusals.clone() }
        })
    })
}

/// Whether the series of that index holds one number: in these shapes every second one does.
pub(crate) fn is_word(series: u32) -> bool {
    series.is_multiple_of(2)
}

/// What stands at the next record numbers of a lane.
#[derive(Clone, Debug)]
enum Piece {
    Dots(bool, Vec<(u32, u64, u64, Vec<u8>)>),
    Loss(u64, u8, Option<(u64, u64)>),
}

/// Any valid lane, with dots of `series_count` series.
pub(crate) fn lane(series_count: u32) -> impl Strategy<Value = LaneBatch> {
    let dot = (0..series_count, any::<u64>(), any::<u64>(), vec(any::<u8>(), 0..20));
    let times = proptest::option::of((any::<u32>(), any::<u32>()));
    let piece = prop_oneof![
        (any::<bool>(), vec(dot, 1..20)).prop_map(|(clock, dots)| Piece::Dots(clock, dots)),
        (1_u64..50, 1_u8.., times).prop_map(|(records, reason, times)| {
            Piece::Loss(records, reason, times.map(|(from, length)| (from.into(), length.into())))
        }),
    ];
    (0..u64::MAX - 10_000, vec(piece, 0..8)).prop_map(|(first, pieces)| {
        let mut lane = LaneBatch { first, next: first, ..LaneBatch::default() };
        for piece in pieces {
            match piece {
                Piece::Dots(clock, dots) => {
                    lane.next += dots.len() as u64;
                    lane.runs.push(Run { dots: dots.len() as u32, clock });
                    for (series, time, word, row) in dots {
                        lane.series.push(series);
                        lane.times.push(time);
                        lane.words.push(if is_word(series) { word } else { lane.rows.push(&row) });
                    }
                }
                Piece::Loss(records, reason, times) => {
                    let first = lane.next;
                    lane.next += records;
                    let times = times.map(|(from, length)| {
                        TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(from + length))
                    });
                    lane.losses.push(LossRange { first, next: lane.next, reason: Reason(reason), times });
                }
            }
        }
        lane
    })
}

/// Equal to the bit, NaN included.
pub(crate) fn assert_same(found: &Message, expected: &Message) {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    found.encode(&mut left);
    expected.encode(&mut right);
    assert_eq!(left, right);
    // Debug shows every field, and every NaN alike; the bytes above tell those apart.
    assert_eq!(format!("{found:?}"), format!("{expected:?}"));
}

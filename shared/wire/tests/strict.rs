//! What is no message is refused with its reason, and nothing ever panics.

mod shapes;

use dotter_dot::{Incarnation, Reason, Rows, put_varint};
use dotter_wire::{BATCH_BYTES_MAX, BATCH_DOTS_MAX, Batch, DecodeError, Finish, LaneBatch, LossRange};
use dotter_wire::{Message, RefusalTotals, Run, Sender, SeriesEntry};
use proptest::prelude::*;

fn bytes_of(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

/// `bytes` with a checksum that matches.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..8]), &bytes[12..]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// A batch of one series, made invalid by `change`, must be refused with `words`.
fn check(words: &str, change: impl FnOnce(&mut Batch)) {
    let lane = LaneBatch {
        first: 10,
        next: 16,
        losses: vec![LossRange { first: 11, next: 13, reason: Reason::LAPPED, times: None }],
        runs: vec![Run { dots: 4, clock: true }],
        series: vec![0; 4],
        times: vec![1; 4],
        words: vec![1.0_f64.to_bits(); 4],
        ..LaneBatch::default()
    };
    let mut batch = Batch {
        series: vec![SeriesEntry { name: b"a".to_vec(), format: "F".into(), ..SeriesEntry::default() }],
        lanes: vec![lane],
        ..Batch::default()
    };
    assert!(Message::decode(&bytes_of(&Message::Batch(batch.clone()))).is_ok());
    change(&mut batch);
    let error = Message::decode(&bytes_of(&Message::Batch(batch))).unwrap_err().to_string();
    assert!(error.contains(words), "{words}: {error}");
}

#[test]
fn record_numbers_must_fit_together() {
    let loss = |first, next| LossRange { first, next, reason: Reason::LAPPED, times: None };
    check("runs hold fewer", |batch| batch.lanes[0].next = 17);
    check("runs hold more", |batch| batch.lanes[0].next = 15);
    check("pass 64 bits", |batch| batch.lanes[0].next = 9);
    check("reaches past", |batch| batch.lanes[0].losses[0].next = 17);
    check("reaches past", |batch| batch.lanes[0].losses[0].first = 9);
    check("reaches past", |batch| batch.lanes[0].losses[0].next = 10);
    check("a loss is empty", |batch| batch.lanes[0].losses[0].next = 11);
    check("reaches past", |batch| batch.lanes[0].losses = vec![loss(12, 13), loss(11, 12)]);
    check("a run is empty", |batch| batch.lanes[0].runs.push(Run { dots: 0, clock: true }));
    check("runs hold more", |batch| batch.lanes[0].runs.push(Run { dots: u32::MAX, clock: true }));
    check("series 1, the batch has 1", |batch| batch.lanes[0].series[2] = 1);
    check("reason 0", |batch| batch.lanes[0].losses[0].reason = Reason(0));
    check("reason 1 at", |batch| batch.refusals = RefusalTotals(vec![(Reason::LAPPED, 1)]));
    check("reason 33 at", |batch| {
        batch.refusals = RefusalTotals(vec![(Reason::NAME, 1), (Reason::NAME, 2)]);
    });
    check("lane 0 is there twice", |batch| batch.lanes.push(LaneBatch::default()));
    check("application has 256", |batch| batch.sender.application = "x".repeat(256));
    check("32769 dots", |batch| {
        let lane = &mut batch.lanes[0];
        let dots = BATCH_DOTS_MAX + 1;
        lane.losses.clear();
        lane.next = lane.first + dots as u64;
        lane.runs = vec![Run { dots: dots as u32, clock: false }];
        lane.series = vec![0; dots];
        lane.times = vec![0; dots];
        lane.words = vec![0; dots];
    });
}

#[test]
fn a_row_must_be_there_whole() {
    let mut rows = Rows::default();
    let words = vec![rows.push(b"\x05hello"), rows.push(b""), rows.push(b"\x01x"), rows.push(b"\x00")];
    let texts = |batch: &mut Batch| {
        batch.series[0].format = "s".into();
        batch.lanes[0].words.clone_from(&words);
        batch.lanes[0].rows.clone_from(&rows);
    };
    let mut batch = None;
    check("a loss is empty", |changed| {
        texts(changed);
        batch = Some(changed.clone());
        changed.lanes[0].losses[0].next = 11;
    });
    let good = bytes_of(&Message::Batch(batch.unwrap()));
    let Ok(Message::Batch(back)) = Message::decode(&good) else { panic!("no batch") };
    let row = |index: usize| back.lanes[0].rows.get(back.lanes[0].words[index]);
    assert_eq!([row(0), row(1), row(2), row(3)], [&b"\x05hello"[..], b"", b"\x01x", b"\x00"]);
    // The first dot's word stands four words and nine bytes of rows before the end.
    let at = good.len() - 9 - 4 * 8;
    for length in [7, 10, u64::from(u32::MAX), u64::MAX] {
        let mut bytes = good.clone();
        bytes[at..at + 8].copy_from_slice(&length.to_le_bytes());
        let error = Message::decode(&sealed(bytes)).unwrap_err();
        assert!(matches!(error, DecodeError::Short { .. }), "{length}: {error}");
    }
    let mut bytes = good.clone();
    bytes[at] = 5;
    assert!(matches!(Message::decode(&sealed(bytes)), Err(DecodeError::Trailing(1))));
}

#[test]
fn the_dots_of_all_lanes_together_are_bounded() {
    let lane = |lane, dots: usize| LaneBatch {
        lane,
        next: dots as u64,
        runs: vec![Run { dots: dots as u32, clock: false }],
        series: vec![0; dots],
        times: vec![0; dots],
        words: vec![0; dots],
        ..LaneBatch::default()
    };
    let mut batch = Batch { series: vec![SeriesEntry::default()], ..Batch::default() };
    batch.lanes = vec![lane(0, BATCH_DOTS_MAX - 1), lane(1, 1)];
    assert!(Message::decode(&bytes_of(&Message::Batch(batch.clone()))).is_ok());
    batch.lanes.push(lane(2, 1));
    let error = Message::decode(&bytes_of(&Message::Batch(batch))).unwrap_err();
    assert!(matches!(error, DecodeError::TooManyDots(32_769)), "{error}");
}

#[test]
fn an_unknown_header_is_named() {
    let good = bytes_of(&Message::Question(Default::default()));
    let check = |at: usize, value: u8, words: &str| {
        let mut bytes = good.clone();
        bytes[at] = value;
        let error = Message::decode(&sealed(bytes)).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    };
    check(0, b'X', "begins with 'XOTW', expected 'DOTW'");
    check(4, 9, "format version 9, this build reads 0");
    check(5, 4, "message kind 4");
    check(6, 0x80, "flags 0x80");
    check(7, 1, "compression 1");
    let mut bytes = good.clone();
    bytes[20] ^= 1;
    assert!(matches!(Message::decode(&bytes), Err(DecodeError::Checksum { .. })));
    bytes = good.clone();
    bytes.push(0);
    assert!(matches!(Message::decode(&sealed(bytes)), Err(DecodeError::Trailing(1))));
    assert!(matches!(Message::decode(&vec![0; BATCH_BYTES_MAX + 1]), Err(DecodeError::TooLong(_))));
}

#[test]
fn every_prefix_is_refused() {
    for (name, message) in shapes::fixed() {
        let bytes = bytes_of(&message);
        for len in 0..bytes.len() {
            assert!(Message::decode(&bytes[..len]).is_err(), "{name} cut to {len}");
            if len >= 28 {
                let error = Message::decode(&sealed(bytes[..len].to_vec())).unwrap_err();
                assert!(matches!(error, DecodeError::Short { .. }), "{name} cut to {len}: {error}");
            }
        }
    }
}

#[test]
fn a_count_beyond_the_bytes_left_takes_no_memory() {
    let sender = Sender { incarnation: Incarnation([1; 16]), ..Sender::default() };
    let head = bytes_of(&Message::Finish(Finish { sender, ..Finish::default() }));
    let head = &head[..30];
    for kind in [1, 2] {
        for zeros in 0..4 {
            for count in [100, u64::from(u32::MAX), 1 << 60, u64::MAX] {
                let mut bytes = head.to_vec();
                bytes[5] = kind;
                bytes.extend(std::iter::repeat_n(0, zeros));
                put_varint(&mut bytes, count);
                assert!(Message::decode(&sealed(bytes)).is_err());
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(message in shapes::message()) {
        shapes::assert_same(&Message::decode(&bytes_of(&message)).unwrap(), &message);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 1_u8..4) {
        let _ = Message::decode(&bytes);
        let mut behind_a_header = bytes_of(&Message::Question(Default::default()));
        behind_a_header[5] = kind;
        behind_a_header.extend(&bytes);
        let _ = Message::decode(&sealed(behind_a_header));
    }

    #[test]
    fn a_mutated_message_is_refused_or_round_trips(
        message in shapes::message(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let good = bytes_of(&message);
        let mut bytes = good.clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if bytes != good {
            // One wrong byte, or several: CRC-32C catches what so few can do.
            prop_assert!(Message::decode(&bytes).is_err());
        }
        if let Ok(decoded) = Message::decode(&sealed(bytes)) {
            shapes::assert_same(&Message::decode(&bytes_of(&decoded)).unwrap(), &decoded);
        }
    }
}

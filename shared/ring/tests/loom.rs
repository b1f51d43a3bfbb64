//! The lane protocol under a model checker that tries every order the memory model allows.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p dotter-ring --test loom --release`. What runs is the code
//! of the ring itself, on blocks of one record. Each sabotage takes one ordering away and must be caught,
//! else the checker would prove nothing.
#![cfg(loom)]

use std::ops::Deref;

use dotter_ring::protocol::{Lane, Position, Shape, Torn, Writer};
use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;

const BLOCK: u64 = 32;
const LANE_BLOCKS: u64 = 2;

macro_rules! shape {
    ($name:ident $(, $broken:ident)?) => {
        struct $name;
        impl Shape for $name {
            const BLOCK_BYTES: u64 = BLOCK;
            const HEAD_WORDS: usize = 2;
            $(const $broken: bool = false;)?
        }
    };
}

shape!(Sound);
shape!(NoReleaseFence, RELEASE_FENCE);
shape!(NoAcquireFence, ACQUIRE_FENCE);
shape!(ClaimAfterData, CLAIM_FIRST);
shape!(NoRevalidation, REVALIDATE);

/// The words of a lane and of its control, in one allocation both sides share.
struct Words {
    control: Vec<AtomicU64>,
    data: Vec<AtomicU64>,
}

/// One of the two parts.
struct Part(Arc<Words>, fn(&Words) -> &[AtomicU64]);

impl Deref for Part {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        self.1(&self.0)
    }
}

/// Record `number` is the words `number + 1`, `number + 100`; its block's head is `number`, `number`.
fn write<S: Shape>(words: Arc<Words>, records: u64) {
    let part = |part| Part(Arc::clone(&words), part);
    let (control, data) = (part(|words| &words.control), part(|words| &words.data));
    let mut writer = Writer::<_, S>::new(control, data, Position::default());
    for number in 0..records {
        writer.open_block(u64::MAX, &[number, number]);
        writer.put([number + 1, number + 100]);
    }
}

/// What a reader knows.
#[derive(Default)]
struct Seen {
    position: u64,
    read: u64,
    lost: u64,
}

/// One pass, checking every word against what was written there.
fn poll<S: Shape>(words: &Words, seen: &mut Seen) {
    let lane = Lane::<S>::new(&words.control, &words.data);
    let head = lane.head();
    let mut copy = [0; BLOCK as usize / 8];
    while seen.position < head {
        let block = seen.position;
        match lane.copy(block, block, block + BLOCK, head, &mut copy) {
            Ok(()) => {
                let number = block / BLOCK;
                assert_eq!(copy, [number, number, number + 1, number + 100], "torn or stale");
                seen.read += 1;
                seen.position += BLOCK;
            }
            Err(Torn::Lapped(claim)) => {
                let next = lane.after_lap(claim);
                assert!(next > block, "progress is strict");
                seen.lost += (next - block) / BLOCK;
                seen.position = next;
            }
            Err(Torn::Nonsense) => panic!("claim is behind head"),
        }
    }
}

fn check<S: Shape + 'static>(records: u64) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(4);
    model.check(move || {
        let zeros = |count: u64| (0..count).map(|_| AtomicU64::new(0)).collect();
        let words = Arc::new(Words { control: zeros(2), data: zeros(LANE_BLOCKS * BLOCK / 8) });
        let writer = {
            let words = Arc::clone(&words);
            thread::spawn(move || write::<S>(words, records))
        };
        let mut seen = Seen::default();
        poll::<S>(&words, &mut seen);
        writer.join().unwrap();
        poll::<S>(&words, &mut seen);
        assert_eq!(seen.read + seen.lost, records, "every record is read or counted");
    });
}

#[test]
fn a_reader_never_believes_a_torn_record() {
    check::<Sound>(5);
}

#[test]
#[should_panic(expected = "torn or stale")]
fn without_the_release_fence_it_is_noticed() {
    check::<NoReleaseFence>(5);
}

#[test]
#[should_panic(expected = "torn or stale")]
fn without_the_acquire_fence_it_is_noticed() {
    check::<NoAcquireFence>(5);
}

#[test]
#[should_panic(expected = "torn or stale")]
fn with_the_claim_after_the_data_it_is_noticed() {
    check::<ClaimAfterData>(5);
}

#[test]
#[should_panic(expected = "torn or stale")]
fn without_revalidation_it_is_noticed() {
    check::<NoRevalidation>(5);
}

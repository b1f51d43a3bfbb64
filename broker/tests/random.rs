//! Random publishing, random failures, random restarts of both ends, forced laps: every record is stored once or
//! counted as lost. A failure names its seed; `DOTTER_SEED` takes it back.

mod support;

use std::hash::{BuildHasher as _, RandomState};

use dotter_publisher::{Lane, Publisher, Series};
use support::collector::{Collector, Trick};
use support::{Broker, once};

/// Source: the SplitMix64 generator of Steele, Lea and Flood.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % most
    }
}

const TRICKS: [Trick; 14] = [
    Trick::Html,
    Trick::Redirect,
    Trick::HalfAnswer,
    Trick::NoContent,
    Trick::EndlessHeaders,
    Trick::OtherRing,
    Trick::ShortBody,
    Trick::Status(500, 0),
    Trick::Status(503, 0),
    Trick::Status(413, 0),
    Trick::Reset,
    Trick::AckLost,
    Trick::AckLost,
    Trick::AckLost,
];

#[test]
fn whatever_happens_every_record_is_stored_once_or_counted_as_lost() {
    let seed = match std::env::var("DOTTER_SEED") {
        Ok(seed) => seed.parse().expect("DOTTER_SEED is a number"),
        Err(_) => RandomState::new().hash_one(0),
    };
    println!("DOTTER_SEED={seed}");
    let mut chance = Chance(seed);
    let directory = tempfile::tempdir().unwrap();
    let mut collector = Collector::start();
    let url = collector.url();
    let publisher = Publisher::create(directory.path(), 4_032).unwrap();
    let series: Vec<Series> =
        (0..20).map(|n| publisher.series(&format!("random.{n}.{}", "x".repeat(n * 50))).unwrap()).collect();
    let mut lanes: Vec<(Lane, u64)> = (0..3).map(|_| (publisher.lane().unwrap(), 0)).collect();
    let mut broker = Some(Broker::start(directory.path(), &url));
    for _ in 0..400 {
        match chance.below(20) {
            0..10 => {
                let (lane, published) = &mut lanes[chance.below(3) as usize];
                // Now and then more than the ring holds.
                let dots = if chance.below(20) == 0 { 10_000 } else { chance.below(500) };
                for _ in 0..dots {
                    lane.dot(&series[(*published % 20) as usize], *published as f64);
                    *published += 1;
                }
            }
            10..16 => collector.trick(&[TRICKS[chance.below(TRICKS.len() as u64) as usize]]),
            16 => {
                let away = collector.go_away();
                std::thread::sleep(std::time::Duration::from_millis(chance.below(20)));
                collector = away.come_back();
            }
            17 if broker.is_none() => broker = Some(Broker::start(directory.path(), &url)),
            17 => {
                // What is under way is abandoned, as by a kill.
                collector.trick(&[Trick::AckLost]);
                collector.state().tricks.clear();
                broker = None;
            }
            _ => std::thread::sleep(std::time::Duration::from_millis(chance.below(10))),
        }
    }
    drop(broker);
    collector.state().tricks.clear();
    once(directory.path(), &url);
    let ring = collector.only_ring();
    let mut lost = 0;
    for (lane, (_, published)) in lanes.iter().enumerate() {
        lost += ring.check_lane(lane as u32, *published, |record| record as f64);
        for dot in &ring.lanes[&(lane as u32)].dots {
            assert!(dot.name.starts_with(format!("random.{}.", dot.record % 20).as_bytes()));
        }
    }
    println!("{} stored, {lost} lost, {} posts", collector.stored(), collector.state().posts);
    assert_eq!(collector.state().complaints, Vec::<String>::new());
}

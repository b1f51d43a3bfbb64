//! What the tests of this crate share: a ring of one series, and a seed.

use std::path::Path;

use dotter_dot::SeriesName;
use dotter_ring::directory::Place;
use dotter_ring::{Clock, Identity, LANE_BYTES_MIN, LaneWriter, Ring, RingOptions, SlowPath};

/// The seed to use, printed where the test fails.
pub(crate) fn seed() -> u64 {
    let seed = match std::env::var("DOTTER_SEED") {
        Ok(text) => text.parse().expect("DOTTER_SEED is a number"),
        Err(_) => std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos() as u64,
    };
    println!("DOTTER_SEED={seed}");
    seed
}

pub(crate) fn ring(dir: &Path, clock: Clock) -> Ring {
    let inside = SlowPath::enter().unwrap();
    let options = RingOptions {
        lane_bytes: LANE_BYTES_MIN,
        lanes_max: 2,
        registry_bytes: 4096,
        clock,
        ..RingOptions::new("model")
    };
    let place = Place::Directory(dir.to_owned());
    let ring = Ring::create(&inside, &options, Identity::of_this_process().unwrap(), &place, false).unwrap();
    ring.series(&inside, &SeriesName::new("a").unwrap(), "").unwrap();
    ring
}

pub(crate) fn lane(ring: &Ring) -> LaneWriter {
    ring.take(&SlowPath::enter().unwrap()).unwrap()
}

//! Stamps from all over time in one merge with those of now.

mod support;

use dotter_dot::{SeriesName, Timestamp};
use support::Random;
use support::made::{HOUR, MINUTE, Made, START, rule};

#[test]
fn dots_merged_with_wild_stamps_go_when_their_rule_says() {
    let mut random = Random::from_env();
    let mut made = Made::new(&rule("%", "raw:2h"));
    let good = |made: &Made, hour: u64| {
        made.add("good", (0..60).map(|minute| (START + hour * HOUR + minute * MINUTE, 1.0)));
    };
    good(&made, 0);
    made.live(HOUR);
    let wild = SeriesName::new("wild").unwrap();
    for _ in 0..8 {
        // More windows than a merge has segments.
        let from = START * 1_000_000_000;
        let mut dot = || (wild.clone(), Timestamp::from_nanos(from + random.below(u64::MAX - from)), 2.0);
        dotter_store::add(made.dir(), (0..40).map(|_| dot()).collect::<Vec<_>>()).unwrap();
    }
    good(&made, 1);
    made.compact();
    good(&made, 40);
    let times = |made: &Made| (made.times("good").len(), made.times("good")[0]);
    assert_eq!(times(&made), (180, START));
    made.live(40 * HOUR);
    assert_eq!(times(&made), (60, START + 40 * HOUR), "thirty-eight hours after they should have gone");
    made.check();
}

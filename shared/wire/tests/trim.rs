//! `LaneBatch::trim_below` beside a model that is too simple to be wrong: a list of record numbers.

mod shapes;

use dotter_dot::Reason;
use dotter_wire::LaneBatch;
use proptest::prelude::*;

/// What one record number stands for.
#[derive(Debug, PartialEq)]
enum Record {
    Dot { clock: bool, series: u32, time: u64, value: Result<u64, Vec<u8>> },
    Lost { reason: Reason },
}

/// Every record of a lane, one by one.
fn records(lane: &LaneBatch) -> Vec<(u64, Record)> {
    let mut flags = lane.runs.iter().flat_map(|run| std::iter::repeat_n(run.clock, run.dots as usize));
    let mut dots = lane.series.iter().zip(&lane.times).zip(&lane.words);
    let mut losses = lane.losses.iter().peekable();
    let mut records = Vec::new();
    for number in lane.first..lane.next {
        while losses.next_if(|loss| loss.next <= number).is_some() {}
        let record = match losses.peek().filter(|loss| loss.first <= number) {
            Some(loss) => Record::Lost { reason: loss.reason },
            None => {
                let ((series, time), word) = dots.next().unwrap();
                let value =
                    if shapes::is_word(*series) { Ok(*word) } else { Err(lane.rows.get(*word).to_vec()) };
                Record::Dot { clock: flags.next().unwrap(), series: *series, time: *time, value }
            }
        };
        records.push((number, record));
    }
    assert!(dots.next().is_none() && flags.next().is_none(), "dots that no record number stands for");
    records
}

proptest! {
    #[test]
    fn trimming_cuts_off_exactly_what_is_below(lane in shapes::lane(3), below in -3_i64..400) {
        let watermark = lane.first.saturating_add_signed(below);
        let mut expected = records(&lane);
        expected.retain(|(number, _)| *number >= watermark);
        let mut trimmed = lane.clone();
        trimmed.trim_below(watermark);
        prop_assert_eq!(trimmed.next, lane.next);
        prop_assert_eq!(trimmed.first, watermark.clamp(lane.first, lane.next));
        prop_assert_eq!(trimmed.dots_len() as u64 + trimmed.lost(), trimmed.next - trimmed.first);
        prop_assert_eq!(records(&trimmed), expected);
        let known = |times| lane.losses.iter().any(|loss| loss.times == times);
        prop_assert!(trimmed.losses.iter().all(|loss| known(loss.times)));
    }
}

//! Brokers' messages: stored once, or what is wanted instead, or refused and booked.

mod support;

use std::collections::BTreeMap;

use dotter_dot::{Incarnation, Reason};
use dotter_store::Snapshot;
use dotter_wire::{Batch, Message, RefusalTotals};
use support::random::Random;
use support::*;

const RING: Incarnation = Incarnation([7; 16]);

/// Every record of `[0, next)` of `lane` stands in the store once, under its series, with its time and its value.
#[track_caller]
fn check_lane(snapshot: &Snapshot, prefix: &str, lane: u32, next: u64, series: u64) {
    let mut found = BTreeMap::new();
    for number in 0..series {
        for (time, value) in dots(snapshot, &format!("{prefix}.{number}")) {
            let record = (value - value_of(lane, 0)) as u64;
            if value < value_of(lane, 0) || record >= 1 << 32 {
                continue;
            }
            assert_eq!(
                (time, u64::from(series_of(record, series))),
                (time_of(lane, record), number),
                "record {record}"
            );
            *found.entry(record).or_insert(0) += 1;
        }
    }
    let expected: BTreeMap<u64, i32> = (0..next).map(|record| (record, 1)).collect();
    assert_eq!(found, expected, "lane {lane}");
}

/// Shows P10.
#[test]
fn a_batch_is_stored_once_however_often_it_comes_and_however_it_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let post = |first, next| {
        let message = batch(RING, series("s", 3), vec![lane(2, first, next, 3)]);
        let (status, answer) = collector.send(&message).unwrap();
        (status, answer.lanes)
    };
    assert_eq!(post(0, 10), (200, vec![(2, 10)]));
    assert_eq!(post(0, 10), (200, vec![(2, 10)]), "the same again");
    assert_eq!(post(5, 15), (200, vec![(2, 15)]), "the first half is known");
    assert_eq!(post(3, 12), (200, vec![(2, 15)]), "all of it is known");
    assert_eq!(post(15, 16), (200, vec![(2, 16)]));
    let snapshot = snapshot(dir.path());
    check_lane(&snapshot, "s", 2, 16, 3);
    assert_eq!(account(&snapshot, RING).stored(), 16);
    assert_eq!(collector.metric("dots_total"), 16.0);
}

#[test]
fn a_batch_above_the_watermark_stores_nothing_and_is_told_what_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let post = |lanes| collector.send(&batch(RING, series("s", 2), lanes)).unwrap();
    let (status, _) = post(vec![lane(0, 0, 5, 2)]);
    assert_eq!(status, 200);
    // The first lane would fit: it is refused together with the second.
    let (status, answer) = post(vec![lane(0, 5, 9, 2), lane(1, 4, 6, 2), lane(3, 0, 0, 2)]);
    assert_eq!((status, answer.lanes), (409, vec![(0, 5), (1, 0), (3, 0)]));
    let snapshot = snapshot(dir.path());
    check_lane(&snapshot, "s", 0, 5, 2);
    check_lane(&snapshot, "s", 1, 0, 2);
    assert_eq!(collector.metric("conflicts_total"), 1.0);
    // An unknown ring that begins above 0 is asked for everything it has.
    let other = Incarnation([8; 16]);
    let (status, answer) = collector.send(&batch(other, series("s", 2), vec![lane(0, 1, 2, 2)])).unwrap();
    assert_eq!((status, answer.incarnation, answer.lanes), (409, other, vec![(0, 0)]));
}

#[test]
fn losses_are_booked_with_their_reasons_and_trimmed_like_dots() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut first = lane(0, 0, 10, 1);
    lose(&mut first, 0, 4, Reason::LAPPED);
    collector.send(&batch(RING, series("s", 1), vec![first.clone()])).unwrap();
    // Another broker saw less of the loss, and one more.
    let mut second = lane(0, 2, 20, 1);
    lose(&mut second, 8, 15, Reason::DAMAGE);
    let (status, answer) = collector.send(&batch(RING, series("s", 1), vec![second])).unwrap();
    assert_eq!((status, answer.lanes, answer.refused), (200, vec![(0, 20)], vec![]));
    let account = account(&snapshot(dir.path()), RING);
    assert_eq!((account.published(), account.stored()), (20, 11));
    assert_eq!(account.lost[&Reason::LAPPED].count, 4);
    assert_eq!(account.lost[&Reason::DAMAGE].count, 5, "what was known of it is not lost twice");
    assert_eq!(collector.metric("lost_total{reason=\"damage\"}"), 5.0);
    // Records that the ring's side refused are no losses.
    let mut third = lane(0, 20, 24, 1);
    lose(&mut third, 21, 23, Reason::TOO_BIG);
    let (_, answer) = collector.send(&batch(RING, series("s", 1), vec![third])).unwrap();
    assert_eq!((answer.lanes, answer.refused), (vec![(0, 24)], vec![]));
    let account = support::account(&snapshot(dir.path()), RING);
    assert_eq!((account.refused[&Reason::TOO_BIG], account.lost()), (2, 9));
}

/// Shows P11.
#[test]
fn records_under_bad_names_are_refused_and_block_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let entries = vec![entry(b"good;b=1;a=2"), entry(b"\xff"), entry(b"bad\n")];
    let mut records = lane(1, 0, 9, 3);
    // Records 4 and 5 are missing: the refused ones around them are not neighbours.
    lose(&mut records, 4, 6, Reason::LAPPED);
    let (status, answer) = collector.send(&batch(RING, entries.clone(), vec![records])).unwrap();
    let refused = vec![(1, 1, 3, Reason::NAME), (1, 7, 9, Reason::NAME)];
    assert_eq!((status, answer.lanes, answer.refused), (200, vec![(1, 9)], refused));
    let view = snapshot(dir.path());
    let kept: Vec<u64> =
        dots(&view, "good;a=2;b=1").iter().map(|(_, value)| (value - value_of(1, 0)) as u64).collect();
    assert_eq!(kept, [0, 3, 6]);
    let account = account(&view, RING);
    assert_eq!((account.refused[&Reason::NAME], account.lost(), account.stored()), (4, 2, 3));
    // Repeated, nothing of it is new, and nothing is refused again.
    let (_, answer) = collector.send(&batch(RING, entries, vec![lane(1, 0, 9, 3)])).unwrap();
    assert_eq!((answer.lanes, answer.refused), (vec![(1, 9)], vec![]));
    assert_eq!(support::account(&snapshot(dir.path()), RING).refused(), 4);
}

#[test]
fn a_format_that_is_no_number_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut text = entry(b"log");
    text.format = "s".into();
    // No bytes at all are no text, not even an empty one.
    let mut empty = lane(0, 0, 2, 1);
    empty.words.fill_with(|| empty.rows.push(b""));
    let (_, answer) = collector.send(&batch(RING, vec![text], vec![empty])).unwrap();
    assert_eq!(answer.refused, [(0, 0, 2, Reason::OTHER)]);
}

#[test]
fn one_series_too_many_is_refused_and_the_known_ones_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(dir.path(), &["--graphite", "127.0.0.1:0", "--max-series", "2"]);
    let (status, answer) = collector.send(&batch(RING, series("s", 3), vec![lane(0, 0, 6, 3)])).unwrap();
    let refused = vec![(0, 2, 3, Reason::SERIES_LIMIT), (0, 5, 6, Reason::SERIES_LIMIT)];
    assert_eq!((status, answer.lanes, answer.refused), (200, vec![(0, 6)], refused));
    let account = account(&snapshot(dir.path()), RING);
    assert_eq!((account.stored(), account.refused[&Reason::SERIES_LIMIT]), (4, 2));

    let (status, text) = collector.post_json("[{\"series\": \"s.0\", \"dots\": [[1, 1]]}]");
    assert_eq!(status, 200, "{text}");
    let (status, text) = collector
        .post_json("[{\"series\": \"s.0\", \"dots\": [[2, 1]]}, {\"series\": \"n\", \"dots\": [[1, 1]]}]");
    assert_eq!(status, 422, "{text}");
    assert!(text.contains("--max-series"), "{text}");
    collector.send_lines(b"n 1 5\ns.0 2 6\n");
    until("the known series goes on", || dots(&snapshot(dir.path()), "s.0").contains(&(6_000_000_000, 2.0)));
    assert_eq!(collector.metric("graphite_bad_lines_total{reason=\"series-limit\"}"), 1.0);
    let view = snapshot(dir.path());
    assert!(!view.contains("n") && !view.contains("s.2"));
    assert!(!dots(&view, "s.0").iter().any(|(time, _)| *time == 2_000_000_000), "all of a body or nothing");
}

#[test]
fn series_that_the_store_has_are_taken_however_many_new_ones_came_first() {
    const KNOWN: u64 = 5;
    let dir = tempfile::tempdir().unwrap();
    let all: &[&str] = &["--graphite", "127.0.0.1:0"];
    let few = [all, &["--max-series", "3"]].concat();
    // Of all ways in, into the store by different ways: some sealed, some still in the log, some put there by another.
    let collector = Collector::with(dir.path(), all);
    collector.send(&batch(RING, series("known", KNOWN), vec![lane(0, 0, 10, KNOWN)])).unwrap();
    collector.terminate();
    dotter_store::seal_all(dir.path(), &|| false).unwrap();
    let collector = Collector::with(dir.path(), all);
    collector.send_lines(b"known.line 1 1\n");
    let text = "[{\"series\": \"known.text\", \"format\": \"s\", \"dots\": [[1, \"a\"]]}]";
    assert_eq!(collector.post_json(text).0, 200);
    until("the line is there", || snapshot(dir.path()).contains("known.line"));
    collector.kill();

    let collector = Collector::with(dir.path(), &few);
    let junk = |count| series("junk", count);
    let other = Incarnation([8; 16]);
    let (_, answer) = collector.send(&batch(other, junk(6), vec![lane(0, 0, 6, 6)])).unwrap();
    assert_eq!(answer.refused, [(0, 3, 6, Reason::SERIES_LIMIT)]);
    let (_, answer) =
        collector.send(&batch(RING, series("known", KNOWN), vec![lane(0, 10, 20, KNOWN)])).unwrap();
    assert_eq!((answer.lanes, answer.refused), (vec![(0, 20)], vec![]));
    let line = "[{\"series\": \"known.line\", \"dots\": [[2, 1]]}]";
    assert_eq!(collector.post_json(line).0, 200);
    let text = "[{\"series\": \"known.text\", \"format\": \"s\", \"dots\": [[2, \"b\"]]}]";
    assert_eq!(collector.post_json(text).0, 200);
    // A series may change its shape.
    let number = "[{\"series\": \"known.text\", \"dots\": [[3, 1]]}]";
    assert_eq!(collector.post_json(number).0, 200);
    let (status, text) = collector.post_json("[{\"series\": \"junk.9\", \"dots\": [[1, 1]]}]");
    assert!(status == 422 && text.contains("more new series than the 3"), "{status} {text}");
    let row = |name: &str| (dotter_dot::SeriesName::new(name).unwrap(), dotter_dot::Timestamp::MIN, 1.0);
    dotter_store::add(dir.path(), vec![row("known.beside")]).unwrap();
    collector.send_lines(b"junk.8 1 3\nknown.beside 1 3\nknown.0 1 3\njunk.0 1 3\n");
    until("the lines are there", || dots(&snapshot(dir.path()), "junk.0").len() == 2);
    let view = snapshot(dir.path());
    assert_eq!(dots(&view, "known.beside").len(), 2);
    assert!(dots(&view, "known.0").contains(&(3_000_000_000, 1.0)));
    assert!(!view.contains("junk.8") && !view.contains("junk.9"));
    assert_eq!(view.series_with_prefix("junk.").len(), 3);

    // The same before a restart as after it: what was let in is the store's.
    collector.kill();
    let collector = Collector::with(dir.path(), &few);
    let (_, answer) = collector.send(&batch(other, junk(9), vec![lane(0, 6, 15, 9)])).unwrap();
    assert_eq!(
        answer.refused,
        [(0, 6, 9, Reason::SERIES_LIMIT)],
        "three more are new to the store, three are not"
    );
}

#[test]
fn an_answer_stays_short_however_much_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let lanes: Vec<_> = (0..4).map(|number| lane(number * 1000, 0, 8000, 2)).collect();
    let message = batch(RING, vec![entry(b"good"), entry(b"")], lanes);
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    let (status, text) = collector.post("/data", dotter_wire::CONTENT_TYPE, &bytes);
    assert_eq!(status, 200);
    assert!(text.len() < 256 << 10, "{} bytes", text.len());
    let account = account(&snapshot(dir.path()), RING);
    assert_eq!((account.refused(), account.stored()), (16_000, 16_000), "the ledger has them all");
}

#[test]
fn totals_of_refusals_come_alone_and_the_greatest_counts() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let post = |total| {
        let refusals = RefusalTotals(vec![(Reason::SIGNAL_HANDLER, total)]);
        let message = Message::Batch(Batch { sender: sender(RING), refusals, ..Batch::default() });
        let (status, answer) = collector.send(&message).unwrap();
        assert_eq!((status, answer.lanes), (200, vec![]));
        account(&snapshot(dir.path()), RING).refused_in_ring[&Reason::SIGNAL_HANDLER]
    };
    assert_eq!(post(5), 5);
    assert_eq!(post(9), 9);
    assert_eq!(post(7), 9, "an older broker's word");
    assert_eq!(collector.metric("syncs_total"), 2.0, "what is not new needs no frame");
}

#[test]
fn a_question_is_answered_with_every_lane_known() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let ask = |ring| collector.send(&question(ring)).unwrap();
    let (status, answer) = ask(RING);
    assert_eq!((status, answer.lanes, answer.durable), (200, vec![], true));
    collector.send(&batch(RING, series("s", 1), vec![lane(4, 0, 3, 1), lane(1, 0, 2, 1)])).unwrap();
    assert_eq!(ask(RING).1.lanes, [(1, 2), (4, 3)]);
    assert_eq!(ask(Incarnation([9; 16])).1.lanes, []);
    let store = ask(RING).1.store;
    collector.kill();
    let collector = Collector::start(dir.path());
    let (_, answer) = collector.send(&question(RING)).unwrap();
    assert_eq!((answer.lanes, answer.store), (vec![(1, 2), (4, 3)], store), "the same store after a restart");
}

#[test]
fn a_finish_waits_for_every_record_and_may_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    collector.send(&batch(RING, series("s", 1), vec![lane(0, 0, 3, 1)])).unwrap();
    let (status, answer) = collector.send(&finish(RING, &[(0, 4), (1, 0)])).unwrap();
    assert_eq!((status, answer.lanes), (409, vec![(0, 3), (1, 0)]));
    assert_eq!(account(&snapshot(dir.path()), RING).finished, None);
    let (status, answer) = collector.send(&finish(RING, &[(0, 3), (1, 0)])).unwrap();
    assert_eq!((status, answer.lanes), (200, vec![(0, 3), (1, 0)]));
    let finished = account(&snapshot(dir.path()), RING).finished;
    assert!(finished.is_some());
    assert!(answer.finished, "and it names the lanes");
    let (status, answer) = collector.send(&finish(RING, &[(0, 3), (1, 0)])).unwrap();
    assert_eq!((status, account(&snapshot(dir.path()), RING).finished), (200, finished));
    assert!(answer.is_kept());
    // A ring that never had a dot.
    let (status, answer) = collector.send(&finish(Incarnation([9; 16]), &[])).unwrap();
    assert_eq!((status, answer.lanes), (200, vec![]));
}

/// Shows P10.
#[test]
fn of_a_finished_ring_nothing_is_wanted_and_what_comes_all_the_same_is_counted_and_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let send = |collector: &Collector, message: &Message| {
        let (status, answer) = collector.send(message).unwrap();
        (status, answer.is_kept(), answer.durable)
    };
    let first = batch(RING, series("s", 1), vec![lane(0, 0, 3, 1)]);
    assert_eq!(send(&collector, &first), (200, false, true));
    assert_eq!(send(&collector, &finish(RING, &[(0, 3)])), (200, false, true));
    let mut collector = collector;
    for _ in 0..2 {
        let further = batch(RING, series("s", 1), vec![lane(0, 1, 8, 1), lane(1, 0, 2, 1)]);
        for message in
            [&first, &question(RING), &finish(RING, &[(0, 3)]), &finish(RING, &[(0, 99)]), &further]
        {
            assert_eq!(send(&collector, message), (200, true, true));
        }
        assert_eq!(collector.metric("after_finish_total"), 7.0, "records 3 to 8 of lane 0, and lane 1");
        let snapshot = snapshot(dir.path());
        check_lane(&snapshot, "s", 0, 3, 1);
        let sums: Vec<_> =
            snapshot.ledger().applications().map(|(_, sum)| (sum.rings, sum.published())).collect();
        assert_eq!(sums, [(1, 3)]);
        collector.kill();
        collector = Collector::start(dir.path());
    }
}

#[test]
fn what_is_no_message_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut bytes = Vec::new();
    batch(RING, series("s", 1), vec![lane(0, 0, 3, 1)]).encode(&mut bytes);
    let check = |bytes: &[u8], expected: &str| {
        let (status, text) = collector.post("/data", dotter_wire::CONTENT_TYPE, bytes);
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(expected), "{text}");
    };
    check(b"", "message ends too soon");
    check(b"[[1, 2]]", "begins with");
    check(&bytes[..bytes.len() - 1], "checksum");
    let mut flipped = bytes.clone();
    flipped[40] ^= 1;
    check(&flipped, "checksum");
    let (status, text) = collector.send(&batch(RING, series("s", 1), vec![lane(4096, 0, 3, 1)])).unwrap_err();
    assert_eq!(status, 400);
    assert!(text.contains("lane 4096"), "{text}");
    let (status, _) = collector.send(&finish(RING, &[(u32::MAX, 0)])).unwrap_err();
    assert_eq!(status, 400);
    assert_eq!(snapshot(dir.path()).ledger().iter().count(), 0);
    // Its series are in it.
    let (status, text) = collector.post("/data?series=s", dotter_wire::CONTENT_TYPE, &bytes);
    assert!(status == 400 && text.contains("'series' is not known, expected none"), "{status} {text}");
    // A parameter of the media type changes nothing.
    let (status, _) = collector.post("/data", "Application/vnd.dotter.batch; v=0", &bytes);
    assert_eq!(status, 200);
}

/// Two brokers with cursors of their own post overlapping pieces of four lanes, answers are thrown away now and then,
/// and the collector is killed between posts and while they are under way.
#[test]
fn brokers_that_overlap_and_a_collector_that_dies_store_every_record_once() {
    const LANES: u64 = 4;
    const SERIES: u64 = 5;
    let mut random = Random::new();
    let dir = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(dir.path());
    let mut cursors = [[0_u64; LANES as usize]; 2];
    let mut acked = [0_u64; LANES as usize];
    for _ in 0..150 {
        let broker = random.below(2) as usize;
        let lanes: Vec<_> = (0..LANES as usize)
            .filter(|_| random.below(3) > 0)
            .collect::<Vec<_>>()
            .into_iter()
            .map(|number| {
                let first = cursors[broker][number].saturating_sub(random.below(20));
                lane(number as u32, first, first + random.below(400), SERIES)
            })
            .collect();
        let message = batch(RING, series("r", SERIES), lanes);
        match random.below(12) {
            0 => {
                // Killed while the post is under way: whether it counts, the next answer says.
                let mut bytes = Vec::new();
                message.encode(&mut bytes);
                let target = format!("http://{}/data", collector.http());
                let posting = std::thread::spawn(move || {
                    let _ = ureq::post(target).content_type(dotter_wire::CONTENT_TYPE).send(&bytes[..]);
                });
                std::thread::sleep(std::time::Duration::from_micros(random.below(3000)));
                collector.kill();
                posting.join().unwrap();
                collector = Collector::start(dir.path());
            }
            1 => {
                let _lost = collector.send(&message).unwrap();
            }
            _ => {
                let (_, answer) = collector.send(&message).unwrap();
                for (number, next) in answer.lanes {
                    assert!(next >= acked[number as usize], "what was acknowledged is kept");
                    acked[number as usize] = next;
                    cursors[broker][number as usize] = next;
                }
            }
        }
    }
    let (_, answer) = collector.send(&question(RING)).unwrap();
    let last: Vec<(u32, u64)> = answer.lanes;
    assert!(last.iter().map(|(_, next)| next).sum::<u64>() > 1000, "{last:?}");
    let (status, _) = collector.send(&finish(RING, &last)).unwrap();
    assert_eq!(status, 200);
    let (status, took, said) = collector.terminate();
    assert!(status.success(), "{said}");
    assert!(took.as_secs() < 5);
    let snapshot = snapshot(dir.path());
    for (number, next) in &last {
        assert!(*next >= acked[*number as usize]);
        check_lane(&snapshot, "r", *number, *next, SERIES);
    }
    let account = account(&snapshot, RING);
    assert_eq!((account.published(), account.stored()), (account.stored(), account.published()));
}

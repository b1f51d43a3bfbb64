//! Group commit against a real store: what waits for which sync, and what becomes of it when the log fails.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use dotter_daemon::Log;
use dotter_dot::{Incarnation, Reason, SeriesName, TimeRange};
use dotter_store::Free;
use dotter_wire::{
    Batch, Finish, LaneBatch, LossRange, Message, Question, Run, Sender as Broker, SeriesEntry,
};

use super::*;
use crate::ingest::{Queue, queue};
use crate::metrics::Metrics;
use crate::reserve::{Ask, Reserve};

const RING: Incarnation = Incarnation([3; 16]);

fn commit(dir: PathBuf) -> (Commit, Queue, Sender<()>) {
    commit_with(dir, Box::new(dotter_store::free_room), 0.0)
}

/// - `ask`, `percent`: see [`Reserve::new`]
fn commit_with(dir: PathBuf, ask: Ask, percent: f64) -> (Commit, Queue, Sender<()>) {
    let (queue, jobs) = queue();
    let (seal, _) = bounded(1);
    let (last, last_seen) = bounded(0);
    let (metrics, log) = (Arc::new(Metrics::new()), Log::new("test"));
    let reserve = Reserve::new(&dir, percent, ask, metrics.clone(), log.clone());
    (Commit { dir, series_max: 100, reserve, jobs, last: last_seen, seal, metrics, log }, queue, last)
}

fn sender() -> Broker {
    Broker { incarnation: RING, application: "app".into(), broker: "test".into() }
}

/// Records `[0, next)` of lane 0.
fn batch(next: u64) -> Work {
    let count = next as usize;
    let lane = LaneBatch {
        next,
        runs: (next > 0).then_some(Run { dots: next as u32, clock: true }).into_iter().collect(),
        series: vec![0; count],
        times: (0..next).collect(),
        words: vec![1.0_f64.to_bits(); count],
        ..LaneBatch::default()
    };
    let series = vec![SeriesEntry { name: b"a".to_vec(), format: "F".into(), ..SeriesEntry::default() }];
    let batch = Batch { sender: sender(), series, lanes: vec![lane], ..Batch::default() };
    Work::Message(Message::Batch(batch), vec![SeriesName::new("a")])
}

fn question() -> Work {
    Work::Message(Message::Question(Question { sender: sender() }), Vec::new())
}

/// Posts from another thread, and takes the post off the queue.
fn post(queue: &Queue, with: &Commit, work: Work) -> (Post, JoinHandle<Outcome>) {
    let queue = queue.clone();
    let posting = std::thread::spawn(move || queue.post(work));
    (with.jobs.posts.recv().unwrap(), posting)
}

/// Shows P8.
#[test]
fn what_rests_on_frames_that_are_not_synced_waits_for_their_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (with, queue, _last) = commit(dir.path().to_owned());
    let mut writer = Writer::open(dir.path()).unwrap();
    let mut group = Group::default();
    let mut serving = Serving::new(&with, &mut writer, &mut group);
    let mut posting = Vec::new();
    // A question, while nothing waits to be synced, is answered at once.
    let (first, asking) = post(&queue, &with, question());
    serving.post(first).unwrap();
    assert!(matches!(asking.join().unwrap(), Outcome::Ack(answer) if answer.lanes.is_empty()));
    // The second batch is known in full and needs no frame, and neither does the question.
    for (waiting, work) in [batch(5), batch(5), question()].into_iter().enumerate() {
        let (post, thread) = post(&queue, &with, work);
        serving.post(post).unwrap();
        posting.push(thread);
        assert_eq!(serving.group.waiting.len(), waiting + 1);
        assert!(serving.writer.pending_bytes() > 0);
    }
    assert!(posting.iter().all(|thread| !thread.is_finished()));
    serving.sync().unwrap();
    for thread in posting {
        let Outcome::Ack(answer) = thread.join().unwrap() else { panic!("acknowledged") };
        assert_eq!(answer.lanes, [(0, 5)]);
    }
    assert!(serving.group.waiting.is_empty());
}

#[test]
fn a_sync_does_not_wait_for_all_lines_that_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (with, queue, _last) = commit(dir.path().to_owned());
    let with = Commit { series_max: 1, ..with };
    let mut writer = Writer::open(dir.path()).unwrap();
    let mut group = Group::default();
    let mut serving = Serving::new(&with, &mut writer, &mut group);
    // The one series that there may be.
    let (post, thread) = post(&queue, &with, batch(5));
    serving.post(post).unwrap();
    let refused = || {
        let mut rows = NamedDots::default();
        let series = SeriesName::new("one.too.many").unwrap();
        (0..GROUP_DOTS / 8).for_each(|n| rows.push_number(&series, Timestamp::from_nanos(n), 1.0));
        rows
    };
    // Whoever sends them sends more while they are taken.
    (0..20).for_each(|_| queue.lines(refused(), Duration::ZERO).unwrap());
    serving.sync().unwrap();
    assert_eq!(queue.len().1, 12, "as many are left as would not have fitted into a group");
    assert!(matches!(thread.join().unwrap(), Outcome::Ack(_)));
    assert_eq!(serving.group.lines_len(), 0);
}

#[test]
fn its_own_numbers_are_series_too() {
    let dir = tempfile::tempdir().unwrap();
    let (with, queue, _last) = commit(dir.path().to_owned());
    let mut writer = Writer::open(dir.path()).unwrap();
    let mut group = Group::default();
    let mut serving = Serving::new(&with, &mut writer, &mut group);
    let loss = LossRange { first: 0, next: 4, reason: Reason::LAPPED, times: None };
    let lane = LaneBatch { next: 4, losses: vec![loss], ..LaneBatch::default() };
    let lossy = Message::Batch(Batch { sender: sender(), lanes: vec![lane], ..Batch::default() });
    for work in [batch(0), Work::Message(lossy, Vec::new())] {
        let (post, thread) = post(&queue, &with, work);
        serving.post(post).unwrap();
        serving.sync().unwrap();
        assert!(matches!(thread.join().unwrap(), Outcome::Ack(_)));
    }
    serving.beat();
    serving.sync().unwrap();
    let snapshot = dotter_store::Reader::open(dir.path()).unwrap().snapshot();
    let last = |name: &str| snapshot.last(name, 1).unwrap().first().map(|dot| dot.value);
    assert_eq!(last("dotter.lost.app"), Some(4.0));
    assert_eq!(last("dotter.collector.batches"), Some(1.0), "an empty batch needs no frame");
    assert_eq!(last("dotter.collector.dots"), Some(0.0));
    assert!(last("dotter.collector.sync_seconds").is_some_and(|seconds| seconds > 0.0));
    assert_eq!(last("dotter.collector.series"), Some(0.0));
}

#[test]
fn whoever_waits_when_the_log_fails_is_told_and_lines_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (with, queue, last) = commit(dir.path().to_owned());
    let mut group = Group::default();
    let mut rows = NamedDots::default();
    let series = SeriesName::new("line").unwrap();
    rows.push_number(&series, Timestamp::from_nanos(7), 1.0);
    let thread = {
        let mut writer = Writer::open(dir.path()).unwrap();
        let mut serving = Serving::new(&with, &mut writer, &mut group);
        let (post, thread) = post(&queue, &with, batch(5));
        serving.post(post).unwrap();
        serving.take_lines(rows);
        thread
    };
    group.fail(&NotNow::Failed("the disk is gone".into()));
    let outcome = thread.join().unwrap();
    assert!(matches!(outcome, Outcome::NotNow(NotNow::Failed(_))), "{outcome:?}");
    assert_eq!(group.lines_len(), 1);

    // The next writer is given the line.
    drop(last);
    let mut writer = Writer::open(dir.path()).unwrap();
    Serving::new(&with, &mut writer, &mut group).run().unwrap();
    let snapshot = dotter_store::Reader::open(dir.path()).unwrap().snapshot();
    assert_eq!(snapshot.read("line", TimeRange::ALL).unwrap().len(), 1);
    assert_eq!(group.lines_len(), 0);
}

fn line(name: &str) -> NamedDots {
    let mut rows = NamedDots::default();
    rows.push_number(&SeriesName::new(name).unwrap(), Timestamp::from_nanos(7), 1.0);
    rows
}

/// A store in a file system of 1,000 bytes, of which 100 are the reserve.
#[test]
fn below_the_reserve_nothing_adds_rows_and_above_it_everything_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let told = Arc::new(AtomicU64::new(99));
    let free_bytes = told.clone();
    let ask = move |_: &std::path::Path| Ok(Free { free_bytes: free_bytes.load(Relaxed), all_bytes: 1_000 });
    let (with, queue, _last) = commit_with(dir.path().to_owned(), Box::new(ask), 10.0);
    let mut writer = Writer::open(dir.path()).unwrap();
    let mut group = Group::default();
    let mut serving = Serving::new(&with, &mut writer, &mut group);
    let claim = dotter_store::Claim::make(dir.path()).unwrap();
    let refused = [batch(5), Work::Rows(line("row"), None), Work::Rows(line("row"), Some(claim.name()))];
    for work in refused {
        let (post, thread) = post(&queue, &with, work);
        serving.post(post).unwrap();
        let Outcome::NotNow(why @ NotNow::Reserve(_)) = thread.join().unwrap() else { panic!("refused") };
        let text = why.to_string();
        assert!(text.contains("found 99 bytes (9.9 %) free, expected 100 (10 %)"), "{text}");
        assert!(text.contains("nothing of this request was stored"), "{text}");
    }
    assert!(claim.withdraw().unwrap(), "it was not taken");
    assert_eq!(with.metrics.disk_refused.load(Relaxed), 3);
    // The broker learns what it may forget, and a ring that has ended is let go.
    let ended = Broker { incarnation: dotter_dot::Incarnation([99; 16]), ..sender() };
    let finish = Finish { sender: ended, ..Finish::default() };
    for work in [question(), Work::Message(Message::Finish(finish), Vec::new())] {
        let (post, thread) = post(&queue, &with, work);
        serving.post(post).unwrap();
        serving.sync().unwrap();
        let outcome = thread.join().unwrap();
        assert!(matches!(outcome, Outcome::Ack(_) | Outcome::Conflict(_)), "{outcome:?}");
    }
    // Lines stay where they are, and its own numbers are not written either.
    queue.lines(line("line"), Duration::ZERO).unwrap();
    serving.sync().unwrap();
    serving.beat();
    assert!(matches!(serving.next_step(), Step::Nothing));
    assert_eq!((queue.len().1, serving.group.lines_len()), (1, 0));

    told.store(105, Relaxed);
    with.reserve.forget();
    assert!(matches!(serving.next_step(), Step::Lines(rows) if rows.len() == 1));
    for work in [batch(5), Work::Rows(line("row"), None)] {
        let (post, thread) = post(&queue, &with, work);
        serving.post(post).unwrap();
        serving.sync().unwrap();
        let outcome = thread.join().unwrap();
        assert!(matches!(outcome, Outcome::Ack(_) | Outcome::Stored(1)), "{outcome:?}");
    }
    let snapshot = dotter_store::Reader::open(dir.path()).unwrap().snapshot();
    let count = |name: &str| snapshot.read(name, TimeRange::ALL).unwrap().len();
    assert_eq!((count("a"), count("row"), count("dotter.collector.dots")), (5, 1, 0));
}

#[test]
fn lines_that_were_read_are_written_at_the_end_though_the_disk_is_below_its_reserve() {
    let dir = tempfile::tempdir().unwrap();
    let ask = |_: &std::path::Path| Ok(Free { free_bytes: 0, all_bytes: 1_000 });
    let (with, queue, last) = commit_with(dir.path().to_owned(), Box::new(ask), 10.0);
    queue.lines(line("line"), Duration::ZERO).unwrap();
    drop(last);
    let (mut writer, mut group) = (Writer::open(dir.path()).unwrap(), Group::default());
    Serving::new(&with, &mut writer, &mut group).run().unwrap();
    let snapshot = dotter_store::Reader::open(dir.path()).unwrap().snapshot();
    assert_eq!(snapshot.read("line", TimeRange::ALL).unwrap().len(), 1);
}

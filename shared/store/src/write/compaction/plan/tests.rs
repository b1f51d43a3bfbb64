//! What is chosen to be merged, and what is not.

use super::*;

const DAY: u64 = 86_400_000_000_000;

/// A segment of level 0 whose dots lie in the first hour.
fn mixed(sequence: u64, generation: u64) -> SegmentEntry {
    SegmentEntry {
        name: format!("L0-x-{:016x}", sequence * 1000 + generation),
        bytes: SMALL_BYTES,
        order: Order { sequence, generation },
        last_time: Timestamp::from_nanos(DAY / 24),
        ..SegmentEntry::default()
    }
}

/// A segment of a window of a tier that is kept for so many days, zero for ever.
fn placed(level: u32, sequence: u64, days: u64, day: u64) -> SegmentEntry {
    let tier = Tier { keep: Duration::from_nanos(days * DAY), ..Tier::default() };
    let window = tier.window(Timestamp::from_nanos(day * DAY));
    let (first_time, last_time) = (window.from, window.last());
    let name = format!("L{level}-{days}-{:016x}", (sequence * 1000 + days) * 10_000 + day);
    let place = Some(Place { tier, is_late: false, window, rules: 0 });
    SegmentEntry { name, level, first_time, last_time, place, ..mixed(sequence, 0) }
}

fn list(segments: Vec<SegmentEntry>) -> Manifest {
    Manifest { segments: segments.into(), ..Manifest::default() }
}

/// How many inputs the next merge has, and its level; zeros where there is none.
fn chosen_where(
    manifest: &Manifest,
    first_live: u64,
    damaged: &[&SegmentEntry],
    age: Duration,
) -> (usize, u32) {
    let damaged = damaged.iter().map(|entry| entry.name.clone()).collect();
    let view = View { manifest, first_live, damaged: &damaged, mark: 0, age: &|_| age };
    let Some(job) = view.minor() else { return (0, 0) };
    assert!(may_merge(job.inputs.iter(), manifest));
    (job.inputs.len(), job.level)
}

fn chosen(segments: Vec<SegmentEntry>) -> (usize, u32) {
    chosen_where(&list(segments), 1_000_000, &[], Duration::ZERO)
}

fn all(count: u64, of: impl Fn(u64) -> SegmentEntry) -> Vec<SegmentEntry> {
    (1..=count).map(of).collect()
}

#[test]
fn eight_files_of_level_0_are_merged_and_at_most_sixteen_or_fewer_once_they_have_waited() {
    assert_eq!(chosen(all(7, |n| mixed(n, 0))), (0, 0));
    assert_eq!(chosen(all(8, |n| mixed(n, 0))), (8, 1));
    assert_eq!(chosen(all(40, |n| mixed(n, 0))), (16, 1));
    let two = list(all(2, |n| mixed(n, 0)));
    assert_eq!(chosen_where(&two, 1000, &[], WAIT - Duration::from_secs(1)), (0, 0));
    assert_eq!(chosen_where(&two, 1000, &[], WAIT), (2, 1));
}

#[test]
fn a_commit_that_a_seal_may_still_come_before_is_left_alone() {
    let chosen =
        |segments: Vec<_>, first_live| chosen_where(&list(segments), first_live, &[], Duration::ZERO).0;
    let mut segments = all(7, |n| mixed(n, 0));
    segments.push(mixed(50, 9));
    assert_eq!(chosen(segments.clone(), 20), 0);
    assert_eq!(chosen(segments.clone(), 50), 0);
    assert_eq!(chosen(segments, 51), 8);
    // Nothing comes between commits of one sequence.
    assert_eq!(chosen(all(8, |n| mixed(50, n)), 20), 8);
    let mut segments = all(7, |n| placed(1, n, 1, 9));
    segments.push(placed(1, 50, 1, 9));
    assert_eq!(chosen(segments.clone(), 50), 0);
    assert_eq!(chosen(segments, 51), 8);
}

#[test]
fn nothing_is_merged_across_a_damaged_segment() {
    let check = |of: &dyn Fn(u64) -> SegmentEntry, damaged: u64, count| {
        let found = chosen_where(&list(all(12, of)), 1000, &[&of(damaged)], Duration::ZERO).0;
        assert_eq!(found, count, "{damaged}");
    };
    let windowed = |n| placed(1, n, 1, 9);
    for of in [&(|n| mixed(n, 0)) as &dyn Fn(u64) -> SegmentEntry, &windowed] {
        check(of, 4, 8);
        check(of, 6, 0);
    }
}

#[test]
fn of_one_window_eight_of_a_level_become_one_of_the_next() {
    assert_eq!(chosen(all(8, |n| placed(1, n, 1, 9))), (8, 2));
    assert_eq!(chosen(all(8, |n| placed(3, n, 1, 9))), (8, 4));
    assert_eq!(chosen(all(8, |n| placed(LEVEL_TOP, n, 1, 9))), (0, 0), "they are not small");
    // Of two windows and two tiers each has too few.
    assert_eq!(chosen(all(14, |n| placed(1, n, 1, 9 + n % 2))), (0, 0));
    assert_eq!(chosen(all(14, |n| placed(1, n, 1 + n % 2, 9))), (0, 0));
    // What was left between higher levels is taken along.
    let between = all(9, |n| placed(if n == 4 { 1 } else { 2 }, n, 1, 9));
    assert_eq!(chosen(between), (9, 3));
    let mut large = all(8, |n| placed(1, n, 1, 9));
    large[3].bytes = LARGE_BYTES;
    assert_eq!(chosen(large), (0, 0));
}

#[test]
fn what_overlaps_and_stands_between_parts_a_window() {
    let window = |extra: SegmentEntry| {
        let mut segments = all(8, |n| placed(1, n * 10, 1, 9));
        segments.push(extra);
        chosen(segments).0
    };
    assert_eq!(window(placed(1, 45, 2, 9)), 8, "it is of another tier");
    assert_eq!(window(placed(1, 45, 1, 10)), 8, "it lies in another window");
    let stale = |mut entry: SegmentEntry| {
        entry.place.as_mut().unwrap().rules = 1;
        entry
    };
    assert_eq!(window(stale(placed(1, 45, 2, 9))), 0, "nobody knows whether it has the same series");
    assert_eq!(window(stale(placed(1, 95, 2, 9))), 8, "it stands behind all");
    assert_eq!(window(stale(placed(1, 5, 2, 9))), 8, "it stands before all");
    assert_eq!(window(stale(placed(1, 80, 2, 9))), 0, "it shares the order of the last");
    assert_eq!(window(stale(placed(1, 10, 2, 9))), 8, "it shares the order of the first");
    let late = |mut entry: SegmentEntry| {
        entry.place.as_mut().unwrap().is_late = true;
        entry
    };
    assert_eq!(window(late(placed(1, 45, 1, 9))), 0, "a late dot may be a correction");
}

#[test]
fn windows_that_are_over_and_small_are_joined_within_an_eighth_of_the_time_they_are_kept() {
    let small = |days, day| SegmentEntry { bytes: 1000, ..placed(1, day, days, day) };
    // Kept for 31 days: an eighth is a little less than four days, and a window is a day.
    assert_eq!(small(31, 5).place.unwrap().window.width, Duration::from_nanos(DAY));
    let of_31 = |from: u64, count| (from..from + count).map(|day| small(31, day)).collect::<Vec<_>>();
    // The eighths begin at days 31, 34.875, 38.75; a window that lies in two of them stays alone.
    let joined = |segments: Vec<SegmentEntry>| {
        let manifest = list(segments);
        let none = BTreeSet::new();
        let view = View {
            manifest: &manifest,
            first_live: 1_000,
            damaged: &none,
            mark: 0,
            age: &|_| Duration::ZERO,
        };
        view.minor().map(|job| {
            let Goal::Place(place) = job.into else { panic!("{job:?}") };
            assert!(job.inputs.iter().all(|entry| place.holds(entry.first_time, entry.last_time)));
            (job.inputs.len(), job.level, place.window.width.as_nanos() as u64 / DAY)
        })
    };
    assert_eq!(joined(of_31(31, 3)), None, "the eighth is not over");
    assert_eq!(joined(of_31(31, 5)), Some((3, LEVEL_JOINED, 3)));
    // What is kept for ever is joined as soon as there are enough.
    let for_ever = |count| (1..=count).map(|n| small(0, n * 16)).collect::<Vec<_>>();
    assert_eq!(joined(for_ever(8)), None, "the last is not over");
    assert_eq!(joined(for_ever(9)), Some((8, LEVEL_JOINED, 128)));
    let mut large = of_31(31, 5);
    large[1].bytes = SMALL_BYTES;
    assert_eq!(joined(large), None);
}

#[test]
fn a_major_compaction_takes_level_0_first_and_then_each_window_once() {
    let mut segments = all(20, |n| mixed(100 + n, 0));
    segments.extend(all(3, |n| placed(2, n, 1, 9)));
    segments.push(placed(1, 5, 1, 10));
    let chosen = |segments: &[SegmentEntry], done: &[&SegmentEntry]| {
        let (manifest, none) = (list(segments.to_vec()), BTreeSet::new());
        let done = done.iter().map(|entry| entry.name.clone()).collect();
        let view = View {
            manifest: &manifest,
            first_live: 1_000,
            damaged: &none,
            mark: 0,
            age: &|_| Duration::ZERO,
        };
        view.major(&done).map(|job| job.inputs.len())
    };
    assert_eq!(chosen(&segments, &[]), Some(16));
    segments.retain(|entry| entry.place.is_some());
    assert_eq!(chosen(&segments, &[]), Some(3));
    let ours = segments.clone();
    // Those that this compaction has made are merged with each other, and alone no more.
    assert_eq!(chosen(&segments, &[&ours[0], &ours[1], &ours[2]]), Some(3));
    segments.drain(..2);
    assert_eq!(chosen(&segments, &[&ours[2]]), Some(1));
    assert_eq!(chosen(&segments, &[&ours[2], &ours[3]]), None);
}

#[test]
fn a_job_that_is_too_large_is_halved_as_long_as_it_gets_further() {
    let counts = |job: Job| {
        let next = |job: &Job| job.smaller();
        std::iter::successors(Some(job), next).map(|job| job.inputs.len()).collect::<Vec<_>>()
    };
    let groups = |entries: &[SegmentEntry], into| {
        let groups: Vec<Group<'_>> = entries.iter().map(|entry| vec![entry]).collect();
        job(&groups, 1, into)
    };
    let mixed = all(9, |n| mixed(n, 0));
    assert_eq!(counts(groups(&mixed, Goal::Apart)), [9, 5, 3, 2, 1]);
    let windows = all(9, |n| placed(1, n, 0, n * 16));
    let place = Place { window: Window::default(), ..windows[0].place.unwrap() };
    let job = groups(&windows, Goal::Place(place));
    let smaller = job.smaller().unwrap();
    let Goal::Place(place) = smaller.into else { panic!("{smaller:?}") };
    assert_eq!(place.window.last(), smaller.inputs[4].place.unwrap().window.last());
    assert_eq!(counts(job), [9, 5, 3, 2]);
}

/// Does a job as the list sees it: a dot is a byte, and none replaces another.
fn done(segments: &mut Listings, job: &Job, number: &mut u64) -> u64 {
    let mut made: BTreeMap<Place, SegmentEntry> = BTreeMap::new();
    for input in &job.inputs {
        let places: Vec<Place> = match job.into {
            Goal::Place(place) => vec![place],
            // On level 0 each file has as many dots of a tier that is kept for ever as of one that is kept for two days.
            _ => [0, 2]
                .map(|days| placed(1, 1, days, 1).place.unwrap().tier)
                .map(|tier| Place { tier, window: tier.window(input.first_time), ..Place::default() })
                .to_vec(),
        };
        for place in &places {
            let entry = made.entry(*place).or_insert_with(|| SegmentEntry {
                first_time: Timestamp::MAX,
                last_time: Timestamp::MIN,
                place: Some(*place),
                level: job.level,
                ..SegmentEntry::default()
            });
            entry.order = entry.order.max(input.order);
            entry.bytes += input.bytes / places.len() as u64;
            entry.first_time = entry.first_time.min(input.first_time);
            entry.last_time = entry.last_time.max(input.last_time);
        }
    }
    segments.retain(|entry| !job.inputs.contains(entry));
    let mut written = 0;
    for mut entry in made.into_values() {
        *number += 1;
        entry.name = format!("L1-x-{number:016x}");
        written += entry.bytes;
        segments.push(entry);
    }
    written
}

#[test]
fn ten_thousand_small_commits_in_96_hours_write_no_dot_again_more_than_five_times() {
    let commits = 10_000;
    let (mut segments, mut number, mut most) = (Listings::default(), 1 << 60, 0);
    let mut written: BTreeMap<u32, u64> = BTreeMap::new();
    for commit in 0..commits {
        let time = Timestamp::from_nanos(20_000 * DAY + commit * (4 * DAY / commits));
        let entry = SegmentEntry { first_time: time, last_time: time, bytes: 200, ..mixed(commit + 1, 0) };
        segments.push(entry);
        loop {
            let manifest = Manifest { segments: std::mem::take(&mut segments), ..Manifest::default() };
            let none = BTreeSet::new();
            let age = |_: &SegmentEntry| Duration::ZERO;
            let view = View { manifest: &manifest, first_live: u64::MAX, damaged: &none, mark: 0, age: &age };
            let job = view.minor();
            segments = manifest.segments;
            let Some(job) = job else { break };
            *written.entry(job.level).or_default() += done(&mut segments, &job, &mut number);
        }
        most = most.max(segments.len());
    }
    let bytes = segments.iter().map(|entry| entry.bytes).sum::<u64>();
    assert_eq!(bytes, commits * 200, "all dots are there");
    // Each level has a dot once at most, and there are five.
    assert!(written.values().all(|written| *written <= bytes) && written.len() <= 5, "{written:?}");
    assert!(written.contains_key(&LEVEL_TOP) && written.contains_key(&LEVEL_JOINED), "{written:?}");
    assert!(most < 150, "{most} segments");
}

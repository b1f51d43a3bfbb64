//! Rings that are made, moved aside, killed, forked away from and removed.
//!
//! Some of it takes a second process: this program runs itself again, see `helper`.
#![cfg(not(loom))]
// fork has no safe form.
#![allow(unsafe_code)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use dotter_dot::SeriesName;
use dotter_ring::directory::{self, Place};
use dotter_ring::{
    Clock, Drained, Error, Identity, LANE_BYTES_MIN, LaneCursor, Owner, Refusals, Ring, RingOptions,
    RingReader, SlowPath,
};

fn create(place: &Place) -> Result<Ring, Error> {
    let inside = SlowPath::enter().unwrap();
    let options = RingOptions {
        lane_bytes: LANE_BYTES_MIN,
        lanes_max: 3,
        registry_bytes: 4096,
        clock: Clock::best(),
        ..RingOptions::new("life")
    };
    let ring = Ring::create(&inside, &options, Identity::of_this_process()?, place, false)?;
    ring.series(&inside, &SeriesName::new("number").unwrap(), "").unwrap();
    Ok(ring)
}

/// Not a test: what this program does when another test runs it as a process of its own.
#[test]
#[ignore = "started by other tests"]
fn helper() {
    let path = std::env::var("DOTTER_TEST_RING").expect("another test starts this one");
    let place = Place::of(Path::new(&path));
    let ring = match create(&place) {
        Ok(ring) => ring,
        Err(error) => {
            println!("ERROR {error}");
            return;
        }
    };
    let mut lane = ring.take(&SlowPath::enter().unwrap()).unwrap();
    println!("READY {}", ring.path().display());
    std::io::stdout().flush().unwrap();
    // Until it is killed, or the test that started it is.
    for number in 0..u64::MAX {
        lane.dot(0, number as f64).unwrap();
        if number % 1_000_000 == 0 && std::os::unix::process::parent_id() == 1 {
            return;
        }
    }
}

/// Starts the helper and waits for its ring.
fn start_helper(place: &Path) -> (Child, PathBuf) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["helper", "--ignored", "--exact", "--nocapture"])
        .env("DOTTER_TEST_RING", place)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let path = lines.find_map(|line| line.unwrap().split_once("READY ").map(|(_, path)| path.into()));
    (child, path.expect("the helper has a ring"))
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_writer_leaves_every_committed_record_whole() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("ring");
    let (mut delivered, mut lost) = (0, 0);
    for round in 0..25_u64 {
        let (child, path) = start_helper(&place);
        assert_eq!(path, place, "the dead ring before was moved aside");
        let mut ring = RingReader::open(&path).unwrap();
        assert_eq!(ring.owner(), Owner::Alive);
        let (mut cursor, mut out) = (LaneCursor::start(0), Drained::default());
        // A different moment each time, in blocks and in laps.
        let moment = round * 1237;
        while cursor.expected() <= moment {
            cursor.drain(&mut ring, 100, &mut out);
        }
        kill(child);
        assert_eq!(ring.owner(), Owner::Dead);
        while cursor.drain(&mut ring, usize::MAX, &mut out) > 0 {}
        assert_eq!(cursor.expected(), ring.next_record(0));
        let mut losses = out.losses.iter().peekable();
        let mut number = 0;
        for dot in &out.dots {
            while let Some(loss) = losses.next_if(|loss| loss.first == number) {
                lost += loss.next - loss.first;
                number = loss.next;
            }
            assert_eq!((dot.value, dot.series, dot.clock), (number as f64, 0, true));
            number += 1;
        }
        let rest: u64 = losses.map(|loss| loss.next - loss.first).sum();
        assert_eq!(number + rest, cursor.expected());
        delivered += out.dots.len();
    }
    println!("{delivered} delivered, {lost} lost");
    let rings = directory::scan(&Place::of(&place)).unwrap();
    assert_eq!(rings.len(), 25, "each under a name of its own");
}

/// Shows P3.
#[test]
fn a_living_owner_is_named_and_a_dead_one_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    let (child, _) = start_helper(&path);
    let pid = child.id();
    match create(&Place::of(&path)) {
        Err(error @ Error::Owned { .. }) => {
            assert!(error.to_string().contains(&format!("process {pid} publishes there")), "{error}");
        }
        other => panic!("{:?}", other.map(|ring| ring.path().to_owned())),
    }
    let incarnation = RingReader::open(&path).unwrap().incarnation();
    kill(child);
    let ring = create(&Place::of(&path)).unwrap();
    let aside = dir.path().join(format!("ring.{incarnation}.dots"));
    assert_eq!(directory::scan(&Place::of(&path)).unwrap(), [path.clone(), aside.clone()]);
    assert_eq!(RingReader::open(&aside).unwrap().incarnation(), incarnation);
    assert_eq!(RingReader::open(&path).unwrap().incarnation(), ring.incarnation());
}

#[test]
fn one_process_does_not_take_its_own_name_twice_before_it_closes() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::of(&dir.path().join("ring"));
    let first = create(&place).unwrap();
    let pid = std::process::id();
    assert!(matches!(create(&place), Err(Error::Owned { pid: found, .. }) if found == pid));
    first.close();
    let second = create(&place).unwrap();
    assert_ne!(first.incarnation(), second.incarnation());
    assert_eq!(directory::scan(&place).unwrap().len(), 2);
}

#[test]
fn what_is_no_ring_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("letter");
    std::fs::write(&path, "dear all").unwrap();
    assert!(matches!(create(&Place::of(&path)), Err(Error::NotARing { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"dear all");
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().starts_with(".tmp-")), "{left:?}");
}

#[test]
fn files_that_pass_for_rings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ring = create(&Place::Directory(dir.path().to_owned())).unwrap();
    let check = |path: &Path, message: &str| {
        let error = RingReader::open(path).unwrap_err();
        let text = format!("{error}: {:?}", std::error::Error::source(&error));
        assert!(text.contains(message), "{text}");
    };
    let path = |name: &str| dir.path().join(name);
    check(dir.path(), "is a directory");
    check(&path("none"), "No such file");
    std::os::unix::fs::symlink(ring.path(), path("link")).unwrap();
    check(&path("link"), "symbolic links");
    assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
    check(&path("fifo"), "is a FIFO");
    std::fs::write(path("short"), b"DOTRING1").unwrap();
    check(&path("short"), "not a ring");
    let mut bytes = std::fs::read(ring.path()).unwrap();
    bytes.pop();
    std::fs::write(path("cut"), &bytes).unwrap();
    check(&path("cut"), "bytes, expected the");
    bytes[12] = 1;
    std::fs::write(path("new"), &bytes).unwrap();
    check(&path("new"), "format version 1, this build reads up to 0");
    bytes[12] = 0;
    bytes[30] ^= 1;
    std::fs::write(path("flipped"), &bytes).unwrap();
    check(&path("flipped"), "checksum");
}

/// Shows P7.
#[test]
fn only_the_drained_file_loses_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    let first = create(&Place::of(&path)).unwrap();
    let mut reader = RingReader::open(&path).unwrap();
    first.close();
    let second = create(&Place::of(&path)).unwrap();
    // The exact name is another ring's by now.
    assert!(!directory::unlink_drained(&reader).unwrap());
    assert_eq!(RingReader::open(&path).unwrap().incarnation(), second.incarnation());
    reader.set_path(dir.path().join(format!("ring.{}.dots", first.incarnation())));
    assert!(directory::unlink_drained(&reader).unwrap());
    assert!(!directory::unlink_drained(&reader).unwrap());
    assert_eq!(directory::scan(&Place::of(&path)).unwrap(), [path]);
}

/// Whether the system lists a lock on the file that this process holds.
fn lock_is_listed(path: &Path) -> bool {
    let inode = format!(":{} ", std::fs::metadata(path).unwrap().ino());
    let pid = format!(" {} ", std::process::id());
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| line.contains("POSIX") && line.contains(&inode) && line.contains(&pid))
}

#[test]
fn reading_our_own_ring_does_not_drop_its_lock() {
    let dir = tempfile::tempdir().unwrap();
    let ring = create(&Place::Directory(dir.path().to_owned())).unwrap();
    assert!(lock_is_listed(ring.path()));
    let reader = RingReader::open(ring.path()).unwrap();
    assert_eq!(reader.owner(), Owner::Alive);
    drop(reader);
    assert!(lock_is_listed(ring.path()));
}

#[test]
fn a_file_cut_short_and_restored_while_it_is_read_costs_the_reader_nothing_but_its_dots() {
    dotter_ring::survive_truncation().unwrap();
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let ring = create(&Place::Directory(dir.path().to_owned())).unwrap();
    let mut lane = ring.take(&SlowPath::enter().unwrap()).unwrap();
    (1..=3000).for_each(|number| lane.dot(0, f64::from(number)).unwrap());
    let path = dir.path().join("copy");
    std::fs::copy(ring.path(), &path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut whole = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                file.set_len(4096).unwrap();
                std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
            }
        });
        for _ in 0..2000 {
            let Ok(mut reader) = RingReader::open(&path) else { continue };
            let (mut cursor, mut out) = (LaneCursor::start(0), Drained::default());
            cursor.drain(&mut reader, usize::MAX, &mut out);
            // Whatever is given out is what was written, in its place; never a zero of a page that is gone.
            let mut losses = out.losses.iter().peekable();
            let mut number = 0;
            for dot in &out.dots {
                while let Some(loss) = losses.next_if(|loss| loss.first == number) {
                    number = loss.next;
                }
                number += 1;
                assert_eq!(dot.value, number as f64);
            }
            whole += u32::from(number == 3000);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    println!("{whole} whole readings of 2000");
}

#[test]
fn a_fault_that_is_no_readers_ends_the_process_as_it_did_before() {
    dotter_ring::survive_truncation().unwrap();
    let file = tempfile::tempfile().unwrap();
    file.set_len(4096).unwrap();
    // SAFETY: a new mapping somewhere; the descriptor is open.
    let page = unsafe {
        use std::os::fd::AsRawFd as _;
        let fd = file.as_raw_fd();
        libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, fd, 0)
    };
    assert_ne!(page, libc::MAP_FAILED);
    file.set_len(0).unwrap();
    // SAFETY: the child loads a byte of the mapping above, if it can, and leaves by _exit; a handler that
    // came back to the load for ever would end with the alarm.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above.
        unsafe {
            libc::alarm(20);
            libc::_exit(i32::from(std::ptr::read_volatile(page.cast::<u8>())));
        }
    }
    let mut status = 0;
    // SAFETY: the pointer is to an integer that the call fills.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFSIGNALED(status), "{status}");
    assert_eq!(libc::WTERMSIG(status), libc::SIGBUS);
}

#[test]
fn dead_rings_over_their_quota_leave_a_stub_that_says_what_they_had() {
    let dir = tempfile::tempdir().unwrap();
    for place in [Place::Directory(dir.path().join("rings")), Place::Exact(dir.path().join("exact"))] {
        let mut paths = Vec::new();
        for records in [300, 200, 100_u32] {
            let ring = create(&place).unwrap();
            let mut lane = ring.take(&SlowPath::enter().unwrap()).unwrap();
            (0..records).for_each(|number| lane.dot(0, f64::from(number)).unwrap());
            lane.text(0, &"x".repeat(5000)).unwrap();
            ring.add_refusals(&Refusals { series: 1, ..Refusals::default() });
            ring.close();
            paths.push(dir_name(&place, ring.incarnation()));
        }
        let living = create(&place).unwrap();
        let rings = directory::scan(&place).unwrap();
        assert_eq!(rings.len(), 4);
        let size = |path: &PathBuf| std::fs::symlink_metadata(path).unwrap().blocks() * 512;
        // Room for one and a half: the two oldest go.
        let gone = directory::make_room(&place, size(&paths[2]) * 3 / 2).unwrap();
        assert_eq!(gone, paths[..2]);
        assert!(directory::make_room(&place, size(&paths[2])).unwrap().is_empty());
        let stub = paths[0].with_extension("gone");
        let now = directory::scan(&place).unwrap();
        assert!(now.len() == 4 && now.contains(&stub) && !paths[0].exists());

        let mut reader = RingReader::open(&stub).unwrap();
        assert_eq!((reader.application(), reader.is_closed(), reader.owner()), ("life", true, Owner::Dead));
        assert_eq!((reader.lanes_used(), reader.next_record(0), reader.next_record(1)), (1, 300, 0));
        let refusals = reader.refusals();
        assert_eq!((refusals.too_big, refusals.series), (1, 1));
        assert!(reader.series(0).is_none() && reader.is_intact());
        for watermark in [0, 120, 300, 400] {
            let mut cursor = LaneCursor::resume(&reader, 0, watermark);
            let mut out = Drained::default();
            assert_eq!(cursor.drain(&mut reader, 1, &mut out) as u64, 300_u64.saturating_sub(watermark));
            let lost: Vec<_> = out.losses.iter().map(|loss| (loss.first, loss.next, loss.reason)).collect();
            let expected = (watermark < 300).then_some((watermark, 300, dotter_dot::Reason::QUOTA));
            assert_eq!(lost, expected.into_iter().collect::<Vec<_>>());
            assert!(out.losses.iter().all(|loss| loss.times.is_some()));
        }
        // A stub is all right or refused.
        let bytes = std::fs::read(&stub).unwrap();
        let flipped = dir.path().join("flipped");
        for at in [0, 8, 100, 530, 4096, 4104, bytes.len() - 6] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            std::fs::write(&flipped, &bytes).unwrap();
            assert!(RingReader::open(&flipped).is_err(), "byte {at}");
        }
        std::fs::write(&flipped, &bytes[..bytes.len() - 1]).unwrap();
        assert!(RingReader::open(&flipped).is_err());

        // Read to its end, it goes like any ring; the living one is left alone whatever the quota.
        assert!(directory::unlink_drained(&reader).unwrap() && !stub.exists());
        assert_eq!(directory::make_room(&place, 0).unwrap(), paths[2..]);
        assert!(living.path().exists());
    }
}

/// What a ring is called once it is dead and out of the way.
fn dir_name(place: &Place, incarnation: dotter_dot::Incarnation) -> PathBuf {
    let prefix = match place {
        Place::Directory(_) => "life".to_owned(),
        Place::Exact(path) => path.file_name().unwrap().to_str().unwrap().to_owned(),
    };
    place.directory().join(format!("{prefix}.{incarnation}.dots"))
}

#[test]
fn a_new_ring_makes_the_dead_leave_stubs_where_they_are_over_their_quota() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::Directory(dir.path().to_owned());
    let dead = create(&place).unwrap();
    dead.close();
    let inside = SlowPath::enter().unwrap();
    let options = RingOptions { lane_bytes: LANE_BYTES_MIN, dead_bytes_max: 0, ..RingOptions::new("new") };
    let ring = Ring::create(&inside, &options, Identity::of_this_process().unwrap(), &place, false).unwrap();
    let names = [dead.path().with_extension("gone"), ring.path().to_owned()];
    assert_eq!(directory::scan(&place).unwrap(), names);
}

#[test]
fn a_disk_without_room_is_an_error_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // Files of this process end after a few kilobytes, and it is told so by an error, not by a signal.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" helper --ignored --exact --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .env("DOTTER_TEST_RING", dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("ERROR no room for ring"), "{text}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_forked_child_writes_nothing_and_its_end_closes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ring = create(&Place::Directory(dir.path().to_owned())).unwrap();
    let mut lane = ring.take(&SlowPath::enter().unwrap()).unwrap();
    lane.dot(0, 1.0).unwrap();
    // SAFETY: the child uses memory and the ring only, and leaves by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let refused = lane.dot(0, 2.0).is_err() && lane.dot_at(0, 3, 3.0).is_err();
        let inside = SlowPath::enter();
        let none = inside.as_ref().is_some_and(|inside| {
            ring.take(inside).is_none() && ring.shared(inside, |lane| lane.dot(0, 4.0)).is_err()
        });
        ring.add_refusals(&Refusals { series: 1, ..Refusals::default() });
        ring.close();
        // SAFETY: ends the process without running anything of the parent's.
        unsafe { libc::_exit(if refused && none { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: the pointer is to an integer that the call fills.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0, "the child was refused everywhere");
    lane.dot(0, 5.0).unwrap();
    let mut reader = RingReader::open(ring.path()).unwrap();
    let (mut cursor, mut out) = (LaneCursor::start(0), Drained::default());
    cursor.drain(&mut reader, 10, &mut out);
    let values: Vec<f64> = out.dots.iter().map(|dot| dot.value).collect();
    assert_eq!(values, [1.0, 5.0]);
    assert!(!reader.is_closed());
    assert_eq!((reader.refusals(), reader.owner()), (Default::default(), Owner::Alive));
    assert!(lock_is_listed(ring.path()));
}

#[test]
fn a_ring_of_another_user_is_not_read_unless_that_is_root() {
    // SAFETY: takes nothing.
    if unsafe { libc::geteuid() } != 0 {
        println!("only root can give a file to another user: not tried");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = |user: u32| {
        let path = dir.path().join(user.to_string());
        let ring = create(&Place::Directory(dir.path().to_owned())).unwrap();
        std::fs::copy(ring.path(), &path).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        std::os::unix::fs::chown(&path, Some(user), None).unwrap();
        path
    };
    let [of_root, of_one, of_other] = [0, 1000, 65534].map(path);
    let is_refused = |path: &Path| match RingReader::open(path) {
        Ok(_) => false,
        Err(Error::File { found, .. }) if found.starts_with("belongs to user") => true,
        Err(other) => panic!("{other}"),
    };
    assert_eq!([&of_root, &of_one, &of_other].map(|path| is_refused(path)), [false, true, true]);
    // SAFETY: the child uses memory and files only, and leaves by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: takes numbers.
        let changed = unsafe { libc::setresuid(65534, 65534, 65534) } == 0;
        let refused = || [&of_root, &of_one, &of_other].map(|path| is_refused(path));
        let right = std::panic::catch_unwind(refused).is_ok_and(|refused| refused == [false, true, false]);
        // SAFETY: ends the process without running anything of the parent's.
        unsafe { libc::_exit(i32::from(!changed || !right)) };
    }
    let mut status = 0;
    // SAFETY: the pointer is to an integer that the call fills.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
}

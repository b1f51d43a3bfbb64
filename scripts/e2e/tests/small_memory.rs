//! Publishers where memory for rings is short, as in a container, whose /dev/shm has 64 MB: what finds no room goes
//! another way or is refused by name, and no process dies of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use dotter_e2e::oracle::{Published, Workload};
use dotter_e2e::{Process, program, skip, until, until_some};
use dotter_ring::{Drained, LaneCursor, RingReader};
use tempfile::TempDir;

const LANES: u32 = 8;
const DOTS: u64 = 5_000;

/// Eight lanes of 16 MiB, of which 64 MB hold a few.
fn workload(dots: u64, rate: Option<u32>) -> Workload {
    Workload { lanes: LANES, dots, series: 3, rate, lane_dots: 1_000_000, hold: true }
}

/// A user namespace is what a test needs to have a /dev/shm of its own; says so where the kernel gives none.
fn may_be_contained() -> bool {
    let tried = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).output();
    let allowed = tried.as_ref().is_ok_and(|output| output.status.success());
    if !allowed {
        skip(&format!("no user namespaces here: {tried:?}"));
    }
    allowed
}

/// A publisher with a memory of its own of so many bytes, mounted where `mount` is outside.
fn contained(mount: &Path, bytes: u64, workload: &Workload) -> Process {
    // Mounted in the container alone, so nothing is left when it ends.
    let script = "mount -t tmpfs -o size=$0 tmpfs \"$1\" && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(bytes.to_string())
        .arg(mount);
    command.arg(program("dotter-publisher")).arg("load").arg(mount.join("load.ring"));
    Process::start(command.args(workload.arguments()))
}

/// A path of the container, seen from outside.
fn within(container: &Process, path: &Path) -> PathBuf {
    let inside = path.strip_prefix("/").expect("temporary directories have absolute names");
    Path::new(&format!("/proc/{}/root", container.id())).join(inside)
}

/// Reads all lanes of the ring; the records of each publishing thread, by the lane of the ring they were found in.
fn records(ring: &mut RingReader) -> BTreeMap<u64, BTreeMap<u32, Vec<u64>>> {
    let mut found: BTreeMap<u64, BTreeMap<u32, Vec<u64>>> = BTreeMap::new();
    let mut out = Drained::default();
    for lane in 0..ring.lanes_used() {
        let mut cursor = LaneCursor::start(lane);
        while cursor.drain(ring, usize::MAX, &mut out) > 0 {
            assert_eq!(out.losses, [], "lane {lane}");
            for dot in &out.dots {
                let value = dot.value as u64;
                found.entry(value >> 32).or_default().entry(lane).or_default().push(value & u32::MAX as u64);
            }
            out.clear();
        }
    }
    found
}

#[test]
fn threads_that_find_no_room_for_a_lane_share_the_last_one_and_nothing_is_lost() {
    if !may_be_contained() {
        return;
    }
    let mount = TempDir::new().expect("a temporary directory can be made");
    let container = contained(mount.path(), 64 << 20, &workload(DOTS, None));
    container.hear("that all is written", |line| line.contains("all dots written").then_some(()));
    let path = within(&container, &mount.path().join("load.ring"));
    let mut ring = RingReader::open(&path).expect("the ring in the container can be read");
    let found = records(&mut ring);
    assert_eq!(found.len(), LANES as usize, "every thread has published");
    let mut shared = 0;
    for (thread, lanes) in &found {
        assert_eq!(lanes.len(), 1, "thread {thread} publishes in one lane");
        for (lane, numbers) in lanes {
            assert!(numbers.iter().copied().eq(0..DOTS), "thread {thread}: all of it, once, in order");
            shared += u64::from(*lane == LANES);
            assert!(*lane == LANES || u64::from(*lane) == *thread);
        }
    }
    // The first lane and the shared one take 32 MiB at once, one or two more fit beside them.
    assert!((4..u64::from(LANES) - 1).contains(&shared), "{shared} threads in the shared lane");
    println!("{shared} of {LANES} threads in the shared lane");

    let published = Published::parse(&container.terminate());
    assert_eq!((published.total(), published.refused), (u64::from(LANES) * DOTS, 0));
    assert_eq!(published.lanes.len(), LANES as usize + 1);
    assert_eq!(published.lanes[LANES as usize], shared * DOTS);
}

/// Shows P1.
#[test]
fn memory_that_fills_up_under_a_living_publisher_changes_nothing_for_it() {
    if !may_be_contained() {
        return;
    }
    let mount = TempDir::new().expect("a temporary directory can be made");
    let mut workload = workload(1 << 32, Some(20_000));
    workload.hold = false;
    let container = contained(mount.path(), 64 << 20, &workload);
    let path = within(&container, &mount.path().join("load.ring"));
    let ring = until_some("the ring in the container", || RingReader::open(&path).ok());
    let total = || -> u64 { (0..=LANES).map(|lane| ring.next_record(lane)).sum() };
    until("its first dots", || total() > 1_000);
    // Somebody else takes what is left, to the last byte.
    let mut other =
        File::create(path.with_file_name("other")).expect("the container's memory can be written to");
    let block = [1; 1 << 16];
    while other.write(&block).is_ok_and(|bytes| bytes > 0) {}
    // Into pages that no dot has touched before.
    let before = total();
    until("dots after that", || total() > before + 100_000);
    let published = Published::parse(&container.terminate());
    assert!(published.total() > before + 100_000);
    assert_eq!(published.refused, 0);
}

#[test]
fn a_ring_that_finds_no_room_is_an_error_that_says_so_and_leaves_nothing_behind() {
    if !may_be_contained() {
        return;
    }
    // Room for the first of the two lanes a ring begins with, and for none.
    for bytes in [24 << 20, 64 << 10] {
        let mount = TempDir::new().expect("a temporary directory can be made");
        // The directory is looked at in the same container.
        let script = "mount -t tmpfs -o size=$0 tmpfs \"$1\" && shift && { \"$@\"; \
                      echo \"exit $?, left: $(ls -A $(dirname $3) | grep -v lock)\" >&2; }";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(bytes.to_string());
        command
            .arg(mount.path())
            .arg(program("dotter-publisher"))
            .arg("load")
            .arg(mount.path().join("load.ring"));
        let container = Process::start(command.args(workload(DOTS, None).arguments()));
        let said =
            container.hear("why not", |line| line.contains("no room for ring").then(|| line.to_owned()));
        assert!(said.contains("No space left on device"), "{said}");
        assert!(said.contains(&*mount.path().to_string_lossy()), "it says where: {said}");
        let end = container.hear("how it ended", |line| line.starts_with("exit ").then(|| line.to_owned()));
        assert_eq!(end, "exit 1, left: ");
    }
}

//! Applications that fork, and signal handlers that publish.
// fork and sigaction have no safe form.
#![allow(unsafe_code)]

mod common;

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use dotter_publisher::{Publisher, Series};
use dotter_ring::directory::{self, Place};
use dotter_ring::{Owner, RingReader};

use common::{in_child, read};

#[test]
fn every_process_of_a_prefork_server_has_a_ring_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    for place in [dir.path().join("rings/"), dir.path().join("exact")] {
        let publisher = Publisher::create(&place, 1).unwrap();
        let (a, b) = (publisher.series("a").unwrap(), publisher.series("b").unwrap().unit("ms"));
        let mut lane = publisher.lane().unwrap();
        lane.dot(&a, 0.0);
        b.dot(0.5);
        for child in 1..=3 {
            in_child(|| {
                lane.dot(&b, child.into());
                a.dot(f64::from(child) + 0.5);
                // A daemon forks once more.
                in_child(|| {
                    publisher.series("c").unwrap().dot(f64::from(child) * 10.0);
                    lane.dot(&a, f64::from(child) * 10.0 + 0.5);
                });
                a.dot(-1.0);
            });
        }
        lane.dot(&a, 100.0);
        let mut rings: Vec<_> =
            directory::scan(&Place::of(&place)).unwrap().iter().map(|path| read(path)).collect();
        let name = |name: &str, value: f64| (name.to_owned(), value);
        let mut expected = vec![vec![name("a", 0.0), name("a", 100.0), name("b", 0.5)]];
        for child in [1.0, 2.0, 3.0] {
            expected.push(vec![name("b", child), name("a", child + 0.5), name("a", -1.0)]);
            expected.push(vec![name("c", child * 10.0), name("a", child * 10.0 + 0.5)]);
        }
        let sort = |rings: &mut Vec<Vec<(String, f64)>>| {
            rings.iter_mut().for_each(|ring| ring.sort_by(|a, b| a.partial_cmp(b).unwrap()));
            rings.sort_by(|a, b| a.partial_cmp(b).unwrap());
        };
        sort(&mut rings);
        sort(&mut expected);
        assert_eq!(rings, expected);
        let parent = RingReader::open(&publisher.path()).unwrap();
        assert_eq!((parent.owner(), parent.incarnation()), (Owner::Alive, publisher.incarnation()));
    }
}

#[test]
fn a_counter_goes_on_in_a_forked_child_from_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::create(&dir.path().join("rings/"), 1).unwrap();
    let counter = publisher.counter("a").unwrap();
    counter.count(5);
    in_child(|| {
        counter.count(1);
        counter.count(1);
    });
    counter.count(2);
    let place = Place::Directory(dir.path().join("rings"));
    let mut rings: Vec<Vec<f64>> = directory::scan(&place)
        .unwrap()
        .iter()
        .map(|path| read(path).into_iter().map(|(_, value)| value).collect())
        .collect();
    rings.sort_by_key(|values| values[0] as u64);
    assert_eq!(rings, [[5.0, 7.0], [6.0, 7.0]]);
}

static SERIES: OnceLock<Series> = OnceLock::new();
static FROM_HANDLER: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_alarm(_: libc::c_int) {
    if let Some(series) = SERIES.get() {
        FROM_HANDLER.fetch_add(1, SeqCst);
        series.dot(-1.0);
    }
}

#[test]
fn a_dot_from_a_signal_handler_is_published_or_counted() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::create(dir.path(), 10_000_000).unwrap();
    let series = SERIES.get_or_init(|| publisher.series("a").unwrap());
    // SAFETY: the action is zeroed but for a handler of this program that takes what it is called with; the
    // timer is a plain struct.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_alarm as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGVTALRM, &action, std::ptr::null_mut()), 0);
        let often = libc::timeval { tv_sec: 0, tv_usec: 50 };
        let timer = libc::itimerval { it_interval: often, it_value: often };
        assert_eq!(libc::setitimer(libc::ITIMER_VIRTUAL, &timer, std::ptr::null_mut()), 0);
    }
    // The timer counts this process's own time, so the handlers come however slow the machine is.
    let mut dots = 0_u64;
    while dots < 9_000_000 && publisher.refused().signal_handler < 3 {
        for _ in 0..10_000 {
            series.dot(1.0);
        }
        dots += 10_000;
    }
    // SAFETY: as above; zero turns the timer off.
    unsafe {
        let timer: libc::itimerval = std::mem::zeroed();
        assert_eq!(libc::setitimer(libc::ITIMER_VIRTUAL, &timer, std::ptr::null_mut()), 0);
    }
    let (published, refused) = (publisher.published().iter().sum::<u64>(), publisher.refused());
    let attempts = dots + FROM_HANDLER.load(SeqCst);
    println!("{attempts} attempts, {published} published, {refused:?}");
    assert!(refused.signal_handler > 0);
    assert_eq!(published + refused.signal_handler, attempts);
    let values = read(&publisher.path());
    let (plain, from_handler) = values.iter().partition::<Vec<_>, _>(|(_, value)| *value == 1.0);
    assert_eq!((plain.len() as u64, from_handler.len() as u64), (dots, published - dots));
}

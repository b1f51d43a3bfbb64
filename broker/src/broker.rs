//! The loop that looks at rings, hands out posts and takes answers.
//!
//! One thread owns every ring; a few others post. What passes between them is bytes one way and answers the other,
//! at most one message per posting thread, so memory does not grow with what is behind.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use dotter_daemon::{AbortOnPanic, Log, StopFlag, chain};
use dotter_dot::Incarnation;
use dotter_ring::directory::{self, BrokerLock, Place};
use nix::sys::resource::{Resource, getrlimit};

use crate::Options;
use crate::after::After;
use crate::backoff::Backoff;
use crate::error::Error;
use crate::fill::Filler;
use crate::post::{Failure, Poster, Reply};
use crate::totals::Totals;
use crate::watch::Watch;

/// Threads that post. One batch of a ring is under way at a time, so this is how many rings go in parallel.
const POSTERS: usize = 4;
/// Rings open at once.
const RINGS_OPEN_MAX: u64 = 128;
/// Descriptors kept for everything that is no ring: connections, the lock, the directory, standard streams.
const DESCRIPTORS_KEPT: u64 = 24;
/// The shortest interval between two looks at the rings.
const INTERVAL_MIN: Duration = Duration::from_millis(1);
/// A lane fuller than this since the last look halves the interval.
const FULL: f64 = 0.25;
/// The names are read at most this often; where they are many, so often that it takes this part of the time.
const SCAN_MIN: Duration = Duration::from_millis(50);
const SCAN_SHARE: u32 = 20;
/// How long a stop may take; a service manager is promised five seconds.
const DRAIN_MAX: Duration = Duration::from_millis(4_500);
/// The stop flag is looked at this often.
const NAP_MAX: Duration = Duration::from_millis(100);
const REPORT: Duration = Duration::from_secs(60);

/// Bytes to post.
struct Job {
    ring: Incarnation,
    message: Vec<u8>,
    lanes: Vec<u32>,
}

/// What came of them; the bytes' memory comes back.
struct Done {
    ring: Incarnation,
    message: Vec<u8>,
    result: Result<Reply, Failure>,
}

/// The loop and all it owns.
pub(crate) struct Broker<'a> {
    options: &'a Options,
    stop: &'a StopFlag,
    log: &'a Log,
    watch: Watch,
    place: Place,
    lock: Option<BrokerLock>,
    filler: Filler,
    jobs: Sender<Job>,
    done: Receiver<Done>,
    /// Memory for messages.
    spare: Vec<Vec<u8>>,
    under_way: usize,
    /// The ring whose turn it is.
    turn: Incarnation,
    /// Pauses for all rings: nobody is there, or the collector asked for one.
    pause: Backoff,
    silent_since: Option<Instant>,
    store: Option<String>,
    interval: Duration,
    next_look: Instant,
    next_scan: Instant,
    next_report: Instant,
    reported: Totals,
    totals: Totals,
    leave_by: Option<Instant>,
}

impl<'a> Broker<'a> {
    pub(crate) fn new(options: &'a Options, stop: &'a StopFlag, log: &'a Log) -> Result<Broker<'a>, Error> {
        let token = options.token.as_ref().map(|token| token.as_str());
        let poster = Poster::new(&options.url, token, POSTERS);
        let (jobs, todo) = crossbeam_channel::bounded(POSTERS);
        let (finished, done) = crossbeam_channel::bounded(POSTERS);
        for index in 0..POSTERS {
            let (poster, todo, finished) = (poster.clone(), todo.clone(), finished.clone());
            std::thread::Builder::new()
                .name(format!("post-{index}"))
                .spawn(move || post_all(&poster, &todo, &finished))
                .map_err(Error::Thread)?;
        }
        let place = options.place();
        let now = Instant::now();
        Ok(Broker {
            watch: Watch::new(options.place(), options.name.clone(), rings_open_max()),
            place,
            lock: None,
            filler: Filler::new(options.time_unit),
            jobs,
            done,
            spare: Vec::new(),
            under_way: 0,
            turn: Incarnation::default(),
            pause: Backoff::default(),
            silent_since: None,
            store: None,
            interval: options.poll,
            next_look: now,
            next_scan: now,
            next_report: now + REPORT,
            reported: Totals::default(),
            totals: Totals::default(),
            leave_by: None,
            options,
            stop,
            log,
        })
    }

    /// Runs until asked to stop, or with `once` until all that was there is acknowledged.
    pub(crate) fn run(mut self) -> Result<Totals, Error> {
        self.log.info(&format!(
            "reading {} every {} s, posting to {}",
            match &self.place {
                Place::Directory(path) => format!("rings in {}", path.display()),
                Place::Exact(path) => format!("ring {}", path.display()),
            },
            self.options.poll.as_secs_f64(),
            self.options.url
        ));
        loop {
            let now = Instant::now();
            if self.stop.is_set() && self.leave_by.is_none() {
                self.leave_by = Some(now + DRAIN_MAX);
                self.next_look = now;
                // Rings that come now are the next broker's.
                self.next_scan = now + 2 * DRAIN_MAX;
            }
            self.scan(now)?;
            self.look(now);
            self.post(now);
            if self.may_leave(now) {
                break;
            }
            self.wait(now);
            self.report(now);
        }
        self.log.info(&format!("leaving: {}", self.totals));
        Ok(self.totals)
    }

    fn scan(&mut self, now: Instant) -> Result<(), Error> {
        if now < self.next_scan {
            return Ok(());
        }
        self.next_scan = now + SCAN_MIN;
        if let Place::Exact(path) = &self.place
            && path.is_dir()
        {
            // Nothing was there when we started, so it could not be told from the name of a ring.
            self.place = Place::Directory(path.clone());
            self.watch.set_place(self.place.clone());
            self.lock = None;
        }
        if self.lock.as_ref().is_none_or(|lock| !lock.is_current()) && self.place.directory().is_dir() {
            // Locks of a directory that was removed, or has another name now, keep nobody from this one.
            self.lock = None;
            self.lock = Some(directory::lock_broker(&self.place).map_err(Error::Lock)?);
        }
        if self.lock.is_none() {
            return Ok(());
        }
        if let Err(error) = self.watch.scan(now, self.log, &mut self.totals) {
            self.log.warn("scan", &format!("cannot list rings, looking again: {}", chain(&error)));
        }
        // Rings that wait for a place are waiting for one to become free, not for the next look.
        let pace = if self.watch.unseen() > 0 { SCAN_MIN } else { self.options.poll.max(SCAN_MIN) };
        self.next_scan = now + pace.max(now.elapsed() * SCAN_SHARE);
        Ok(())
    }

    /// Looks at every open ring, and again the sooner the faster they fill.
    fn look(&mut self, now: Instant) {
        if now < self.next_look {
            return;
        }
        self.watch.drop_broken(now, self.log, &mut self.totals);
        let filled = self.watch.rings.values_mut().map(|ring| ring.look(now)).fold(0.0, f64::max);
        if filled > FULL {
            self.interval = (self.interval / 2).max(INTERVAL_MIN.min(self.options.poll));
        } else if filled < FULL / 4.0 {
            self.interval = (self.interval * 2).min(self.options.poll);
        }
        self.next_look = now + self.interval;
        if self.leave_by.is_some() || self.options.once {
            self.watch.rings.values_mut().for_each(|ring| ring.set_goal());
        }
    }

    /// Hands out posts in turn while there are threads to take them.
    fn post(&mut self, now: Instant) {
        if !self.pause.is_over(now) {
            return;
        }
        // While the collector is away one ring knocks for all.
        let threads = if self.pause.failures() > 0 { 1 } else { POSTERS };
        let turn = self.turn;
        let rings = &self.watch.rings;
        let order: Vec<_> =
            rings.range(turn..).chain(rings.range(..turn)).map(|(incarnation, _)| *incarnation).collect();
        for incarnation in order {
            if self.under_way >= threads {
                // The turn stays with the first that found no thread.
                self.turn = incarnation;
                return;
            }
            let Some(ring) = self.watch.rings.get_mut(&incarnation) else { continue };
            let mut message = self.spare.pop().unwrap_or_default();
            match ring.next_post(now, &mut self.filler, &mut message) {
                Some(lanes) => {
                    self.watch.let_names_go(incarnation);
                    self.under_way += 1;
                    // Cannot block or fail: there are never more jobs than places, and the threads end after us.
                    let _ = self.jobs.send(Job { ring: incarnation, message, lanes });
                }
                None => self.spare.push(message),
            }
        }
    }

    /// Sleeps until something is due or an answer comes; takes all answers there are.
    fn wait(&mut self, now: Instant) {
        let paused = self.watch.rings.values().filter_map(|ring| ring.paused_until());
        let due = paused.chain(self.pause.until()).filter(|until| *until > now).min();
        let due = due.map_or(self.next_look, |due| due.min(self.next_look)).min(self.next_scan);
        let nap = due.saturating_duration_since(Instant::now()).min(NAP_MAX);
        match self.done.recv_timeout(nap) {
            Ok(done) => {
                self.take(done);
                while let Ok(done) = self.done.try_recv() {
                    self.take(done);
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }

    fn take(&mut self, done: Done) {
        let now = Instant::now();
        self.under_way -= 1;
        self.spare.push(done.message);
        let Some(ring) = self.watch.rings.get_mut(&done.ring) else { return };
        match done.result {
            Ok(Reply { answer, conflict }) => {
                if let Some(since) = self.silent_since.take() {
                    let seconds = now.duration_since(since).as_secs_f64();
                    self.log.info(&format!("{} answers again after {seconds:.1} s", self.options.url));
                }
                self.pause.succeed();
                if !answer.durable {
                    self.log.warn("not durable", "the collector acknowledges before its disk has the dots");
                }
                let lost = |totals: &Totals| totals.lost.values().sum::<u64>();
                let refused = |totals: &Totals| totals.refused.values().sum::<u64>();
                let (lost_before, refused_before) = (lost(&self.totals), refused(&self.totals));
                let after = ring.answered(&answer, conflict, now, &mut self.totals);
                let name = ring.reader.path().display();
                match lost(&self.totals) - lost_before {
                    0 => {}
                    records => self.log.warn(
                        "lost",
                        &format!(
                            "{records} records of {name} were gone before they were read; counted as lost"
                        ),
                    ),
                }
                match refused(&self.totals) - refused_before {
                    0 => {}
                    records => self.log.warn(
                        "refused",
                        &format!("{records} records of {name} are refused for good; counted as refused"),
                    ),
                }
                match after {
                    After::GoOn | After::OtherStore => {}
                    After::WentBack(records) => self.log.info(&format!(
                        "the store went back: {records} records of {name} are wanted again; \
                         what the ring still has is sent, the rest is counted as lost"
                    )),
                    After::Beyond { lane, wanted, next } => self.log.warn(
                        "beyond",
                        &format!(
                            "the collector wants record {wanted} of lane {lane} of {name}, which has come to {next}: \
                             nothing is sent of that lane until it is there, or the collector says otherwise"
                        ),
                    ),
                    After::NotBelieved { lane, found, most } => self.log.warn(
                        "not believed",
                        &format!(
                            "the answer speaks of record {found} of lane {lane} of {name}, expected at most {most}: \
                             it counts for nothing, and the collector is asked again"
                        ),
                    ),
                    After::NotKept => self.log.warn(
                        "not kept",
                        &format!(
                            "the collector says that {name} has finished, and somebody still writes to it: what was \
                             published since is not kept, and the file stays until its owner has ended; does \
                             another broker read the ring that cannot see its owner?"
                        ),
                    ),
                    After::Finished => self.finished(done.ring, now),
                }
                self.learn_store(answer.store);
            }
            Err(failure) => {
                self.totals.failures += 1;
                let pause = ring.failed(&failure, now).unwrap_or_else(|| {
                    self.silent_since.get_or_insert(now);
                    self.pause.fail(now, failure.cause(), failure.retry_after())
                });
                self.log.warn(
                    &format!("post {:?}", std::mem::discriminant(&failure)),
                    &format!(
                        "cannot post dots of {} to {}: {failure}; they stay in the ring, next try in {:.1} s",
                        ring.reader.path().display(),
                        self.options.url,
                        pause.as_secs_f64()
                    ),
                );
            }
        }
    }

    /// Where another store answers than before, every ring asks it what it wants.
    fn learn_store(&mut self, store: String) {
        match &self.store {
            Some(known) if *known == store => {}
            known => {
                if let Some(known) = known {
                    self.log.info(&format!("another store answers: {store}, before it was {known}"));
                    self.watch.ask_store(&store);
                }
                self.store = Some(store);
            }
        }
    }

    /// The collector has the finish of a ring: its file can go.
    fn finished(&mut self, incarnation: Incarnation, now: Instant) {
        let Some(ring) = self.watch.rings.get(&incarnation) else { return };
        let path = ring.reader.path().display().to_string();
        match directory::unlink_drained(&ring.reader) {
            Ok(removed) => {
                let what = if removed { "removed" } else { "was gone already" };
                self.log
                    .info(&format!("ring {path} is finished, every record accounted for; the file {what}"));
            }
            Err(error) => {
                self.log.info(&format!(
                    "ring {path} is finished but its file cannot be removed, to be tried again: {}",
                    chain(&error)
                ));
            }
        }
        self.watch.forget_finished(incarnation, now);
    }

    fn may_leave(&self, now: Instant) -> bool {
        let Some(leave_by) = self.leave_by else {
            return self.options.once && self.is_drained();
        };
        if now >= leave_by {
            let left = self.watch.rings.values().filter(|ring| !ring.is_drained()).count();
            if left > 0 {
                self.log.info(&format!("time is up: {left} rings keep dots for the next broker"));
            }
            return true;
        }
        self.is_drained()
    }

    fn is_drained(&self) -> bool {
        let unseen = if self.leave_by.is_some() { 0 } else { self.watch.unseen() };
        unseen == 0 && self.under_way == 0 && self.watch.rings.values().all(|ring| ring.is_drained())
    }

    fn report(&mut self, now: Instant) {
        if now < self.next_report {
            return;
        }
        self.next_report = now + REPORT;
        if let Err(error) = directory::sweep_litter(&self.place) {
            self.log.warn("sweep", &format!("cannot remove what unfinished rings left: {}", chain(&error)));
        }
        match directory::make_room(&self.place, dotter_ring::DEAD_BYTES_MAX) {
            Ok(gone) => gone.iter().for_each(|path| {
                self.log.info(&format!(
                    "ring {} is dead and made room: what it held and was not posted is lost, to be counted",
                    path.display()
                ));
            }),
            Err(error) => self.log.warn("room", &format!("cannot look for dead rings: {}", chain(&error))),
        }
        if self.totals != self.reported {
            self.log.info(&format!("{} rings open, {}", self.watch.rings.len(), self.totals));
            self.reported = self.totals.clone();
        }
    }
}

/// A ring takes a descriptor; where these are few, so are the rings that are open at once.
fn rings_open_max() -> usize {
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(RINGS_OPEN_MAX, |(soft, _)| soft);
    // At most RINGS_OPEN_MAX, so it fits.
    descriptors.saturating_sub(DESCRIPTORS_KEPT).clamp(1, RINGS_OPEN_MAX) as usize
}

fn post_all(poster: &Poster, todo: &Receiver<Job>, finished: &Sender<Done>) {
    // A ring whose post never comes back is never posted again, and a broker without posters posts nothing.
    let _guard = AbortOnPanic("post");
    for Job { ring, message, lanes } in todo {
        let result = poster.post(&message, ring, lanes);
        if finished.send(Done { ring, message, result }).is_err() {
            return;
        }
    }
}

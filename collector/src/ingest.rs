//! The queue between those who take dots in and the one thread that commits them.
//!
//! Always true:
//!
//! - a post holds a place from before it is queued until it is answered, whoever has stopped waiting for it; there
//!   are [`PLACES`] of them, and [`READS`] for requests that read; together fewer than threads of the front door, so
//!   that questions after the collector's health are answered while posts wait and reads run
//! - lines wait in their sender once [`LINES_QUEUED`] jobs are queued

use std::fmt;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, TrySendError, bounded};
use dotter_daemon::chain;
use dotter_dot::{NameError, NamedDots, SeriesName};
use dotter_store::ClaimName;
use dotter_wire::{Answer, Message};

use crate::reserve::Short;

/// Posts under way at once.
const PLACES: usize = 8;
/// Requests that read under way at once.
pub(crate) const READS: usize = 3;
/// Jobs of lines that wait at once, each of a socket's buffer at most.
const LINES_QUEUED: usize = 64;
/// How long a post waits for a place before it is told to come again: longer than commits take, short enough that
/// all threads of the front door are never gone for long.
const PLACE_WAIT: Duration = Duration::from_millis(250);
/// How long an answer is waited for. A disk that takes longer may still finish: then the repeated post finds its
/// records stored. It is counted in [`PIECES`].
const ANSWER_WAIT: Duration = Duration::from_secs(15);
/// Waits that an [`ANSWER_WAIT`] is made of. A process that stands still (stopped, a laptop that sleeps) loses one of
/// them, not all: its disk has had no chance meanwhile.
const PIECES: u32 = 30;

/// Threads of the front door that go with it.
pub(crate) const HANDLERS: usize = PLACES + READS + 4;

/// The sending end. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Queue {
    posts: Sender<Post>,
    lines: Sender<NamedDots>,
    places: Places,
}

/// The receiving ends.
pub(crate) struct Jobs {
    pub(crate) posts: Receiver<Post>,
    pub(crate) lines: Receiver<NamedDots>,
}

/// Something that wants an answer once it is durable.
pub(crate) struct Post {
    pub(crate) work: Work,
    pub(crate) ticket: Ticket,
}

/// What is to be done.
pub(crate) enum Work {
    /// Of a batch also the names of its series, read where there are many threads for it.
    Message(Message, Vec<Result<SeriesName, NameError>>),
    /// With a claim: to be dropped where that is gone, see [`dotter_store::take_claim`].
    Rows(NamedDots, Option<ClaimName>),
    /// Everything so far is synced, and the log goes on in a new file: so all of it can be sealed.
    CloseFile,
}

/// The way back to whoever posted.
pub(crate) struct Ticket {
    answer: Sender<Outcome>,
    _place: Place,
}

/// What became of a post.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Durable; or for a question, nothing to be made durable is left.
    Ack(Answer),
    /// Nothing stored: the answer says what is wanted.
    Conflict(Answer),
    /// Rows are durable; how many dots.
    Stored(u64),
    /// The log goes on in a new file.
    Closed,
    /// Too much for a frame of the log; nothing has happened, but that the claim of the rows is taken.
    TooBig(Box<NamedDots>),
    /// Never: more series than are allowed; how many.
    SeriesLimit(usize),
    /// Never: the claim of the rows was gone.
    Dropped,
    /// Nothing is known to be stored; it can be posted again.
    NotNow(NotNow),
}

/// Why a post should come again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NotNow {
    /// Too many posts wait.
    QueueFull,
    /// As many requests read as may.
    Reads,
    /// The log grows faster than it is sealed.
    Unsealed,
    /// The collector is on its way out.
    Stopping,
    /// The disk takes too long.
    Slow,
    /// The disk is full; what the store said.
    DiskFull(String),
    /// The disk has less free than its reserve.
    Reserve(Short),
    /// The log failed; what the store said.
    Failed(String),
    /// The claim of the rows cannot be taken; what the store said.
    Claim(String),
}

impl NotNow {
    /// What an error of the store means for those who post.
    pub(crate) fn of(error: &dotter_store::Error) -> NotNow {
        let text = chain(error);
        if error.is_disk_full() { NotNow::DiskFull(text) } else { NotNow::Failed(text) }
    }
}

impl fmt::Display for NotNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotNow::QueueFull => f.write_str("too many posts wait for the disk"),
            NotNow::Reads => f.write_str("as many requests read as may at once; try again"),
            NotNow::Unsealed => f.write_str("the log grows faster than it is sealed"),
            NotNow::Stopping => f.write_str("the collector is stopping"),
            NotNow::Slow => {
                write!(
                    f,
                    "the log was not synced within {} s; whether this is stored is not known",
                    ANSWER_WAIT.as_secs()
                )
            }
            NotNow::DiskFull(what) => write!(f, "the disk is full: {what}"),
            NotNow::Reserve(short) => write!(
                f,
                "{short}; nothing of this request was stored; deletes, expiry and reading go on; the sender keeps its \
                 rows and sends them again once there is room"
            ),
            NotNow::Failed(what) => write!(f, "the log failed: {what}"),
            NotNow::Claim(what) => write!(f, "the claim was not taken: {what}; nothing stored"),
        }
    }
}

/// So many may do something at once. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Places {
    give: Sender<()>,
    free: Receiver<()>,
}

impl Places {
    pub(crate) fn new(count: usize) -> Places {
        let (give, free) = bounded(count);
        for _ in 0..count {
            give.try_send(()).expect("the channel has a slot for each place");
        }
        Places { give, free }
    }

    /// Waits for a place, for a while.
    pub(crate) fn take(&self) -> Option<Place> {
        self.free.recv_timeout(PLACE_WAIT).ok().map(|()| Place(self.give.clone()))
    }

    /// A place, where one is free.
    pub(crate) fn try_take(&self) -> Option<Place> {
        self.free.try_recv().ok().map(|()| Place(self.give.clone()))
    }
}

/// One of the places; free again when dropped.
pub(crate) struct Place(Sender<()>);

impl Drop for Place {
    fn drop(&mut self) {
        // Never full: there are as many slots as places. Closed where nobody is left who could wait for it.
        let _ = self.0.try_send(());
    }
}

impl Ticket {
    pub(crate) fn answer(self, outcome: Outcome) {
        // Whoever posted may have stopped waiting.
        let _ = self.answer.try_send(outcome);
    }
}

/// The two ends.
pub(crate) fn queue() -> (Queue, Jobs) {
    let (post_sender, posts) = bounded(PLACES);
    let (line_sender, lines) = bounded(LINES_QUEUED);
    (Queue { posts: post_sender, lines: line_sender, places: Places::new(PLACES) }, Jobs { posts, lines })
}

impl Queue {
    /// Queues `work` and waits for what becomes of it.
    pub(crate) fn post(&self, work: Work) -> Outcome {
        let Some(place) = self.places.take() else { return Outcome::NotNow(NotNow::QueueFull) };
        let (answer, answered) = bounded(1);
        let ticket = Ticket { answer, _place: place };
        match self.posts.try_send(Post { work, ticket }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Outcome::NotNow(NotNow::QueueFull),
            Err(TrySendError::Disconnected(_)) => return Outcome::NotNow(NotNow::Stopping),
        }
        for _ in 0..PIECES {
            match answered.recv_timeout(ANSWER_WAIT / PIECES) {
                Ok(outcome) => return outcome,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Outcome::NotNow(NotNow::Stopping),
            }
        }
        Outcome::NotNow(NotNow::Slow)
    }

    /// Queues dots nobody waits for. Gives them back where there was no room for `wait`.
    pub(crate) fn lines(&self, rows: NamedDots, wait: Duration) -> Result<(), LinesRefused> {
        self.lines.send_timeout(rows, wait).map_err(|error| match error {
            SendTimeoutError::Timeout(rows) => LinesRefused::Full(Box::new(rows)),
            SendTimeoutError::Disconnected(rows) => LinesRefused::Closed(Box::new(rows)),
        })
    }

    /// Posts and jobs of lines that wait.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.posts.len(), self.lines.len())
    }
}

/// Why lines were not queued; the lines.
#[derive(Debug)]
pub(crate) enum LinesRefused {
    Full(Box<NamedDots>),
    Closed(Box<NamedDots>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_too_many_is_told_to_come_again_and_a_place_comes_back() {
        let (queue, jobs) = queue();
        let posts: Vec<_> = (0..PLACES)
            .map(|_| {
                let queue = queue.clone();
                std::thread::spawn(move || queue.post(Work::Rows(NamedDots::default(), None)))
            })
            .collect();
        let taken: Vec<Post> = (0..PLACES).map(|_| jobs.posts.recv().unwrap()).collect();
        let outcome = queue.post(Work::Rows(NamedDots::default(), None));
        assert!(matches!(outcome, Outcome::NotNow(NotNow::QueueFull)), "{outcome:?}");
        taken.into_iter().for_each(|post| post.ticket.answer(Outcome::Stored(7)));
        for post in posts {
            assert!(matches!(post.join().unwrap(), Outcome::Stored(7)));
        }
        drop(jobs);
        let outcome = queue.post(Work::Rows(NamedDots::default(), None));
        assert!(matches!(outcome, Outcome::NotNow(NotNow::Stopping)), "{outcome:?}");
    }

    #[test]
    fn lines_that_find_no_room_come_back_whole() {
        let (queue, jobs) = queue();
        let rows = || {
            let mut rows = NamedDots::default();
            let series = SeriesName::new("a").unwrap();
            rows.push_number(&series, dotter_dot::Timestamp::MIN, 1.0);
            rows
        };
        for _ in 0..LINES_QUEUED {
            queue.lines(rows(), Duration::ZERO).unwrap();
        }
        let refused = queue.lines(rows(), Duration::from_millis(1));
        assert!(matches!(refused, Err(LinesRefused::Full(rows)) if rows.len() == 1));
        drop(jobs);
        assert!(matches!(queue.lines(rows(), Duration::ZERO), Err(LinesRefused::Closed(_))));
    }
}

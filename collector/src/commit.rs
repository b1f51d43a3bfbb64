//! The thread that commits, over the lives of as many writers of the log as it takes.
//!
//! After an error of the log its writer is dropped, those who waited are told, and a new one is opened, again and
//! again with growing pauses. Meanwhile posts are answered at once and lines are not taken; lines that were taken
//! are kept for the next writer.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::select;
use dotter_store::Writer;

use crate::error::Error;
use crate::given::Commit;
use crate::group::{Group, Serving};
use crate::ingest::{NotNow, Outcome};

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

impl Commit {
    /// Runs until nothing more will be queued, and all that was is answered.
    ///
    /// - `writer`: what the store said instead, where the disk was too full to open one
    ///
    /// # Errors
    ///
    /// [`Error::NotWritten`] where lines that were taken could not be written before the end.
    pub(crate) fn run(self, writer: Result<Writer, dotter_store::Error>) -> Result<(), Error> {
        let mut group = Group::default();
        let mut pause = PAUSE_MIN;
        let mut opened = writer;
        loop {
            let failure = match opened {
                Ok(mut writer) => {
                    self.metrics.set_trouble(None);
                    if self.metrics.failures.load(Relaxed) > 0 {
                        self.log.info("the log is open again");
                    }
                    let mut serving = Serving::new(&self, &mut writer, &mut group);
                    let Err(failure) = serving.run() else { return Ok(()) };
                    if serving.has_synced() {
                        pause = PAUSE_MIN;
                    }
                    failure
                }
                Err(failure) => failure,
            };
            // The writer is dropped: a new one needs its lock.
            let trouble = NotNow::of(&failure);
            self.note(&trouble, pause);
            group.fail(&trouble);
            if self.turn_away(&trouble, pause) {
                // One more try for the lines. Nobody has their word, but they were taken.
                let dots = group.lines_len();
                return match Writer::open(&self.dir) {
                    _ if dots == 0 => Ok(()),
                    Ok(mut writer) => Serving::new(&self, &mut writer, &mut group).run(),
                    Err(failure) => Err(failure),
                }
                .map_err(|source| Error::NotWritten { dots, source });
            }
            pause = (pause * 2).min(PAUSE_MAX);
            opened = Writer::open(&self.dir);
        }
    }

    fn note(&self, trouble: &NotNow, pause: Duration) {
        self.metrics.failures.fetch_add(1, Relaxed);
        let text = format!("{trouble}; nothing is acknowledged, next try in {} ms", pause.as_millis());
        self.log.warn("log", &text);
        self.metrics.set_trouble(Some(trouble.to_string()));
    }

    /// Answers posts for as long as `pause`; says whether nothing more will be queued.
    fn turn_away(&self, trouble: &NotNow, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            self.metrics.see();
            // What /metrics and /-/ready show goes on changing.
            self.reserve.short(Instant::now());
            let left = until.saturating_duration_since(Instant::now());
            select! {
                recv(self.jobs.posts) -> post => match post {
                    Ok(post) => post.ticket.answer(Outcome::NotNow(trouble.clone())),
                    Err(_) => return true,
                },
                recv(self.last) -> _ => {
                    for post in self.jobs.posts.try_iter() {
                        post.ticket.answer(Outcome::NotNow(trouble.clone()));
                    }
                    return true;
                }
                default(left) => return false,
            }
        }
    }
}

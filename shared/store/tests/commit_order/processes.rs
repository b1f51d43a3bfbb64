//! What a process may do next. Whatever other processes can tell apart is a step of its own.

use crate::rule::Rule;
use crate::state::{NOBODY, State};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Opens the log and makes small adds, each a frame.
    Writer { adds: u8 },
    /// Deletes, or adds a segment: one edit of the list.
    Foreign,
    /// Opens the log and serves its socket.
    Collector,
    /// Sends a small add to the collector with a claim; commits by an edit where no answer comes.
    Sender,
}

impl Kind {
    pub fn commits(self) -> u8 {
        match self {
            Kind::Writer { adds } => adds,
            Kind::Foreign | Kind::Sender => 1,
            Kind::Collector => 0,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Step {
    #[default]
    Start,
    WantList,
    WaitForLogLock,
    CompleteFirst,
    CompleteFirstSync,
    CompleteSecond,
    CompleteSecondSync,
    Look,
    SettleSync,
    MakeFile,
    SyncFile,
    Append,
    SyncFrames,
    Publish,
    Unlock,
    Serve,
    WaitForAnswer,
    WaitLonger,
    EditFirst,
    EditFirstSync,
    EditSecond,
    EditSecondSync,
    EditPublish,
    VoidSecond,
    VoidSecondSync,
    VoidFirst,
    VoidFirstSync,
    End,
    Dead,
}

/// Why a process takes MANIFEST.lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To open the log.
    #[default]
    Open,
    /// To append an edit.
    Commit,
    /// To void frames whose sync failed.
    Void,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Process {
    pub step: Step,
    pub purpose: Purpose,
    pub adds_done: u8,
    /// How many frames a writer has published in its file.
    pub published: u8,
    /// How many edits this process found when it completed the list.
    pub edits: u8,
    /// Whether this process found LOCK free under MANIFEST.lock, so that every whole frame counts.
    pub settled: bool,
}

/// A state that may come next, and what was done to come there.
pub struct Next {
    pub state: State,
    pub process: usize,
    pub what: &'static str,
}

/// The processes of one run and the rule that they keep to.
pub struct Run<'a> {
    pub rule: &'a Rule,
    pub kinds: &'a [Kind],
}

impl Run<'_> {
    /// The commit that the process is at.
    pub fn commit(&self, state: &State, index: usize) -> u8 {
        let sender = self.kinds.iter().position(|kind| *kind == Kind::Sender);
        let owner = if self.kinds[index] == Kind::Collector { sender.unwrap_or(index) } else { index };
        let before: u8 = self.kinds[..owner].iter().map(|kind| kind.commits()).sum();
        before + state.processes[owner].adds_done
    }

    /// Adds each state to which one step of the process leads.
    pub fn steps(&self, state: &State, index: usize, nexts: &mut Vec<Next>) {
        let mut seen = *state;
        if state.processes[index].step == Step::Look {
            seen.pass_over_damaged_files();
        }
        let mut moves = Moves { run: self, state: &seen, index, nexts };
        match state.processes[index].step {
            Step::Start => moves.start(),
            Step::WantList => moves.want_list(),
            Step::WaitForLogLock => moves.wait_for_log_lock(),
            Step::CompleteFirst => moves.complete(0),
            Step::CompleteSecond => moves.complete(1),
            Step::CompleteFirstSync => moves.sync_completed(0),
            Step::CompleteSecondSync => moves.sync_completed(1),
            Step::Look => moves.look(),
            Step::SettleSync => moves.settle_sync(),
            Step::MakeFile => moves.make_file(),
            Step::SyncFile => moves.sync_file(),
            Step::Append => moves.append(),
            Step::SyncFrames => moves.sync_frames(),
            Step::Publish => moves.publish(),
            Step::Unlock => {
                moves.go("gives LOCK back", Step::End, |state, _| state.log_lock = NOBODY);
            }
            Step::Serve => moves.serve(),
            Step::WaitForAnswer => moves.wait_for_answer(),
            Step::WaitLonger => moves.wait_longer(),
            Step::EditFirst => moves.edit(0),
            Step::EditSecond => moves.edit(1),
            Step::EditFirstSync => moves.sync_edit(0),
            Step::EditSecondSync => moves.sync_edit(1),
            Step::EditPublish => moves.publish_edit(),
            Step::VoidFirst => moves.void(0),
            Step::VoidSecond => moves.void(1),
            Step::VoidFirstSync => moves.sync_void(0),
            Step::VoidSecondSync => moves.sync_void(1),
            Step::End | Step::Dead => {}
        }
    }

    /// The process is killed: its locks are free, and its commit is over unless a collector may still make it.
    pub fn kill(&self, state: &mut State, index: usize) {
        let commit = self.commit(state, index);
        release(state, index);
        match self.kinds[index] {
            Kind::Sender if self.is_handed_over(state, index) => {}
            Kind::Collector => {
                state.request = false;
                let sender = self.kinds.iter().position(|kind| *kind == Kind::Sender);
                if sender.is_some_and(|sender| state.processes[sender].step == Step::Dead) {
                    state.over |= state.began & (1 << commit);
                }
            }
            _ => state.over |= state.began & (1 << commit),
        }
        state.processes[index] = Process { step: Step::Dead, ..Process::default() };
    }

    /// Whether a living collector has the sender's add, or may still take it.
    fn is_handed_over(&self, state: &State, sender: usize) -> bool {
        let collector = self.kinds.iter().position(|kind| *kind == Kind::Collector).expect("a collector");
        let lives = state.processes[collector].step != Step::Dead;
        lives && state.processes[sender].purpose == Purpose::Open && (state.request || !state.claim)
    }
}

pub fn release(state: &mut State, index: usize) {
    let own = holder(index);
    if state.list_lock == own {
        state.list_lock = NOBODY;
    }
    if state.log_lock == own {
        state.log_lock = NOBODY;
    }
}

pub fn holder(index: usize) -> u8 {
    u8::try_from(index).expect("few processes") + 1
}

pub fn number(count: usize) -> u8 {
    u8::try_from(count).expect("few frames")
}

pub struct Moves<'a> {
    pub run: &'a Run<'a>,
    pub state: &'a State,
    pub index: usize,
    nexts: &'a mut Vec<Next>,
}

impl Moves<'_> {
    pub fn process(&self) -> Process {
        self.state.processes[self.index]
    }

    pub fn kind(&self) -> Kind {
        self.run.kinds[self.index]
    }

    pub fn commit(&self) -> u8 {
        self.run.commit(self.state, self.index)
    }

    pub fn go(&mut self, what: &'static str, step: Step, change: impl FnOnce(&mut State, usize)) {
        let mut state = *self.state;
        state.processes[self.index].step = step;
        change(&mut state, self.index);
        if state.processes[self.index].step == Step::End {
            release(&mut state, self.index);
            state.processes[self.index] = Process { step: Step::End, ..Process::default() };
        }
        self.nexts.push(Next { state, process: self.index, what });
    }

    /// A sync: it succeeds, or it fails where this run has a failure left. The change learns which.
    pub fn sync(
        &mut self,
        whats: [&'static str; 2],
        steps: [Step; 2],
        change: impl Fn(&mut State, usize, bool),
    ) {
        self.go(whats[0], steps[0], |state, index| change(state, index, true));
        if self.state.left.failed_syncs > 0 {
            self.go(whats[1], steps[1], |state, index| {
                state.left.failed_syncs -= 1;
                change(state, index, false);
            });
        }
    }

    /// Answers "not stored" and ends; a collector that cannot open its log only ends.
    pub fn give_up(&mut self, what: &'static str, change: impl FnOnce(&mut State)) {
        let commit = self.commit();
        let refuses = self.kind() != Kind::Collector;
        self.go(what, Step::End, |state, _| {
            change(state);
            if refuses {
                state.refused |= 1 << commit;
                state.over |= 1 << commit;
            }
        });
    }

    /// Ends without a word on whether its commit is stored.
    pub fn end_unknown(&mut self, what: &'static str, change: impl FnOnce(&mut State)) {
        let commit = self.commit();
        self.go(what, Step::End, |state, _| {
            change(state);
            state.over |= 1 << commit;
        });
    }

    fn start(&mut self) {
        match self.kind() {
            Kind::Foreign => self.take_list(Purpose::Commit),
            Kind::Writer { .. } | Kind::Collector if self.run.rule.log_lock_under_list_lock => {
                self.take_list(Purpose::Open);
            }
            Kind::Writer { .. } | Kind::Collector => self.want_log_lock(),
            Kind::Sender => {
                let commit = self.commit();
                self.go("makes a claim and sends its add", Step::WaitForAnswer, |state, _| {
                    state.begin(commit);
                    state.claim = true;
                    state.request = true;
                });
            }
        }
    }
}

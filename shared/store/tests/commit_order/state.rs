//! One state of the model, what counts in it, and what must hold.

use crate::disk::{Cell, File, List, NOTHING, Row};
use crate::processes::{Process, Step};
use crate::rule::{Rule, Unpublished};

pub const COMMITS_MAX: usize = 4;
pub const PROCESSES_MAX: usize = 4;

/// Who holds a lock: a process plus one, or nobody.
pub const NOBODY: u8 = 0;

/// A set of commits, one bit each.
pub type Commits = u8;

/// Commits in their order; more than there are where one counts twice.
pub type View = Row<u8, 8>;

/// What may still go wrong in this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mishaps {
    pub kills: u8,
    /// Power cuts: every process dies, the page cache is lost, another boot begins.
    pub power_cuts: u8,
    /// Lost mounts: the same within one boot. Published words may be older afterwards.
    pub lost_mounts: u8,
    pub failed_syncs: u8,
    /// How often a writeback of a published word fails and the word is read from the disk again.
    pub lost_words: u8,
    /// How often no WAL file can be made.
    pub full_disks: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub processes: [Process; PROCESSES_MAX],
    pub files: Row<File, 7>,
    pub list: List,
    /// Who holds MANIFEST.lock.
    pub list_lock: u8,
    /// Who holds LOCK.
    pub log_lock: u8,
    pub boot: u8,
    pub left: Mishaps,
    pub claim: bool,
    /// A request lies in the collector's socket.
    pub request: bool,
    /// What the collector answered: whether the add is stored.
    pub answer: Option<bool>,
    /// The sequence of each frame that was appended.
    pub sequence: [u8; COMMITS_MAX],
    /// The sequence behind which each edit stands.
    pub order: [u8; COMMITS_MAX],
    /// The WAL file whose length an edit fixes, plus one, and that length.
    pub fixes: [(u8, u8); COMMITS_MAX],
    pub began: Commits,
    /// Commits that were answered or whose process is dead.
    pub over: Commits,
    pub acked: Commits,
    /// Commits that were answered: not stored.
    pub refused: Commits,
    /// For each commit, those that were over when it began.
    pub before: [Commits; COMMITS_MAX],
    /// What readers saw before a lost mount.
    pub seen: View,
}

impl State {
    pub fn new(left: Mishaps) -> State {
        State {
            processes: [Process::default(); PROCESSES_MAX],
            files: Row::new(),
            list: List::new(),
            list_lock: NOBODY,
            log_lock: NOBODY,
            boot: 0,
            left,
            claim: false,
            request: false,
            answer: None,
            sequence: [0; COMMITS_MAX],
            order: [0; COMMITS_MAX],
            fixes: [(0, 0); COMMITS_MAX],
            began: 0,
            over: 0,
            acked: 0,
            refused: 0,
            before: [0; COMMITS_MAX],
            seen: Row::new(),
        }
    }

    pub fn begin(&mut self, commit: u8) {
        if self.began & (1 << commit) == 0 {
            self.began |= 1 << commit;
            self.before[usize::from(commit)] = self.over;
        }
    }

    /// A file without a header and without a whole frame is not the last file.
    pub fn pass_over_damaged_files(&mut self) {
        let is_damaged = |file: &File| file.header.value == NOTHING && file.frames.whole() == 0;
        while self.files.last().is_some_and(is_damaged) {
            self.files.pop();
        }
    }

    /// The edits that count, in their order: for a reader, or for whoever has just completed the list.
    fn edits(&self, rule: &Rule, opened: bool) -> &[Cell] {
        let source = self.list.source();
        let whole = source.whole();
        let by_word = self.list.boot == self.boot || !rule.whole_frames_after_boot;
        let count = if !opened && by_word { whole.min(usize::from(self.list.published)) } else { whole };
        &source[..count]
    }

    /// How many frames of a WAL file count: for a reader, or for whoever settles the log.
    pub fn frames_counted(&self, rule: &Rule, file_index: usize, opened: bool) -> usize {
        let file = &self.files[file_index];
        let whole = file.frames.whole();
        let next = self.files.get(file_index + 1);
        if let Some(next) = next.filter(|next| next.header.value != NOTHING) {
            return whole.min(usize::from(next.header.value - 1));
        }
        if let Some(length) = self.length_by_edit(rule, file_index, opened) {
            return whole.min(length);
        }
        let same_boot = file.boot == self.boot;
        let by_word = match (opened, rule.unpublished) {
            (true, Unpublished::Counts) => false,
            (true, Unpublished::IsVoid) => same_boot,
            (false, _) => same_boot || !rule.whole_frames_after_boot,
        };
        if by_word { whole.min(usize::from(file.published)) } else { whole }
    }

    /// The length of a WAL file that an edit fixes.
    pub fn length_by_edit(&self, rule: &Rule, file_index: usize, opened: bool) -> Option<usize> {
        let fixes = self.edits(rule, opened).iter().map(|edit| self.fixes[usize::from(edit.value - 1)]);
        let mut here = fixes.filter(|(file, _)| usize::from(*file) == file_index + 1);
        here.next().map(|(_, length)| usize::from(length))
    }

    /// What counts, in its order: (sequence, edit number, commit).
    fn counted(&self, rule: &Rule, opened: bool) -> Row<(u8, u8, u8), 8> {
        let mut found = Row::new();
        for (file_index, file) in self.files.iter().enumerate() {
            for frame in &file.frames[..self.frames_counted(rule, file_index, opened)] {
                let commit = frame.value - 1;
                found.push((self.sequence[usize::from(commit)], 0, commit));
            }
        }
        for (edit_index, edit) in self.edits(rule, opened).iter().enumerate() {
            let commit = edit.value - 1;
            let edit_number = u8::try_from(edit_index).expect("few edits") + 1;
            found.push((self.order[usize::from(commit)], edit_number, commit));
        }
        found.sort_unstable();
        found
    }

    /// The commits that count, in their order: for a reader now (`opened` is false), or after one more opening.
    pub fn view(&self, rule: &Rule, opened: bool) -> View {
        let mut view = View::new();
        for (_, _, commit) in self.counted(rule, opened).iter() {
            view.push(*commit);
        }
        view
    }

    /// What a follower reads, by each of its places: the frames and the edits, or both in one row.
    pub fn followed(&self, rule: &Rule) -> [View; 2] {
        let mut places = [View::new(); 2];
        for (_, edit_number, commit) in self.counted(rule, false).iter() {
            places[usize::from(*edit_number > 0 && rule.two_places)].push(*commit);
        }
        places
    }

    /// The last sequence that counts.
    pub fn last_sequence(&self, rule: &Rule, opened: bool) -> u8 {
        let mut last = 0;
        for (file_index, file) in self.files.iter().enumerate() {
            for frame in &file.frames[..self.frames_counted(rule, file_index, opened)] {
                last = last.max(self.sequence[usize::from(frame.value - 1)]);
            }
        }
        for edit in self.edits(rule, opened) {
            last = last.max(self.order[usize::from(edit.value - 1)]);
        }
        last
    }

    /// What does not hold if every process dies now and the store is opened once more.
    pub fn fault(&self, rule: &Rule) -> Option<&'static str> {
        let view = self.view(rule, true);
        let counted: Commits = view.iter().fold(0, |all, commit| all | 1 << commit);
        if self.acked & !counted != 0 {
            return Some("an acked commit does not count");
        }
        if self.refused & counted != 0 {
            return Some("a commit that was answered \"not stored\" counts");
        }
        if counted.count_ones() as usize != view.len() {
            return Some("a commit counts twice");
        }
        for (place, commit) in view.iter().enumerate() {
            let before = self.before[usize::from(*commit)];
            if view[place + 1..].iter().any(|later| before & (1 << later) != 0) {
                return Some("a commit that was over stands behind one that began afterwards");
            }
        }
        let sees = self.view(rule, false);
        if self.seen.is_empty()
            && (0..8).any(|commit| self.acked & (1 << commit) != 0 && !sees.contains(&commit))
        {
            return Some("readers do not see an acked commit");
        }
        if !is_kept(&self.seen, &view) {
            return Some("what readers saw before a lost mount is gone or in another order");
        }
        if self.acked | self.refused == 0 {
            return None;
        }
        for lost in 0..2 {
            let mut damaged = *self;
            damaged.list.copies[lost] = Row::new();
            let view = damaged.view(rule, true);
            let counted: Commits = view.iter().fold(0, |all, commit| all | 1 << commit);
            if self.acked & !counted != 0 {
                return Some("an acked commit does not count where one copy of the list is lost");
            }
            if self.refused & counted != 0 {
                return Some(
                    "a commit that was answered \"not stored\" counts where one copy of the list is lost",
                );
            }
        }
        None
    }

    /// Whether the processes that are left wait for something that cannot come.
    /// A collector may serve for ever, and a process may wait for its LOCK.
    pub fn is_stuck(&self) -> bool {
        let idle = [Step::Start, Step::WaitForLogLock, Step::Serve, Step::End, Step::Dead];
        !self.processes.iter().all(|process| idle.contains(&process.step))
    }
}

/// Whether all of `earlier` stands in `later`, in the same order.
pub fn is_kept(earlier: &View, later: &View) -> bool {
    let mut rest = later.iter();
    earlier.iter().all(|commit| rest.any(|other| other == commit))
}

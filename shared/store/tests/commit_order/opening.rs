//! The steps before a commit: the locks, completing the list, settling the log, a new WAL file.

use crate::disk::{Cell, File, Row};
use crate::processes::{Kind, Moves, Purpose, Step, holder, number};
use crate::state::{NOBODY, State};

impl Moves<'_> {
    /// The first step of a writer that takes LOCK without MANIFEST.lock.
    pub fn want_log_lock(&mut self) {
        if self.state.log_lock != NOBODY {
            return;
        }
        let commit = self.commit();
        let begins = self.kind() != Kind::Collector;
        let step = if self.run.rule.foreign_settles { Step::WantList } else { Step::Look };
        self.go("takes LOCK", step, |state, index| {
            state.log_lock = holder(index);
            if begins {
                state.begin(commit);
            }
        });
    }

    pub fn want_list(&mut self) {
        self.take_list(self.process().purpose);
    }

    pub fn take_list(&mut self, purpose: Purpose) {
        let state = self.state;
        if state.list_lock != NOBODY {
            return;
        }
        let own = holder(self.index);
        let commit = self.commit();
        let begins = self.kind() != Kind::Collector;
        if purpose == Purpose::Open && state.log_lock != NOBODY && state.log_lock != own {
            self.go("finds LOCK held under MANIFEST.lock and lets go", Step::WaitForLogLock, |state, _| {
                if begins {
                    state.begin(commit);
                }
            });
            return;
        }
        let list = &state.list;
        let is_complete = list.boot == state.boot
            && list.copies.iter().all(|copy| copy.whole() == usize::from(list.published));
        let step = match purpose {
            _ if !is_complete && self.run.rule.completes => Step::CompleteFirst,
            Purpose::Void => Step::MakeFile,
            Purpose::Open | Purpose::Commit => Step::Look,
        };
        let what = match purpose {
            Purpose::Open => "takes MANIFEST.lock and LOCK",
            Purpose::Commit => "takes MANIFEST.lock to commit",
            Purpose::Void => "takes MANIFEST.lock to void its frames",
        };
        self.go(what, step, |state, index| {
            state.list_lock = own;
            state.processes[index].purpose = purpose;
            if purpose == Purpose::Open {
                state.log_lock = own;
            }
            if begins {
                state.begin(commit);
            }
        });
    }

    pub fn wait_for_log_lock(&mut self) {
        if self.kind() != Kind::Collector {
            self.give_up("waits no longer for LOCK", |_| {});
        }
        if self.state.log_lock == NOBODY {
            self.take_list(Purpose::Open);
        }
    }

    pub fn complete(&mut self, copy: usize) {
        let rule = self.run.rule;
        let list = &self.state.list;
        // MANIFEST was completed first, and its pages are certain.
        let source = if copy == 0 { *list.source() } else { list.copies[0] };
        let edits = if copy == 0 { number(source.whole()) } else { self.process().edits };
        let known = if list.boot == self.state.boot { list.published } else { 0 };
        let (what, step) = [
            ("completes MANIFEST", Step::CompleteFirstSync),
            ("completes MANIFEST.2", Step::CompleteSecondSync),
        ][copy];
        self.go(what, step, |state, index| {
            state.processes[index].edits = edits;
            let frames = &mut state.list.copies[copy];
            let places = (0..usize::from(edits)).zip(source.iter()).skip(usize::from(known));
            for (place, value) in places.map(|(place, cell)| (place, cell.value)) {
                if rule.writes_again || frames.get(place).is_none_or(|cell| cell.value != value) {
                    frames.write(place, value);
                }
            }
        });
    }

    pub fn sync_completed(&mut self, copy: usize) {
        if self.state.left.failed_syncs > 0 {
            let fail = |state: &mut State| {
                state.left.failed_syncs -= 1;
                state.list.copies[copy].sync(false);
            };
            if self.process().purpose == Purpose::Void {
                self.end_unknown("cannot sync what it completed: outcome unknown", fail);
            } else {
                self.give_up("cannot sync what it completed, says so and ends", fail);
            }
        }
        if copy == 0 {
            self.go("syncs MANIFEST", Step::CompleteSecond, |state, _| state.list.copies[0].sync(true));
            return;
        }
        let step = if self.process().purpose == Purpose::Void { Step::MakeFile } else { Step::Look };
        self.go("syncs MANIFEST.2 and publishes what it completed", step, |state, index| {
            state.list.copies[1].sync(true);
            state.list.published = state.processes[index].edits;
            state.list.boot = state.boot;
        });
    }

    /// Whether the last WAL file needs no other file behind it: this opener goes on without.
    fn begins_no_file(&self) -> bool {
        let Some(last) = self.state.files.last() else { return self.process().purpose == Purpose::Commit };
        let last_index = self.state.files.len() - 1;
        let fixed_by_edit = || self.state.length_by_edit(self.run.rule, last_index, true).is_some();
        match self.process().purpose {
            Purpose::Commit => last.frames.whole() == 0 || fixed_by_edit(),
            Purpose::Open => last.frames.whole() == 0 && !self.run.rule.own_file,
            Purpose::Void => false,
        }
    }

    fn after_settling(&self) -> Step {
        match self.process().purpose {
            Purpose::Commit => Step::EditFirst,
            Purpose::Open if self.kind() == Kind::Collector => Step::Serve,
            Purpose::Open => Step::Append,
            Purpose::Void => unreachable!("who voids frames makes a file"),
        }
    }

    /// Sees whether the log must be settled, and writes again what is to count.
    pub fn look(&mut self) {
        let rule = self.run.rule;
        let state = self.state;
        let is_open = self.process().purpose == Purpose::Open;
        if !is_open && (state.log_lock != NOBODY || !rule.foreign_settles) {
            self.go("goes by the published sequence", Step::EditFirst, |_, _| {});
            return;
        }
        let settled = |state: &mut State, index: usize| state.processes[index].settled = !is_open;
        let is_certain = |file: &File| file.header.is_certain() && file.frames.iter().all(Cell::is_certain);
        let relies = state.files.last().is_some_and(|last| rule.syncs_empty_file && !is_certain(last));
        if self.begins_no_file() && !relies {
            let step = self.after_settling();
            self.go("finds the log settled", step, |state, index| {
                settled(state, index);
                if is_open && state.list_lock == holder(index) {
                    state.list_lock = NOBODY;
                }
            });
            return;
        }
        if state.files.is_empty() {
            self.go("finds no WAL file", Step::MakeFile, settled);
            return;
        }
        self.go("writes the last WAL file again", Step::SettleSync, |state, index| {
            settled(state, index);
            let last_index = state.files.len() - 1;
            let count = state.frames_counted(rule, last_index, true);
            let last = &mut state.files[last_index];
            if rule.writes_again {
                last.header.write_again();
                for frame in &mut last.frames[..count] {
                    frame.write_again();
                }
            }
        });
    }

    pub fn settle_sync(&mut self) {
        let rule = self.run.rule;
        let step = if self.begins_no_file() { self.after_settling() } else { Step::MakeFile };
        self.go("syncs the last WAL file", step, |state, index| {
            let last_index = state.files.len() - 1;
            let count = number(state.frames_counted(rule, last_index, true));
            let last = &mut state.files[last_index];
            last.sync(true);
            if rule.publishes_settled {
                last.publish(rule, count);
            }
            let is_open = state.processes[index].purpose == Purpose::Open;
            if is_open && step != Step::MakeFile && state.list_lock == holder(index) {
                state.list_lock = NOBODY;
            }
        });
        if self.state.left.failed_syncs > 0 {
            self.give_up("cannot sync the last WAL file, says so and ends", |state| {
                state.left.failed_syncs -= 1;
                state.files.last_mut().expect("a file to settle").sync(false);
            });
        }
    }

    /// A new WAL file, whose header fixes the length of the last one.
    pub fn make_file(&mut self) {
        let rule = self.run.rule;
        let purpose = self.process().purpose;
        let fixed = self.state.files.len().checked_sub(1).map(|last_index| {
            let length = match purpose {
                Purpose::Void => usize::from(self.process().published),
                Purpose::Open | Purpose::Commit => self.state.frames_counted(rule, last_index, true),
            };
            (number(last_index) + 1, number(length))
        });
        self.go("makes a WAL file that fixes the last one's length", Step::SyncFile, |state, index| {
            let header = Cell::written(1 + fixed.map_or(0, |(_, length)| length));
            state.processes[index].published = 0;
            state.files.push(File { header, boot: state.boot, published: 0, frames: Row::new() });
        });
        if self.state.left.full_disks > 0 && purpose == Purpose::Commit {
            let commit = usize::from(self.commit());
            self.go("cannot make a WAL file: its edit will fix the length", Step::EditFirst, |state, _| {
                state.left.full_disks -= 1;
                state.fixes[commit] = fixed.expect("a file to settle");
            });
        }
    }

    pub fn sync_file(&mut self) {
        let own = holder(self.index);
        let purpose = self.process().purpose;
        let sync = |state: &mut State, succeeds| state.files.last_mut().expect("the new file").sync(succeeds);
        if self.state.left.failed_syncs > 0 {
            let fail = |state: &mut State| {
                state.left.failed_syncs -= 1;
                sync(state, false);
            };
            match purpose {
                Purpose::Void => self.end_unknown("cannot sync the new file: outcome unknown", fail),
                Purpose::Open | Purpose::Commit => {
                    self.give_up("cannot sync the new file, says so and ends", fail);
                }
            }
        }
        match purpose {
            Purpose::Commit => {
                self.go("syncs the new file", Step::EditFirst, |state, _| sync(state, true));
            }
            Purpose::Open => {
                let step = self.after_settling();
                self.go("syncs the new file and lets MANIFEST.lock go", step, |state, _| {
                    sync(state, true);
                    if state.list_lock == own {
                        state.list_lock = NOBODY;
                    }
                });
            }
            Purpose::Void => self.answer_add("syncs the new file and answers: not stored", false, |state| {
                sync(state, true);
                if state.list_lock == own {
                    state.list_lock = NOBODY;
                }
            }),
        }
    }
}

//! The steps of a commit itself: a frame of the log, an edit of the list, a request through the socket.

use crate::disk::NOTHING;
use crate::processes::{Kind, Moves, Purpose, Step, number};
use crate::state::State;

impl Moves<'_> {
    pub fn append(&mut self) {
        let rule = self.run.rule;
        let commit = self.commit();
        self.go("appends its frame", Step::SyncFrames, |state, _| {
            state.begin(commit);
            state.sequence[usize::from(commit)] = 1 + state.last_sequence(rule, true);
            let last = state.files.last_mut().expect("the writer's file");
            last.frames.write(last.frames.whole(), commit + 1);
            if !rule.sync_before_publish {
                last.publish(rule, number(last.frames.whole()));
            }
        });
    }

    pub fn sync_frames(&mut self) {
        let rule = self.run.rule;
        if !rule.voids_frames && self.state.left.failed_syncs > 0 {
            self.answer_add("cannot sync its frame and answers: not stored", false, |state| {
                state.left.failed_syncs -= 1;
                state.files.last_mut().expect("the writer's file").sync(false);
            });
            self.go("syncs its frame", Step::Publish, |state, _| {
                state.files.last_mut().expect("the writer's file").sync(true);
            });
            return;
        }
        self.sync(
            ["syncs its frame", "cannot sync its frame"],
            [Step::Publish, Step::WantList],
            |state, index, succeeds| {
                state.files.last_mut().expect("the writer's file").sync(succeeds);
                if !succeeds {
                    state.processes[index].purpose = Purpose::Void;
                }
            },
        );
    }

    pub fn publish(&mut self) {
        let (rule, index) = (self.run.rule, self.index);
        self.answer_add("publishes its frame and answers", true, |state| {
            let last = state.files.last_mut().expect("the writer's file");
            last.publish(rule, number(last.frames.whole()));
            state.processes[index].published = last.published;
        });
    }

    /// Answers an add of the log, and goes on to the next.
    pub fn answer_add(&mut self, what: &'static str, stored: bool, change: impl FnOnce(&mut State)) {
        let commit = self.commit();
        let kind = self.kind();
        let adds_done = self.process().adds_done + 1;
        let step = match kind {
            Kind::Writer { adds } if adds_done < adds => Step::Append,
            Kind::Collector => Step::Serve,
            _ => Step::Unlock,
        };
        self.go(what, step, |state, index| {
            change(state);
            state.over |= 1 << commit;
            state.processes[index].purpose = Purpose::Open;
            if kind == Kind::Collector {
                state.answer = Some(stored);
                return;
            }
            if step == Step::Append {
                state.processes[index].adds_done = adds_done;
            }
            answer(state, commit, stored);
        });
    }

    /// The collector takes a request, unless its claim is gone.
    pub fn serve(&mut self) {
        if !self.state.request {
            return;
        }
        let claims = self.run.rule.claims;
        let is_taken = !claims || self.state.claim;
        let (what, step) = if is_taken {
            ("takes the request and unlinks its claim", Step::Append)
        } else {
            ("drops a request without a claim", Step::Serve)
        };
        self.go(what, step, |state, _| {
            state.request = false;
            if claims {
                state.claim = false;
            }
        });
    }

    pub fn wait_for_answer(&mut self) {
        self.take_answer();
        if self.run.rule.claims && !self.state.claim {
            self.go("waits no longer and finds its claim gone", Step::WaitLonger, |_, _| {});
            return;
        }
        self.go("waits no longer and goes another way", Step::WantList, |state, index| {
            state.claim = false;
            state.processes[index].purpose = Purpose::Commit;
        });
    }

    pub fn wait_longer(&mut self) {
        self.take_answer();
        self.go("says: handed over, outcome unknown", Step::End, |_, _| {});
    }

    fn take_answer(&mut self) {
        let Some(stored) = self.state.answer else { return };
        let commit = self.commit();
        self.go("has its answer", Step::End, |state, _| answer(state, commit, stored));
    }

    pub fn edit(&mut self, copy: usize) {
        let rule = self.run.rule;
        let commit = self.commit();
        let whole = self.process().settled || rule.behind_whole_frames;
        let (what, step) = [
            ("appends its edit to MANIFEST", Step::EditFirstSync),
            ("appends its edit to MANIFEST.2", Step::EditSecondSync),
        ][copy];
        self.go(what, step, |state, _| {
            if copy == 0 {
                state.order[usize::from(commit)] = state.last_sequence(rule, whole);
            }
            // A page may come back from the disk with an edit that was overwritten: the place stays the same.
            let place = usize::from(state.list.published);
            let frames = &mut state.list.copies[copy];
            let place = if rule.keeps_place { place } else { frames.whole() };
            frames.write(place, commit + 1);
        });
    }

    pub fn sync_edit(&mut self, copy: usize) {
        let rule = self.run.rule;
        let good = if copy == 0 && rule.second_copy { Step::EditSecond } else { Step::EditPublish };
        if !rule.voids_edit && self.state.left.failed_syncs > 0 {
            self.give_up("cannot sync its edit and answers: not stored", |state| {
                state.left.failed_syncs -= 1;
                state.list.copies[copy].sync(false);
            });
            self.go("syncs its edit", good, |state, _| state.list.copies[copy].sync(true));
            return;
        }
        let bad = if copy == 1 { Step::VoidSecond } else { Step::VoidFirst };
        self.sync(["syncs its edit", "cannot sync its edit"], [good, bad], |state, _, succeeds| {
            state.list.copies[copy].sync(succeeds);
        });
    }

    pub fn publish_edit(&mut self) {
        let commit = self.commit();
        self.go("publishes its edit and answers", Step::End, |state, _| {
            state.list.published += 1;
            state.list.boot = state.boot;
            answer(state, commit, true);
        });
    }

    /// Overwrites the edit whose sync failed.
    pub fn void(&mut self, copy: usize) {
        let value = self.commit() + 1;
        let overwrite = |state: &mut State| {
            for edit in state.list.copies[copy].iter_mut().filter(|edit| edit.value == value) {
                edit.write(NOTHING);
            }
        };
        let (what, step) = [
            ("overwrites its edit in MANIFEST", Step::VoidFirstSync),
            ("overwrites its edit in MANIFEST.2", Step::VoidSecondSync),
        ][copy];
        if self.run.rule.syncs_void {
            self.go(what, step, |state, _| overwrite(state));
        } else {
            self.void_other(copy, what, overwrite);
        }
    }

    pub fn sync_void(&mut self, copy: usize) {
        if self.state.left.failed_syncs > 0 {
            self.end_unknown("cannot sync what it overwrote: outcome unknown", |state| {
                state.left.failed_syncs -= 1;
                state.list.copies[copy].sync(false);
            });
        }
        self.void_other(copy, "syncs what it overwrote", |state| state.list.copies[copy].sync(true));
    }

    /// MANIFEST.2 first, then MANIFEST, then the answer.
    fn void_other(&mut self, copy: usize, what: &'static str, change: impl FnOnce(&mut State)) {
        if copy == 1 {
            self.go(what, Step::VoidFirst, |state, _| change(state));
        } else {
            self.give_up(what, change);
        }
    }
}

fn answer(state: &mut State, commit: u8, stored: bool) {
    state.over |= 1 << commit;
    if stored {
        state.acked |= 1 << commit;
    } else {
        state.refused |= 1 << commit;
    }
}

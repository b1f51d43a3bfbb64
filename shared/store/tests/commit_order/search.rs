//! Looks at every state that a scenario leads to, and tells the shortest way to a fault.

use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;

use crate::disk::Cell;
use crate::processes::{Kind, Next, Run, Step};
use crate::rule::Rule;
use crate::state::{Mishaps, NOBODY, State, is_kept};

/// The processes of a scenario and what may go wrong.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub kinds: &'static [Kind],
    pub mishaps: Mishaps,
}

impl Scenario {
    pub fn name(&self) -> String {
        let letter = |kind: &Kind| match kind {
            Kind::Writer { adds: 1 } => "W".to_owned(),
            Kind::Writer { adds } => format!("W{adds}"),
            Kind::Foreign => "F".to_owned(),
            Kind::Collector => "C".to_owned(),
            Kind::Sender => "K".to_owned(),
        };
        let letters: String = self.kinds.iter().map(letter).collect();
        format!("{letters} with {:?}", self.mishaps)
    }
}

pub struct Found {
    pub states: usize,
    /// The fault and the steps that lead to it.
    pub fault: Option<(&'static str, String)>,
}

/// The process of a step that no process makes.
const OUTSIDE: usize = usize::MAX;

/// Breadth first, so the first fault has the shortest way.
pub fn search(rule: &Rule, scenario: &Scenario) -> Found {
    let run = Run { rule, kinds: scenario.kinds };
    let mut start = State::new(scenario.mishaps);
    for process in &mut start.processes[scenario.kinds.len()..] {
        process.step = Step::End;
    }
    let mut known: HashSet<State> = HashSet::from([start]);
    let mut queue = VecDeque::from([start]);
    let mut ways = vec![(0, OUTSIDE, "")];
    let mut nexts = Vec::new();
    let mut at = 0;
    while let Some(state) = queue.pop_front() {
        let fault = look(&run, &state, &mut nexts);
        if let Some((fault, last)) = fault {
            let way = tell(scenario, &ways, at, last);
            return Found { states: known.len(), fault: Some((fault, way)) };
        }
        for next in nexts.drain(..) {
            if known.insert(next.state) {
                queue.push_back(next.state);
                ways.push((at, next.process, next.what));
            }
        }
        at += 1;
    }
    Found { states: known.len(), fault: None }
}

/// Fills `nexts`; gives a fault of the state, or of a step from it together with that step.
fn look(
    run: &Run,
    state: &State,
    nexts: &mut Vec<Next>,
) -> Option<(&'static str, Option<(usize, &'static str)>)> {
    if let Some(fault) = state.fault(run.rule) {
        return Some((fault, None));
    }
    for (index, process) in state.processes.iter().enumerate() {
        if matches!(process.step, Step::End | Step::Dead) {
            continue;
        }
        run.steps(state, index, nexts);
        if state.left.kills > 0 && process.step != Step::Start {
            let mut killed = *state;
            killed.left.kills -= 1;
            run.kill(&mut killed, index);
            nexts.push(Next { state: killed, process: index, what: "is killed" });
        }
    }
    if nexts.is_empty() && state.is_stuck() {
        return Some(("a process waits for what cannot come", None));
    }
    forget(state, nexts);
    if state.left.power_cuts > 0 {
        let mut cut = *state;
        cut.left.power_cuts -= 1;
        cut.boot += 1;
        lose_cache(run, cut, "the power is cut", nexts);
    }
    let before = state.view(run.rule, false);
    let followed = state.followed(run.rule);
    for next in nexts.iter() {
        let longer = next.state.followed(run.rule);
        if longer == followed {
            continue;
        }
        if !is_kept(&before, &next.state.view(run.rule, false)) {
            let fault = "what readers saw is gone or in another order";
            return Some((fault, Some((next.process, next.what))));
        }
        if !followed.iter().zip(&longer).all(|(read, now)| now.starts_with(read)) {
            return Some(("a follower misses what comes before its place", Some((next.process, next.what))));
        }
    }
    if state.left.lost_mounts > 0 {
        let mut lost = *state;
        lost.left.lost_mounts -= 1;
        lost.seen = before;
        lose_cache(run, lost, "the mount is lost", nexts);
    }
    let word = state.files.last().map_or(0, |last| last.published);
    for older in 0..if state.left.lost_words > 0 { word } else { 0 } {
        let mut lost = *state;
        lost.left.lost_words -= 1;
        lost.seen = before;
        lost.files.last_mut().expect("a file with a word").published = older;
        nexts.push(Next { state: lost, process: OUTSIDE, what: "the published word is lost" });
    }
    None
}

/// A page that is not dirty may leave the page cache at any time; where a sync has failed it comes back changed.
fn forget(state: &State, nexts: &mut Vec<Next>) {
    for place in 0..cells(&mut state.clone()).len() {
        let cell = *cells(&mut state.clone())[place];
        if cell.dirty || cell.is_certain() {
            continue;
        }
        for value in cell.choices() {
            let mut forgotten = *state;
            cells(&mut forgotten)[place].reread(value);
            trim(&mut forgotten);
            nexts.push(Next {
                state: forgotten,
                process: OUTSIDE,
                what: "a page is read from the disk again",
            });
        }
    }
}

fn cells(state: &mut State) -> Vec<&mut Cell> {
    let mut all = Vec::new();
    for file in state.files.iter_mut() {
        all.push(&mut file.header);
        all.extend(file.frames.iter_mut());
    }
    for copy in &mut state.list.copies {
        all.extend(copy.iter_mut());
    }
    all
}

/// Drops places without anything.
fn trim(state: &mut State) {
    for file in state.files.iter_mut() {
        file.frames.trim();
    }
    for copy in &mut state.list.copies {
        copy.trim();
    }
}

/// Every process that has begun dies, and each cell is what the disk may hold.
fn lose_cache(run: &Run, mut state: State, what: &'static str, nexts: &mut Vec<Next>) {
    for index in 0..run.kinds.len() {
        if !matches!(state.processes[index].step, Step::Start | Step::End | Step::Dead) {
            run.kill(&mut state, index);
        }
    }
    (state.list_lock, state.log_lock, state.request) = (NOBODY, NOBODY, false);
    let mut states = vec![state];
    for place in 0..cells(&mut state).len() {
        let choices = cells(&mut state)[place].choices();
        let each = choices.flat_map(|value| {
            states.iter().map(move |state| {
                let mut chosen = *state;
                cells(&mut chosen)[place].reread(value);
                chosen
            })
        });
        states = each.collect();
    }
    // The words on the disk are as old as may be; those of another boot are not read, except by today's rule.
    let same_boot = |boot| boot == state.boot || !run.rule.whole_frames_after_boot;
    for published in words(state.list.published, same_boot(state.list.boot)) {
        let last = state.files.last().map_or((0, false), |last| (last.published, same_boot(last.boot)));
        for published_in_file in words(last.0, last.1) {
            for mut state in states.iter().copied() {
                state.list.published = published;
                if let Some(last) = state.files.last_mut() {
                    last.published = published_in_file;
                }
                trim(&mut state);
                state.pass_over_damaged_files();
                nexts.push(Next { state, process: OUTSIDE, what });
            }
        }
    }
}

fn words(published: u8, is_read: bool) -> std::ops::RangeInclusive<u8> {
    if is_read { 0..=published } else { 0..=0 }
}

fn tell(
    scenario: &Scenario,
    ways: &[(usize, usize, &'static str)],
    mut at: usize,
    last: Option<(usize, &'static str)>,
) -> String {
    let mut steps: Vec<_> = last.into_iter().collect();
    while at != 0 {
        let (before, process, what) = ways[at];
        steps.push((process, what));
        at = before;
    }
    let mut told = String::new();
    for (process, what) in steps.iter().rev() {
        match scenario.kinds.get(*process) {
            Some(kind) => writeln!(told, "  {} {kind:?} {what}", process + 1),
            None => writeln!(told, "  {what}"),
        }
        .expect("a string grows");
    }
    told
}

//! Tombstones, decoded: those of one name are found by the name, those of patterns are asked one after the other.
//!
//! Always true:
//!
//! - there is no limit here: whoever adds asks [`Sets::room_for`] first, whoever reads a list takes what it has
//! - a copy costs one count, and a change of a copy costs a part of [`SHARDS`] of the tombstones: a commit compares several
//!   copies of the list

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::{FullOf, NAMED_TOMBSTONES_MAX, TOMBSTONES_MAX};
use crate::format::listing::Order;
use crate::format::pattern::{Pattern, escaped};
use crate::format::tombstone::Tombstone;

/// Of patterns, or of one name: with more than so many, a compaction purges them where there is nothing else to do.
pub(super) const FEW: usize = 16;
/// As [`FEW`], of single names: nobody compares these with other names, but they take memory.
const FEW_NAMED: usize = 1 << 16;

/// Into how many parts those of single names are divided.
const SHARDS: usize = 256;

/// Deletes, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sets {
    /// Those of one name, divided by its hash; each part sorted by name, then order.
    pub(super) named: Shards<Arc<Tombstone>>,
    /// Where in `named` they are, divided by the order; each part sorted.
    places: Shards<(Order, u16)>,
    /// How many are in `named`. With none both have no parts, so that equal sets are equal.
    count: usize,
    /// All others, in the order of their commits.
    patterns: Arc<Vec<Tombstone>>,
}

impl Sets {
    pub(crate) fn len(&self) -> usize {
        self.count + self.patterns.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many are of one name.
    pub(crate) fn named_count(&self) -> usize {
        self.count
    }

    /// Those that are not of one name, in the order of their commits.
    pub(crate) fn patterns(&self) -> &[Tombstone] {
        &self.patterns
    }

    /// Those of one name, in no order.
    pub(crate) fn named(&self) -> impl Iterator<Item = &Tombstone> {
        self.named.parts().flatten().map(|tombstone| &**tombstone)
    }

    /// All, in no order.
    pub(crate) fn each(&self) -> impl Iterator<Item = &Tombstone> {
        self.named().chain(&*self.patterns)
    }

    /// All, in the order of their commits. It sorts them.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Tombstone> {
        let mut all: Vec<&Tombstone> = self.each().collect();
        all.sort_by(|a, b| by_order(a, b));
        all.into_iter()
    }

    /// The sequences at which those from a sequence on stand; in no order.
    pub(crate) fn sequences_since(&self, from: u64) -> impl Iterator<Item = u64> {
        let named = self.places.parts().flat_map(move |part| {
            let at = part.partition_point(|(order, _)| order.sequence < from);
            part[at..].iter().map(|(order, _)| order.sequence)
        });
        let at = self.patterns.partition_point(|tombstone| tombstone.order.sequence < from);
        named.chain(self.patterns[at..].iter().map(|tombstone| tombstone.order.sequence))
    }

    /// The greatest sequence at which one stands; 0 where there are none.
    pub(crate) fn last_sequence(&self) -> u64 {
        let named = self.places.parts().filter_map(|part| part.last()).map(|(order, _)| order.sequence);
        named.chain(self.patterns.last().map(|tombstone| tombstone.order.sequence)).max().unwrap_or(0)
    }

    /// Those that mean a series.
    pub(crate) fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Tombstone> + Clone {
        let own = if self.count > 0 { self.same(&escaped(name)) } else { &[] };
        let own = own.iter().map(|tombstone| &**tombstone);
        own.chain(&*self.patterns).filter(move |tombstone| tombstone.names(name))
    }

    /// Whether there are so many of a kind that they are to be purged before they are due.
    pub(crate) fn are_many(&self) -> bool {
        let is_crowded = |part: &[Arc<Tombstone>]| {
            part.windows(FEW + 1).any(|some| some[0].pattern.as_str() == some[FEW].pattern.as_str())
        };
        self.patterns.len() > FEW || self.count > FEW_NAMED || self.named.parts().any(is_crowded)
    }

    /// Whether one more of this pattern is kept; else what there are too many of, and how many.
    pub(crate) fn room_for(&self, pattern: &Pattern) -> Result<(), (FullOf, usize)> {
        let (of, count, max) = match pattern.name() {
            None => (FullOf::Patterns, self.patterns.len(), TOMBSTONES_MAX),
            Some(_) if self.count >= NAMED_TOMBSTONES_MAX => {
                (FullOf::Names, self.count, NAMED_TOMBSTONES_MAX)
            }
            Some(name) => (FullOf::OneName, self.same(&escaped(name)).len(), TOMBSTONES_MAX),
        };
        if count < max { Ok(()) } else { Err((of, count)) }
    }

    /// Adds one. One of the same name or pattern and the same order is replaced.
    pub(crate) fn push(&mut self, tombstone: Tombstone) {
        let tombstone = in_one_spelling(tombstone);
        if tombstone.pattern.name().is_none() {
            let patterns = Arc::make_mut(&mut self.patterns);
            match patterns.binary_search_by(|other| by_order(other, &tombstone)) {
                Ok(at) => patterns[at] = tombstone,
                Err(at) => patterns.insert(at, tombstone),
            }
            return;
        }
        let (order, at) = (tombstone.order, shard_of(tombstone.pattern.as_str()));
        let part = self.named.part_mut(at);
        match part.binary_search_by(|other| by_name(other, &tombstone)) {
            Ok(at) => part[at] = Arc::new(tombstone),
            Err(place) => {
                part.insert(place, Arc::new(tombstone));
                let places = self.places.part_mut(order_shard(order));
                let place = (order, at as u16);
                places.insert(places.partition_point(|other| *other < place), place);
                self.count += 1;
            }
        }
    }

    /// Removes those of these orders.
    pub(crate) fn remove(&mut self, orders: &BTreeSet<Order>) {
        for order in orders {
            let places = self.places.part(order_shard(*order));
            let from = places.partition_point(|(other, _)| other < order);
            let found = places[from..].iter().take_while(|(other, _)| other == order);
            let mut parts: Vec<u16> = found.map(|(_, part)| *part).collect();
            parts.dedup();
            for part in parts {
                self.retain_part(part.into(), &mut |tombstone| tombstone.order != *order);
            }
        }
        self.retain_patterns(&mut |tombstone| !orders.contains(&tombstone.order));
    }

    /// Keeps those of which `keep` says so; it is asked once of each.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Tombstone) -> bool) {
        if self.count > 0 {
            (0..SHARDS).for_each(|part| self.retain_part(part, &mut keep));
        }
        self.retain_patterns(&mut keep);
    }

    /// Removes earlier ones that say no more than this one does, which then takes their place: see
    /// [`Tombstone::takes_place_of`].
    pub(crate) fn join(&mut self, new: &mut Tombstone) {
        let (later, mut made) = (in_one_spelling(new.clone()), new.made);
        let mut keep = |before: &Tombstone| {
            let is_joined = later.takes_place_of(before);
            if is_joined {
                made = made.min(before.made);
            }
            !is_joined
        };
        if later.pattern.is_all() {
            self.retain(keep);
        } else if later.pattern.name().is_some() {
            let part = shard_of(later.pattern.as_str());
            self.retain_part(part, &mut keep);
        } else {
            self.retain_patterns(&mut keep);
        }
        new.made = made;
    }

    /// What has to be removed from `before` and what has to be added, to make it this; both in the order of commits. What
    /// they have in common costs nothing where one is a changed copy of the other.
    pub(crate) fn since(&self, before: &Sets) -> (Vec<Order>, Vec<Tombstone>) {
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        for (now, then) in self.named.differing(&before.named) {
            let (now, then) = (now.iter().map(|one| &**one), then.iter().map(|one| &**one));
            compare(now, then, by_name, &mut gone, &mut new);
        }
        if self.patterns != before.patterns {
            compare(self.patterns.iter(), before.patterns.iter(), by_order, &mut gone, &mut new);
        }
        gone.sort_unstable();
        gone.dedup();
        new.sort_by(by_order);
        (gone, new)
    }

    /// Those of the name with this text.
    fn same(&self, text: &str) -> &[Arc<Tombstone>] {
        let part = self.named.part(shard_of(text));
        let from = part.partition_point(|other| other.pattern.as_str() < text);
        let count = part[from..].partition_point(|other| other.pattern.as_str() == text);
        &part[from..from + count]
    }

    fn retain_part(&mut self, at: usize, keep: &mut dyn FnMut(&Tombstone) -> bool) {
        let Some(first) = self.named.part(at).iter().position(|tombstone| !keep(tombstone)) else { return };
        let (mut index, mut gone) = (0, Vec::new());
        self.named.part_mut(at).retain(|tombstone| {
            let is_kept = index < first || index > first && keep(tombstone);
            if !is_kept {
                gone.push(tombstone.order);
            }
            index += 1;
            is_kept
        });
        for order in &gone {
            let places = self.places.part_mut(order_shard(*order));
            if let Ok(place) = places.binary_search(&(*order, at as u16)) {
                places.remove(place);
            }
        }
        self.count -= gone.len();
        if self.count == 0 {
            (self.named, self.places) = Default::default();
        }
    }

    fn retain_patterns(&mut self, keep: &mut dyn FnMut(&Tombstone) -> bool) {
        let kept: Vec<bool> = self.patterns.iter().map(keep).collect();
        if kept.contains(&false) {
            let mut kept = kept.into_iter();
            Arc::make_mut(&mut self.patterns).retain(|_| kept.next().unwrap_or(true));
        }
    }
}

impl FromIterator<Tombstone> for Sets {
    fn from_iter<T: IntoIterator<Item = Tombstone>>(all: T) -> Sets {
        let mut tombstones = Sets::default();
        tombstones.extend(all);
        tombstones
    }
}

impl Extend<Tombstone> for Sets {
    fn extend<T: IntoIterator<Item = Tombstone>>(&mut self, all: T) {
        all.into_iter().for_each(|tombstone| self.push(tombstone));
    }
}

/// Of the patterns that mean one name and no other, the one that [`Pattern::exactly`] makes: they are compared by text.
pub(super) fn in_one_spelling(mut tombstone: Tombstone) -> Tombstone {
    if let Some(name) = tombstone.pattern.name()
        && escaped(name) != tombstone.pattern.as_str()
    {
        tombstone.pattern = Pattern::exactly(name);
    }
    tombstone
}

fn by_name(a: &Tombstone, b: &Tombstone) -> std::cmp::Ordering {
    a.pattern.as_str().cmp(b.pattern.as_str()).then(a.order.cmp(&b.order))
}

fn by_order(a: &Tombstone, b: &Tombstone) -> std::cmp::Ordering {
    a.order.cmp(&b.order).then_with(|| a.pattern.as_str().cmp(b.pattern.as_str()))
}

/// Compares two sorted runs.
fn compare<'a>(
    now: impl Iterator<Item = &'a Tombstone>,
    then: impl Iterator<Item = &'a Tombstone>,
    order: fn(&Tombstone, &Tombstone) -> std::cmp::Ordering,
    gone: &mut Vec<Order>,
    new: &mut Vec<Tombstone>,
) {
    let mut now = now.peekable();
    for before in then {
        while let Some(added) = now.next_if(|after| order(after, before).is_lt()) {
            new.push(added.clone());
        }
        match now.next_if(|after| order(after, before).is_eq()) {
            Some(after) if after == before => {}
            after => {
                gone.push(before.order);
                new.extend(after.cloned());
            }
        }
    }
    new.extend(now.cloned());
}

fn shard_of(name: &str) -> usize {
    // Its keys are always the same, and nothing depends on them: a part that is too long is only slower.
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    (hasher.finish() % SHARDS as u64) as usize
}

fn order_shard(order: Order) -> usize {
    (order.generation % SHARDS as u64) as usize
}

/// Sorted vectors that copies share as long as they are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shards<T>(Arc<Vec<Arc<Vec<T>>>>);

impl<T> Default for Shards<T> {
    fn default() -> Self {
        Shards(Arc::default())
    }
}

impl<T: Clone> Shards<T> {
    /// One of the parts; there may be none yet.
    fn part(&self, at: usize) -> &[T] {
        self.0.get(at).map_or(&[], |part| part)
    }

    fn part_mut(&mut self, at: usize) -> &mut Vec<T> {
        let parts = Arc::make_mut(&mut self.0);
        if parts.is_empty() {
            parts.resize(SHARDS, Arc::default());
        }
        Arc::make_mut(&mut parts[at])
    }

    fn parts(&self) -> impl Iterator<Item = &[T]> {
        self.0.iter().map(|part| &***part)
    }

    /// The parts that both do not share, in pairs.
    pub(super) fn differing<'a>(&'a self, other: &'a Shards<T>) -> impl Iterator<Item = (&'a [T], &'a [T])> {
        let count = if Arc::ptr_eq(&self.0, &other.0) { 0 } else { SHARDS };
        let is_shared = |at: usize| match (self.0.get(at), other.0.get(at)) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        (0..count).filter(move |at| !is_shared(*at)).map(|at| (self.part(at), other.part(at)))
    }
}

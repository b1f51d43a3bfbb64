//! The tombstones of a list.
//!
//! As long as nobody asks for more than those that mean one series, they stay as the list has them on disk: whoever opens
//! a store does not wait until each is decoded. Whoever changes them or walks over them decodes all of them once.

mod sets;
mod unread;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use self::sets::Sets;
use self::unread::Unread;
use crate::format::bytes::Fields;
use crate::format::listing::Order;
use crate::format::tombstone::Tombstone;

/// The most deletes of patterns that a store keeps at a time, since each pattern is compared with every name that is
/// read; also the most of one name.
pub const TOMBSTONES_MAX: usize = 1024;
/// The most deletes of single names that a store keeps at a time.
pub const NAMED_TOMBSTONES_MAX: usize = 1_000_000;

/// Deletes of which a store has as many as it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullOf {
    /// Deletes of patterns.
    Patterns,
    /// Deletes of one and the same series.
    OneName,
    /// Deletes of single series.
    Names,
}

/// Tombstones that may still hide dots. Copies share what they have in common.
#[derive(Clone, Debug)]
pub(crate) struct Tombstones(Form);

#[derive(Clone, Debug)]
enum Form {
    Read(Sets),
    Unread(Arc<Unread>),
}

impl Tombstones {
    /// Adds some, as [`Tombstone::encode`] wrote them. `None` where they make no sense.
    pub(crate) fn take(&mut self, count: usize, fields: &mut Fields<'_>) -> Option<()> {
        if count > 0 && matches!(&self.0, Form::Read(sets) if sets.is_empty()) {
            self.0 = Form::Unread(Arc::default());
        }
        match &mut self.0 {
            Form::Unread(unread) if unread.has_room_for(count) => {
                Arc::make_mut(unread).take(count, fields)?;
            }
            _ => {
                for _ in 0..count {
                    self.push(Tombstone::decode(fields)?);
                }
            }
        }
        Some(())
    }

    /// Those that mean a series.
    pub(crate) fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Tombstone> + Clone {
        let (unread, sets) = match &self.0 {
            Form::Read(sets) => (Vec::new(), Some(sets)),
            Form::Unread(unread) => match unread.read() {
                Some(sets) => (Vec::new(), Some(sets)),
                None => (unread.of(name), None),
            },
        };
        unread.into_iter().chain(sets.into_iter().flat_map(|sets| sets.of(name)))
    }

    /// Whether any means a series.
    pub(crate) fn mean(&self, name: &str) -> bool {
        self.of(name).next().is_some()
    }

    /// The sequences at which those from a sequence on stand; in no order.
    pub(crate) fn sequences_since(&self, from: u64) -> Vec<u64> {
        match &self.0 {
            Form::Read(sets) => sets.sequences_since(from).collect(),
            Form::Unread(unread) => unread.sequences().filter(|sequence| *sequence >= from).collect(),
        }
    }

    /// The greatest sequence at which one stands; 0 where there are none.
    pub(crate) fn last_sequence(&self) -> u64 {
        match &self.0 {
            Form::Read(sets) => sets.last_sequence(),
            Form::Unread(unread) => unread.sequences().max().unwrap_or(0),
        }
    }

    /// What has to be removed from `before` and what has to be added, to make it this; both in the order of commits. What
    /// they have in common costs nothing where one is a changed copy of the other.
    pub(crate) fn since(&self, before: &Tombstones) -> (Vec<Order>, Vec<Tombstone>) {
        if self.is_copy_of(before) { Default::default() } else { Sets::since(self, before) }
    }

    /// Whether both are unread copies of each other.
    fn is_copy_of(&self, other: &Tombstones) -> bool {
        match (&self.0, &other.0) {
            (Form::Unread(one), Form::Unread(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Default for Tombstones {
    fn default() -> Tombstones {
        Tombstones(Form::Read(Sets::default()))
    }
}

impl Deref for Tombstones {
    type Target = Sets;

    fn deref(&self) -> &Sets {
        match &self.0 {
            Form::Read(sets) => sets,
            Form::Unread(unread) => unread.sets(),
        }
    }
}

impl DerefMut for Tombstones {
    fn deref_mut(&mut self) -> &mut Sets {
        if let Form::Unread(unread) = &self.0 {
            self.0 = Form::Read(unread.sets().clone());
        }
        match &mut self.0 {
            Form::Read(sets) => sets,
            Form::Unread(_) => unreachable!("it was just read"),
        }
    }
}

impl PartialEq for Tombstones {
    fn eq(&self, other: &Tombstones) -> bool {
        self.is_copy_of(other) || **self == **other
    }
}

impl Eq for Tombstones {}

impl FromIterator<Tombstone> for Tombstones {
    fn from_iter<T: IntoIterator<Item = Tombstone>>(all: T) -> Tombstones {
        Tombstones(Form::Read(all.into_iter().collect()))
    }
}

impl Extend<Tombstone> for Tombstones {
    fn extend<T: IntoIterator<Item = Tombstone>>(&mut self, all: T) {
        (**self).extend(all);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::sets::in_one_spelling;
    use super::*;
    use crate::format::pattern::Pattern;
    use crate::format::tombstone::tests::tombstone;

    /// A tombstone of one of a few names or patterns.
    fn one(number: u64) -> Tombstone {
        let pattern = ["a", "b", r"a\%", r"a\b", r"a\\b", "a%", "%", "b%"][number as usize % 8];
        let last = number.is_multiple_of(3).then_some("b");
        tombstone(pattern, ("", last), (number % 5, 9 + number % 7), number)
    }

    /// The same as the list has them on disk.
    fn taken(all: &[Tombstone]) -> Tombstones {
        let mut bytes = Vec::new();
        all.iter().for_each(|tombstone| tombstone.encode(&mut bytes));
        let (mut taken, mut fields) = (Tombstones::default(), Fields(&bytes));
        let (first, rest) = (all.len() / 3, all.len() - all.len() / 3);
        [first, rest].into_iter().for_each(|count| taken.take(count, &mut fields).unwrap());
        assert!(fields.0.is_empty());
        taken
    }

    const NAMES: [&str; 6] = ["a", "b", "a%", r"a\b", "bc", "c"];

    fn orders<'a>(all: impl Iterator<Item = &'a Tombstone>) -> Vec<u64> {
        let mut all: Vec<u64> = all.map(|tombstone| tombstone.order.generation).collect();
        all.sort_unstable();
        all
    }

    proptest! {
        #[test]
        fn they_are_what_a_plain_list_is(
            steps in prop::collection::vec((0..60_u64, 0..4_u8), 0..60),
        ) {
            let (mut plain, mut found): (Vec<Tombstone>, _) = (Vec::new(), Tombstones::default());
            for (number, what) in steps {
                let (before, then) = (found.clone(), plain.clone());
                match what {
                    0 => {
                        found.remove(&[Order { sequence: 7, generation: number }].into());
                        plain.retain(|tombstone| tombstone.order.generation != number);
                    }
                    1 => {
                        found.retain(|tombstone| tombstone.first != number % 5);
                        plain.retain(|tombstone| tombstone.first != number % 5);
                    }
                    _ => {
                        found.push(one(number));
                        plain.retain(|tombstone| tombstone.order.generation != number);
                        plain.push(in_one_spelling(one(number)));
                        plain.sort_by_key(|tombstone| tombstone.order);
                    }
                }
                prop_assert_eq!(found.len(), plain.len());
                prop_assert!(found.iter().eq(&plain));
                prop_assert!(before.iter().eq(&then), "a copy changes nothing of what it was made from");
                for name in NAMES {
                    let named = plain.iter().filter(|tombstone| tombstone.names(name));
                    prop_assert_eq!(orders(found.of(name)), orders(named), "{}", name);
                }
                let anew: Tombstones = plain.iter().cloned().collect();
                let taken = taken(&plain);
                for name in NAMES {
                    let named = plain.iter().filter(|tombstone| tombstone.names(name));
                    prop_assert_eq!(orders(taken.of(name)), orders(named), "{}", name);
                    prop_assert_eq!(taken.mean(name), anew.mean(name));
                }
                prop_assert_eq!(taken.last_sequence(), anew.last_sequence());
                prop_assert_eq!((taken.sequences_since(7).len(), taken.sequences_since(8).len()), (plain.len(), 0));
                prop_assert!(plain.is_empty() || matches!(&taken.0, Form::Unread(all) if all.read().is_none()));
                prop_assert_eq!(&taken, &found);
                prop_assert_eq!(&found, &anew);
                for (now, then) in [(&found, &before), (&anew, &before), (&before, &found)] {
                    let (gone, new) = now.since(then);
                    let mut made = then.clone();
                    made.remove(&gone.into_iter().collect());
                    made.extend(new);
                    prop_assert_eq!(&made, now);
                }
                prop_assert_eq!(found.since(&anew), (Vec::new(), Vec::new()));
            }
        }
    }

    #[test]
    fn a_change_is_found_without_looking_at_what_is_shared() {
        let before: Tombstones =
            (0..5000).map(|number| tombstone(&format!("s.{number}"), ("", None), (0, 9), number)).collect();
        let mut after = before.clone();
        after.push(tombstone("s.7", ("", None), (20, 29), 5001));
        assert!(after.named.differing(&before.named).count() == 1);
        let (gone, new) = after.since(&before);
        assert_eq!((gone.len(), new.len()), (0, 1));
        assert_eq!(orders(after.of("s.7")), [7, 5001]);
    }

    #[test]
    fn each_kind_has_a_limit_of_its_own() {
        let (named, pattern) = (Pattern::new("a"), Pattern::new("a%"));
        let mut all = Tombstones::default();
        for number in 0..TOMBSTONES_MAX as u64 {
            assert_eq!((all.room_for(&named), all.room_for(&pattern)), (Ok(()), Ok(())));
            all.push(tombstone("a", ("", None), (number * 2, number * 2), number * 2));
            all.push(tombstone("a%", ("", None), (number * 2, number * 2), number * 2 + 1));
            assert_eq!(all.are_many(), number >= sets::FEW as u64);
        }
        assert_eq!(all.room_for(&named), Err((FullOf::OneName, TOMBSTONES_MAX)));
        assert_eq!(all.room_for(&pattern), Err((FullOf::Patterns, TOMBSTONES_MAX)));
        assert_eq!(all.room_for(&Pattern::new("b")), Ok(()));
        let many =
            (0..=sets::FEW as u64).map(|number| tombstone(&format!("{number}"), ("", None), (0, 9), number));
        assert!(!many.collect::<Tombstones>().are_many(), "no name is compared with them");
    }
}

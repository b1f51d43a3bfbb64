//! Sorted lists of which copies share what they have in common.
//!
//! A list is cut into parts of some dozens of items. A copy shares all parts; a change makes those parts anew that it
//! touches. So a copy, a change and a comparison with a copy cost little, however long the list is.
//!
//! Always true: items are sorted, no part is empty, and none has more than [`PART_MAX`] items.

use std::cmp::Ordering;
use std::sync::Arc;

/// The most items of a part; one that has more becomes two.
const PART_MAX: usize = 128;

/// An item of a [`Parts`].
pub(crate) trait Sorted {
    /// Its place beside another. No two items of a list are equal in this.
    fn place(&self, other: &Self) -> Ordering;
}

/// A sorted list.
#[derive(Debug)]
pub(crate) struct Parts<T> {
    parts: Vec<Arc<Vec<Arc<T>>>>,
    count: usize,
}

/// What tells two lists apart. An item that has changed is in both.
#[derive(Debug, PartialEq)]
pub(crate) struct Difference<'a, T> {
    /// What only the first list has, in order.
    pub(crate) gone: Vec<&'a Arc<T>>,
    /// What only the second list has, in order.
    pub(crate) new: Vec<&'a Arc<T>>,
}

impl<T: Sorted> Parts<T> {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn last(&self) -> Option<&Arc<T>> {
        self.parts.last()?.last()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<T>> + Clone {
        self.parts.iter().flat_map(|part| part.iter())
    }

    /// The items from the first on for which `is_before` does not hold; it holds for none behind that.
    pub(crate) fn from(&self, is_before: impl Fn(&T) -> bool) -> impl Iterator<Item = &Arc<T>> + Clone {
        let is_all_before = |part: &Arc<Vec<Arc<T>>>| part.last().is_some_and(|last| is_before(last));
        let number = self.parts.partition_point(is_all_before);
        let place = self.parts.get(number).map_or(0, |part| part.partition_point(|item| is_before(item)));
        self.parts[number..].iter().flat_map(|part| part.iter()).skip(place)
    }

    /// Adds an item at its place.
    pub(crate) fn insert(&mut self, item: Arc<T>) {
        let is_before = |other: &Arc<T>| other.place(&item).is_le();
        // What is new nearly always comes last.
        let behind = self.parts.partition_point(|part| part.last().is_some_and(is_before));
        let is_last = behind == self.parts.len();
        let number = behind.min(self.parts.len().saturating_sub(1));
        self.count += 1;
        let part = match self.parts.get_mut(number) {
            Some(part) if !(is_last && part.len() == PART_MAX) => part,
            _ => {
                self.parts.push(Arc::new(vec![item]));
                return;
            }
        };
        let place = part.partition_point(is_before);
        let part = Arc::make_mut(part);
        part.insert(place, item);
        if part.len() > PART_MAX {
            let half = part.split_off(PART_MAX / 2);
            self.parts.insert(number + 1, Arc::new(half));
        }
    }

    /// Keeps the items for which `is_kept` holds; it is asked once for each, in order.
    pub(crate) fn retain(&mut self, mut is_kept: impl FnMut(&T) -> bool) {
        let mut count = 0;
        self.parts.retain_mut(|part| {
            let kept: Vec<bool> = part.iter().map(|item| is_kept(item)).collect();
            if kept.contains(&false) {
                let mut kept = kept.into_iter();
                Arc::make_mut(part).retain(|_| kept.next().unwrap_or(true));
            }
            count += part.len();
            !part.is_empty()
        });
        self.count = count;
    }

    /// Removes an item.
    ///
    /// - `place`: the place of another item beside the one that is removed
    pub(crate) fn remove(&mut self, place: impl Fn(&T) -> Ordering) -> Option<Arc<T>> {
        let is_before = |item: &Arc<T>| place(item).is_lt();
        let number = self.parts.partition_point(|part| part.last().is_some_and(is_before));
        let part = self.parts.get_mut(number)?;
        let index = part.partition_point(is_before);
        if !place(part.get(index)?).is_eq() {
            return None;
        }
        let removed = Arc::make_mut(part).remove(index);
        if part.is_empty() {
            self.parts.remove(number);
        }
        self.count -= 1;
        Some(removed)
    }
}

impl<T: Sorted + PartialEq> Parts<T> {
    /// What tells this list from a later one. It costs little where one is a changed copy of the other.
    pub(crate) fn difference<'a>(&'a self, after: &'a Parts<T>) -> Difference<'a, T> {
        let mut difference = Difference { gone: Vec::new(), new: Vec::new() };
        let (mut then, mut now) = (Cursor::of(&self.parts), Cursor::of(&after.parts));
        loop {
            if let (Some(part), Some(other)) = (then.whole(), now.whole())
                && Arc::ptr_eq(part, other)
            {
                then.skip();
                now.skip();
                continue;
            }
            let place = match (then.item(), now.item()) {
                (None, None) => return difference,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(item), Some(other)) if Arc::ptr_eq(item, other) => Ordering::Equal,
                (Some(item), Some(other)) => item.place(other),
            };
            let gone = if place.is_le() { then.step() } else { None };
            let new = if place.is_ge() { now.step() } else { None };
            if gone.zip(new).is_none_or(|(gone, new)| !Arc::ptr_eq(gone, new) && gone != new) {
                difference.gone.extend(gone);
                difference.new.extend(new);
            }
        }
    }
}

/// How far a walk over the parts of a list has come.
struct Cursor<'a, T> {
    parts: &'a [Arc<Vec<Arc<T>>>],
    place: usize,
}

impl<'a, T> Cursor<'a, T> {
    fn of(parts: &'a [Arc<Vec<Arc<T>>>]) -> Cursor<'a, T> {
        Cursor { parts, place: 0 }
    }

    /// The next part, where none of its items was taken.
    fn whole(&self) -> Option<&'a Arc<Vec<Arc<T>>>> {
        self.parts.first().filter(|_| self.place == 0)
    }

    fn skip(&mut self) {
        (self.parts, self.place) = (&self.parts[1..], 0);
    }

    fn item(&self) -> Option<&'a Arc<T>> {
        self.parts.first()?.get(self.place)
    }

    fn step(&mut self) -> Option<&'a Arc<T>> {
        let item = self.item()?;
        self.place += 1;
        if self.place == self.parts[0].len() {
            self.skip();
        }
        Some(item)
    }
}

impl<T> Default for Parts<T> {
    fn default() -> Parts<T> {
        Parts { parts: Vec::new(), count: 0 }
    }
}

impl<T> Clone for Parts<T> {
    fn clone(&self) -> Parts<T> {
        Parts { parts: self.parts.clone(), count: self.count }
    }
}

impl<T: Sorted + PartialEq> PartialEq for Parts<T> {
    fn eq(&self, other: &Parts<T>) -> bool {
        let Difference { gone, new } = self.difference(other);
        gone.is_empty() && new.is_empty()
    }
}

impl<T: Sorted> FromIterator<Arc<T>> for Parts<T> {
    /// Sorts them.
    fn from_iter<I: IntoIterator<Item = Arc<T>>>(items: I) -> Parts<T> {
        let mut items: Vec<_> = items.into_iter().collect();
        items.sort_by(|a, b| a.place(b));
        let count = items.len();
        let mut parts = Vec::with_capacity(count.div_ceil(PART_MAX));
        let mut items = items.into_iter();
        while items.len() > 0 {
            parts.push(Arc::new(items.by_ref().take(PART_MAX).collect::<Vec<_>>()));
        }
        Parts { parts, count }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A place, and what else there is.
    type Item = (u16, u8);

    impl Sorted for Item {
        fn place(&self, other: &Item) -> Ordering {
            self.0.cmp(&other.0)
        }
    }

    fn items(list: &Parts<Item>) -> Vec<Item> {
        list.iter().map(|item| **item).collect()
    }

    fn owned(items: Vec<&Arc<Item>>) -> Vec<Item> {
        items.into_iter().map(|item| **item).collect()
    }

    /// What was done: whether to add, keep only some, or begin a new copy; and of which numbers.
    fn steps() -> impl Strategy<Value = Vec<(u8, u16, u8)>> {
        prop::collection::vec((0..20_u8, 0..2000_u16, any::<u8>()), 0..900)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_list_is_a_sorted_map_and_its_copies_stay_as_they_are(
            begun in prop::collection::btree_map(0..2000_u16, any::<u8>(), 0..700),
            steps in steps(),
        ) {
            let mut model: BTreeMap<u16, u8> = begun;
            let mut list: Parts<Item> = model.iter().map(|(place, what)| Arc::new((*place, *what))).collect();
            let mut copy = (list.clone(), model.clone());
            for (kind, place, what) in steps {
                match kind {
                    0 => copy = (list.clone(), model.clone()),
                    1 => {
                        let mut asked = Vec::new();
                        list.retain(|item| {
                            asked.push(item.0);
                            item.0 % 37 != place % 37
                        });
                        prop_assert!(asked.iter().eq(model.keys()));
                        model.retain(|of, _| of % 37 != place % 37);
                    }
                    2..=7 => {
                        let removed = list.remove(|item| item.0.cmp(&place));
                        prop_assert_eq!(removed.map(|item| item.1), model.remove(&place));
                    }
                    _ => {
                        list.remove(|item| item.0.cmp(&place));
                        list.insert(Arc::new((place, what)));
                        model.insert(place, what);
                    }
                }
                prop_assert_eq!(list.len(), model.len());
            }
            let expected: Vec<Item> = model.iter().map(|(place, what)| (*place, *what)).collect();
            prop_assert_eq!(items(&list), expected.clone());
            prop_assert_eq!(list.last().map(|item| **item), expected.last().copied());
            prop_assert!(list.parts.iter().all(|part| (1..=PART_MAX).contains(&part.len())));
            for from in [0, 1, 700, 1999, 2000] {
                let found = list.from(|item| item.0 < from).map(|item| **item);
                prop_assert!(found.eq(expected.iter().filter(|item| item.0 >= from).copied()), "{}", from);
            }
            let then: Vec<Item> = copy.1.iter().map(|(place, what)| (*place, *what)).collect();
            prop_assert_eq!(items(&copy.0), then.clone());
            let difference = copy.0.difference(&list);
            let only = |of: &[Item], other: &[Item]| -> Vec<Item> {
                of.iter().filter(|item| !other.contains(item)).copied().collect()
            };
            prop_assert_eq!(owned(difference.gone), only(&then, &expected));
            prop_assert_eq!(owned(difference.new), only(&expected, &then));
            prop_assert_eq!(copy.0 == list, then == expected);
        }
    }

    #[test]
    fn a_copy_with_one_more_item_shares_all_parts_but_one() {
        let list: Parts<Item> = (0..10_000).map(|place| Arc::new((place * 2, 0))).collect();
        let mut more = list.clone();
        more.insert(Arc::new((9999, 1)));
        let shared = list.parts.iter().filter(|part| more.parts.iter().any(|other| Arc::ptr_eq(part, other)));
        assert_eq!(shared.count(), list.parts.len() - 1);
        assert_eq!(owned(list.difference(&more).new), [(9999, 1)]);
    }
}

//! A table that only grows: what was made for each key that a macro named.
//!
//! Always true: looking takes no lock, and a value comes in on the slow path only. So a forked child finds every
//! place either empty or filled, whatever other threads were doing, and can fill the empty ones.
//!
//! A hash trie: the first bits of a key's hash choose among the places below a node.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::OnceLock;

use dotter_ring::SlowPath;

/// Bits of the hash that one node uses up.
const BITS: u32 = 3;

/// What is known, by key.
pub(crate) struct Known<K, V> {
    root: Place<K, V>,
    hasher: RandomState,
}

type Place<K, V> = OnceLock<Box<Node<K, V>>>;

struct Node<K, V> {
    key: K,
    value: V,
    below: [Place<K, V>; 1 << BITS],
}

impl<K: Hash + Eq + Clone, V> Known<K, V> {
    /// Works with the value of `key`, which `make` makes where the key is new. Nothing is locked meanwhile.
    ///
    /// Threads that come with one new key at the same time may each make a value; all work with the first.
    pub(crate) fn with<T>(&self, key: &K, make: impl FnOnce() -> V, work: impl FnOnce(&V) -> T) -> T {
        match self.find(key) {
            Ok(node) => work(&node.value),
            Err(_) => {
                let made = make();
                // A handler that interrupted this thread on the slow path keeps nothing.
                let Some(inside) = SlowPath::enter() else { return work(&made) };
                let value = self.put(&inside, key, made);
                drop(inside);
                work(value)
            }
        }
    }

    fn put(&self, _inside: &SlowPath, key: &K, value: V) -> &V {
        match self.find(key) {
            Ok(node) => &node.value,
            Err(place) => {
                // One thread is on the slow path, so the place is still empty.
                let below = [const { OnceLock::new() }; 1 << BITS];
                &place.get_or_init(|| Box::new(Node { key: key.clone(), value, below })).value
            }
        }
    }

    /// The node of that key, or the empty place where it would be.
    fn find(&self, key: &K) -> Result<&Node<K, V>, &Place<K, V>> {
        let mut hash = self.hasher.hash_one(key);
        let mut place = &self.root;
        while let Some(node) = place.get() {
            if node.key == *key {
                return Ok(node);
            }
            place = &node.below[(hash % (1 << BITS)) as usize];
            // Once its bits are used up, equal hashes stand one below the other.
            hash >>= BITS;
        }
        Err(place)
    }
}

impl<K, V> Default for Known<K, V> {
    fn default() -> Known<K, V> {
        Known { root: OnceLock::new(), hasher: RandomState::new() }
    }
}

impl<K, V> fmt::Debug for Known<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Known")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn each_key_has_the_value_that_was_made_for_it_first() {
        let (known, made) = (Known::<u64, u64>::default(), AtomicU64::new(0));
        let value = |key: u64| {
            let make = || {
                made.fetch_add(1, Relaxed);
                key * 2
            };
            known.with(&key, make, |value| *value)
        };
        for _ in 0..2 {
            assert!((0..5000).all(|key| value(key) == key * 2));
        }
        assert_eq!(made.load(Relaxed), 5000);
    }

    #[test]
    fn threads_that_come_with_one_key_at_once_work_with_one_value() {
        let known = Known::<u64, AtomicU64>::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for key in 0..1000 {
                        known.with(&key, AtomicU64::default, |value| value.fetch_add(1, Relaxed));
                    }
                });
            }
        });
        assert!((0..1000).all(|key| known.with(&key, AtomicU64::default, |value| value.load(Relaxed)) == 4));
    }
}

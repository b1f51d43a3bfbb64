//! What this thread has looked up in segments lately: shared blocks, times that chunks have in common, and how far it
//! has come in key blocks.
//!
//! Whoever reads series in their order comes to the same blocks and times again and again. Memory is bounded:
//! [`BLOCKS_MAX`] shared blocks of at most 8,192 dots, [`TIMES_MAX`] lists of as many times, and [`WALKS_MAX`] places
//! in key blocks, for each thread.

use std::cell::RefCell;
use std::rc::Rc;
use std::thread::LocalKey;

use crate::error::Error;
use crate::format::segment::keys::Walk;
use crate::format::segment::shared::Shared;

/// As many blocks as a merge has inputs, and a few more.
const BLOCKS_MAX: usize = 72;
/// As many as a series may have chunks in the segments that a scan reads at once; 2 MiB.
const TIMES_MAX: usize = 32;
/// A scan has one for each segment that it reads.
const WALKS_MAX: usize = 64;

/// Which block it is: the number of an open segment in this process, and the offset or number of the block in its file.
pub(crate) type Key = (u64, usize);

/// Which times they are: where their chunk begins, and the checksum of its times column.
type TimesKey = (Key, u32);

/// What was used last comes last.
type Items<K, T> = RefCell<Vec<(K, T)>>;

thread_local! {
    static BLOCKS: Items<Key, Rc<Shared>> = const { RefCell::new(Vec::new()) };
    static TIMES: Items<TimesKey, Rc<Vec<u64>>> = const { RefCell::new(Vec::new()) };
    static WALKS: Items<Key, Walk> = const { RefCell::new(Vec::new()) };
}

/// Moves an item to the end of a list, so that it is the last to be dropped.
fn bring_forward<K: PartialEq, T>(items: &mut [(K, T)], key: K) -> bool {
    let place = items.iter().rposition(|(of, _)| *of == key);
    place.iter().for_each(|place| items[*place..].rotate_left(1));
    place.is_some()
}

/// The item of a key: the one decoded before, or what `decode` gives.
///
/// - `most`: how many items are kept
fn decoded<K: Copy + PartialEq, T, E>(
    items: &'static LocalKey<Items<K, Rc<T>>>,
    most: usize,
    key: K,
    decode: impl FnOnce() -> Result<T, E>,
) -> Result<Rc<T>, E> {
    let known = items.with_borrow_mut(|items| {
        bring_forward(items, key).then(|| items.last().map(|(_, item)| item.clone())).flatten()
    });
    if let Some(item) = known {
        return Ok(item);
    }
    let item = Rc::new(decode()?);
    items.with_borrow_mut(|items| {
        if items.len() == most {
            items.remove(0);
        }
        items.push((key, item.clone()));
    });
    Ok(item)
}

/// A shared block: the one decoded before, or what `decode` gives.
pub(crate) fn block(key: Key, decode: impl FnOnce() -> Result<Shared, Error>) -> Result<Rc<Shared>, Error> {
    decoded(&BLOCKS, BLOCKS_MAX, key, decode)
}

/// The times of a chunk: those decoded before, or what `decode` gives.
///
/// - `key`: where the chunk begins
/// - `checksum`: that of its times column
pub(crate) fn times(
    key: Key,
    checksum: u32,
    decode: impl FnOnce() -> Result<Vec<u64>, String>,
) -> Result<Rc<Vec<u64>>, String> {
    decoded(&TIMES, TIMES_MAX, (key, checksum), decode)
}

/// Calls `look` with the walk over a key block: the one that has come furthest, or one that has not begun. Where the
/// block makes no sense, the walk is forgotten.
pub(crate) fn walk<T>(key: Key, look: impl FnOnce(&mut Walk) -> Option<T>) -> Option<T> {
    WALKS.with_borrow_mut(|walks| {
        if !bring_forward(walks, key) {
            // The oldest one's memory is used again.
            let mut walk = if walks.len() == WALKS_MAX { walks.remove(0).1 } else { Walk::default() };
            walk.reset();
            walks.push((key, walk));
        }
        let (_, walk) = walks.last_mut()?;
        let looked = look(walk);
        if looked.is_none() {
            walks.pop();
        }
        looked
    })
}

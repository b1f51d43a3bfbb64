//! What this thread has looked up in segments lately: shared blocks, and how far it has come in key blocks.
//!
//! Whoever reads series in their order comes to the same blocks again and again. Memory is bounded: [`BLOCKS_MAX`]
//! shared blocks of at most 8,192 dots, and [`WALKS_MAX`] places in key blocks, for each thread.

use std::cell::RefCell;
use std::rc::Rc;

use crate::error::Error;
use crate::format::segment::keys::Walk;
use crate::format::segment::shared::Shared;

/// As many blocks as a merge has inputs, and a few more.
const BLOCKS_MAX: usize = 20;
/// A scan has one for each segment that it reads.
const WALKS_MAX: usize = 64;

/// Which block it is: the number of an open segment in this process, and the offset or number of the block in its file.
pub(crate) type Key = (u64, usize);

thread_local! {
    /// What was used last comes last.
    static BLOCKS: RefCell<Vec<(Key, Rc<Shared>)>> = const { RefCell::new(Vec::new()) };
    static WALKS: RefCell<Vec<(Key, Walk)>> = const { RefCell::new(Vec::new()) };
}

/// Moves an item to the end of a list, so that it is the last to be dropped.
fn bring_forward<T>(items: &mut [(Key, T)], key: Key) -> bool {
    let place = items.iter().rposition(|(of, _)| *of == key);
    place.iter().for_each(|place| items[*place..].rotate_left(1));
    place.is_some()
}

/// A shared block: the one decoded before, or what `decode` gives.
pub(crate) fn block(key: Key, decode: impl FnOnce() -> Result<Shared, Error>) -> Result<Rc<Shared>, Error> {
    let known = BLOCKS.with_borrow_mut(|blocks| {
        bring_forward(blocks, key).then(|| blocks.last().map(|(_, block)| block.clone())).flatten()
    });
    if let Some(block) = known {
        return Ok(block);
    }
    let block = Rc::new(decode()?);
    BLOCKS.with_borrow_mut(|blocks| {
        if blocks.len() == BLOCKS_MAX {
            blocks.remove(0);
        }
        blocks.push((key, block.clone()));
    });
    Ok(block)
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

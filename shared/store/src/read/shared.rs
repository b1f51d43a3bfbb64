//! The shared blocks that this thread decoded last.
//!
//! Whoever walks over series comes to the same block again and again. Memory is bounded: [`BLOCKS_MAX`] blocks of at
//! most 8,192 dots a thread.

use std::cell::RefCell;
use std::rc::Rc;

use crate::error::Error;
use crate::format::segment::shared::Shared;

/// As many blocks as a merge has inputs, and a few more.
const BLOCKS_MAX: usize = 20;

/// Which block it is: the number of an open segment in this process, and the offset in its file.
pub(crate) type Key = (u64, usize);

thread_local! {
    /// The block that was used last comes last.
    static BLOCKS: RefCell<Vec<(Key, Rc<Shared>)>> = const { RefCell::new(Vec::new()) };
}

/// A block: the one decoded before, or what `decode` gives.
pub(crate) fn block(key: Key, decode: impl FnOnce() -> Result<Shared, Error>) -> Result<Rc<Shared>, Error> {
    let known = BLOCKS.with_borrow_mut(|blocks| {
        let place = blocks.iter().rposition(|(of, _)| *of == key)?;
        let last = blocks.len() - 1;
        blocks[place..].rotate_left(1);
        Some(blocks[last].1.clone())
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

//! The store's files: how they are changed, their paths and locks, the log and the list on disk.

pub(crate) mod steps;

pub(crate) mod content;
#[cfg(test)]
pub(crate) mod quick;

pub(crate) mod layout;
pub(crate) mod map;

pub(crate) mod immutable;
pub(crate) mod room;
pub(crate) mod segment;
pub(crate) mod spill;

pub(crate) mod log;
pub(crate) mod wal;

pub(crate) mod finished;
pub(crate) mod holds;
pub(crate) mod litter;
pub(crate) mod manifest;
pub(crate) mod names;
pub(crate) mod old;
pub(crate) mod order;

pub(crate) mod machine;
pub(crate) mod rules;

pub(crate) use steps::current;
pub use steps::{Disk, Free, System, free_room, in_boot, on};

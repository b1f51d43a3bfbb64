//! Changing a store: the writer of the log, foreign commits, deletes, seal, compaction, retention, backup, repair.

pub(crate) mod segment;

pub(crate) mod times;

pub(crate) mod writer;

pub(crate) mod aside;

pub(crate) mod add;
pub(crate) mod claim;
pub(crate) mod delete;

pub(crate) mod condense;
pub(crate) mod gather;
pub(crate) mod names;
pub(crate) mod seal;

pub(crate) mod compaction;
pub(crate) mod purge;
pub(crate) mod rename;
pub(crate) mod retention;
pub(crate) mod tidy;

pub(crate) mod backup;
pub(crate) mod repair;

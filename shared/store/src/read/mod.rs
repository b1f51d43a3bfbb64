//! Reading a store: snapshots of segments and of the live log, scans, filters, steps of archives, checks.

pub(crate) mod lately;
pub(crate) mod segment;

pub(crate) mod earlier;

pub(crate) mod names;

pub(crate) mod equal;
pub(crate) mod head;

pub(crate) mod fold;
pub(crate) mod series;

pub(crate) mod listed;
pub(crate) mod snapshot;

pub(crate) mod catch_up;
pub(crate) mod follow;
pub(crate) mod late;
pub(crate) mod missed;
pub(crate) mod news;
pub(crate) mod reader;

pub(crate) mod merge;
pub(crate) mod row;
pub(crate) mod scan;

pub(crate) mod filter;
pub(crate) mod newest;

pub(crate) mod step_walk;
pub(crate) mod steps;

pub(crate) mod stat;
pub(crate) mod verify;

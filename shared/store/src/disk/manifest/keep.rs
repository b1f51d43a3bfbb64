//! What a commit takes off the list and somebody who follows the store still needs: it is kept, up to
//! [`KEPT_BYTES_MAX`].
//!
//! A kept file moves into `kept/` when the list that named it before would have had it unlinked, which is by the next
//! commit: so a rebuilt list, which is made of what lies in `seg/` and `wal/`, does not take it for something that
//! counts.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;

use crate::disk::holds;
use crate::disk::layout::Layout;
use crate::format::kept::Kept;
use crate::format::listing::SegmentEntry;
use crate::format::manifest::Manifest;
use crate::format::parts::Difference;
use crate::format::position::Position;
use crate::format::tombstone::Tombstone;

/// The most bytes of files that are kept for those who follow the store.
const KEPT_BYTES_MAX: u64 = 1 << 30;
/// The most deletes that are kept for them.
const KEPT_DELETES_MAX: usize = 1 << 16;

/// Decides what is kept of that which `after` no longer lists. A seal has added the WAL files that it seals to those that
/// are kept.
pub(super) fn settle(layout: &Layout, before: &Manifest, after: &mut Manifest) {
    if before.rebuilt.is_some() {
        // Nobody knows what was deleted.
        return after.kept.forget_all(after.generation);
    }
    let segments = gone_segments(before, after);
    let deletes = gone_deletes(before, after);
    if segments.is_empty() && deletes.is_empty() && after.kept.is_empty() {
        return;
    }
    let needs = holds::needs(layout);
    let mut kept = std::mem::take(&mut after.kept);
    kept.segments.extend(segments);
    kept.segments.sort_by_key(|entry| entry.order);
    kept.deletes.extend(deletes);
    kept.deletes.sort_by_key(|delete| delete.edit);
    let mut unneeded = let_go(&mut kept, needs);
    // The commit that purges the last of it drops the delete.
    unneeded.append(&mut purged(&mut kept, before));
    unneeded.append(&mut purged(&mut kept, after));
    while kept.bytes() > KEPT_BYTES_MAX {
        unneeded.push(oldest(&mut kept));
    }
    let excess = kept.deletes.len().saturating_sub(KEPT_DELETES_MAX);
    for delete in kept.deletes.drain(..excess) {
        kept.forgotten = kept.forgotten.max(delete.edit);
    }
    // Of the others the commit before this one had no need either, and they are unlinked where they are. So are those that
    // have not been moved yet.
    let was_kept = |name: &String| before.kept.files().any(|(_, kept)| kept == *name);
    after.obsolete.extend(unneeded.iter().filter(|name| was_kept(name)).map(|name| format!("kept/{name}")));
    after.kept = kept;
}

/// Whether the next commit lets go of something that is kept.
pub(crate) fn is_due(layout: &Layout, list: &Manifest) -> bool {
    if list.kept.is_empty() {
        return false;
    }
    let before = list.kept.clone();
    let mut kept = before.clone();
    let_go(&mut kept, holds::needs(layout));
    kept != before
}

/// The segments that other processes have committed and that `after` has no more.
fn gone_segments(before: &Manifest, after: &Manifest) -> Vec<SegmentEntry> {
    let Difference { gone, new } = before.segments.difference(&after.segments);
    // One that is listed otherwise than before is in both.
    let stays = |entry: &SegmentEntry| new.iter().any(|other| other.name == entry.name);
    let is_of_others = |entry: &SegmentEntry| entry.level == 0 && entry.order.generation > 0;
    let gone = gone.into_iter().filter(|entry| is_of_others(entry) && !stays(entry));
    gone.map(|entry| (**entry).clone()).collect()
}

/// The deletes that `after` has no more, but for those that a later one says.
fn gone_deletes(before: &Manifest, after: &Manifest) -> Vec<Tombstone> {
    let (_, mut gone) = before.tombstones.since(&after.tombstones);
    if gone.is_empty() {
        return gone;
    }
    let (_, new) = after.tombstones.since(&before.tombstones);
    let is_said = |delete: &Tombstone| !delete.is_rename() && new.iter().any(|now| now.says_all_of(delete));
    // The mark of a rename means no series.
    gone.retain(|delete| delete.pattern.name() != Some("") && !is_said(delete));
    gone
}

/// Takes out what nobody needs; returns the names of its files.
///
/// - `needs`: what is needed at least lies behind this; `None` where nobody needs anything
fn let_go(kept: &mut Kept, needs: Option<Position>) -> Vec<String> {
    let is_needed = |edit: u64| needs.is_some_and(|needs| edit > needs.edit);
    let Kept { logs, segments, deletes, forgotten } = kept;
    let mut files = Vec::new();
    for log in logs.extract_if(.., |log| needs.is_none_or(|needs| log.last <= needs.sequence)) {
        files.push(log.name());
    }
    for entry in segments.extract_if(.., |entry| !is_needed(entry.order.generation)) {
        *forgotten = (*forgotten).max(entry.order.generation);
        files.push(entry.name);
    }
    for delete in deletes.extract_if(.., |delete| !is_needed(delete.edit)) {
        *forgotten = (*forgotten).max(delete.edit);
    }
    files
}

/// Takes out what may hold dots that are being purged; returns the names of its files.
fn purged(kept: &mut Kept, list: &Manifest) -> Vec<String> {
    let mut files = Vec::new();
    if kept.logs.is_empty() && kept.segments.is_empty() {
        return files;
    }
    for delete in list.tombstones.each().filter(|delete| delete.purge) {
        files
            .extend(kept.logs.extract_if(.., |log| log.before < delete.order.sequence).map(|log| log.name()));
        for entry in kept.segments.extract_if(.., |entry| delete.concerns(entry)) {
            kept.forgotten = kept.forgotten.max(entry.order.generation);
            files.push(entry.name);
        }
    }
    files
}

/// Takes out the oldest file; returns its name.
fn oldest(kept: &mut Kept) -> String {
    let log = kept.logs.first().map(|log| log.last);
    let segment = kept.segments.first().map(|entry| entry.order.sequence);
    if segment.is_none() || log.is_some() && log <= segment {
        return kept.logs.remove(0).name();
    }
    let entry = kept.segments.remove(0);
    kept.forgotten = kept.forgotten.max(entry.order.generation);
    entry.name
}

/// Moves a file aside that is kept, or unlinks it. A crash in between leaves it where it is; nothing depends on that.
///
/// - `file`: its path below the store
pub(super) fn put_away(layout: &Layout, kept: &Kept, file: &str) {
    let path = layout.dir.join(file);
    let is_kept = kept.files().any(|(folder, name)| file.split_once('/') == Some((folder, name.as_str())));
    let _ = if is_kept {
        let to = holds::kept_path(layout, file);
        let made = to.parent().map(|folder| DirBuilder::new().recursive(true).mode(0o700).create(folder));
        made.unwrap_or(Ok(())).and_then(|()| layout.disk.rename(&path, &to))
    } else {
        layout.disk.remove(&path)
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::kept::KeptLog;
    use crate::format::listing::{Order, StoreId, numbered_name};
    use crate::format::tombstone::tests::tombstone;

    fn kept() -> Kept {
        let segment = |sequence, generation, bytes| SegmentEntry {
            name: numbered_name("L0-20261120T14", generation),
            order: Order { sequence, generation },
            bytes,
            ..SegmentEntry::default()
        };
        Kept {
            logs: (1..5)
                .map(|id| KeptLog { id, epoch: 1, before: id * 10, last: id * 10 + 10, bytes: 100 })
                .collect(),
            segments: vec![segment(15, 4, 30), segment(27, 6, 50)],
            deletes: vec![tombstone("a", ("", None), (0, 9), 5), tombstone("b", ("", None), (0, 9), 7)],
            forgotten: 2,
        }
    }

    #[test]
    fn what_is_needed_stays_and_what_is_let_go_of_is_remembered() {
        let mut all = kept();
        assert!(let_go(&mut all, Some(Position { sequence: 10, edit: 2 })).is_empty());
        assert_eq!(all, kept());
        let mut some = kept();
        let files = let_go(&mut some, Some(Position { sequence: 30, edit: 5 }));
        assert_eq!(files, ["0000000001.wal", "0000000002.wal", &kept().segments[0].name]);
        assert_eq!((some.logs.len(), some.segments.len(), some.deletes.len(), some.forgotten), (2, 1, 1, 5));
        let mut none = kept();
        assert_eq!(let_go(&mut none, None).len(), 6);
        assert_eq!(none, Kept { forgotten: 7, ..Kept::default() });
    }

    #[test]
    fn the_oldest_goes_first_of_log_and_segments() {
        let mut kept = kept();
        let names: Vec<String> =
            std::iter::from_fn(|| (!kept.files().eq([])).then(|| oldest(&mut kept))).collect();
        let expected = ["", "0000000001.wal", "", "0000000002.wal", "0000000003.wal", "0000000004.wal"];
        assert_eq!(names.len(), expected.len());
        for (name, expected) in names.iter().zip(expected) {
            assert!(name == expected || expected.is_empty() && name.starts_with("L0-"), "{names:?}");
        }
        assert_eq!(kept.forgotten, 6);
    }

    /// Each of them is moved once: with one move of all the others for each delete, this takes hours.
    #[test]
    fn a_million_spent_deletes_are_let_go_of_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        layout.create().unwrap();
        let _hold =
            holds::Hold::take(&layout, StoreId::default(), "one", || Ok(Position::default())).unwrap();
        let count = 1_000_000;
        let delete = |edit: u64| tombstone(&format!("s{edit}"), ("", None), (0, 9), edit);
        let tombstones = (1..=count).map(delete).collect();
        let before = Manifest { generation: count, tombstones, ..Manifest::default() };
        let mut after = Manifest { generation: count + 1, ..Manifest::default() };
        settle(&layout, &before, &mut after);
        assert_eq!(after.kept.deletes.len(), KEPT_DELETES_MAX);
        assert_eq!(after.kept.deletes.last().unwrap().edit, count);
        assert_eq!(after.kept.forgotten, count - KEPT_DELETES_MAX as u64);
    }

    #[test]
    fn what_is_kept_has_a_limit_in_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        layout.create().unwrap();
        // Somebody needs everything.
        let _hold =
            holds::Hold::take(&layout, StoreId::default(), "one", || Ok(Position::default())).unwrap();
        let mut kept = kept();
        kept.logs.iter_mut().for_each(|log| log.bytes = KEPT_BYTES_MAX / 3);
        let before = Manifest { generation: 8, kept, ..Manifest::default() };
        let mut after = Manifest { generation: 9, ..before.clone() };
        settle(&layout, &before, &mut after);
        assert!(after.kept.bytes() <= KEPT_BYTES_MAX);
        assert_eq!(after.kept.logs.iter().map(|log| log.id).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(after.kept.segments.len(), 0);
        assert_eq!(after.kept.forgotten, 6);
        assert!(after.obsolete.contains(&"kept/0000000001.wal".to_owned()));
    }
}

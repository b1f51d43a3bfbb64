//! Edits: an edit is what one commit changes in the list. It is one frame of MANIFEST.
//!
//! Always true: the base and all edits behind it, applied in their order, give the list. An edit made from two lists,
//! applied to the first, gives the second.

use std::collections::BTreeSet;
use std::sync::Arc;

use dotter_dot::put_varint;

use super::Manifest;
use super::form::{put_files, take_files};
use super::names::encode_names;
use crate::format::bytes::Fields;
use crate::format::clock::Clock;
use crate::format::kept::Kept;
use crate::format::ledger::LedgerChange;
use crate::format::listing::{Order, SegmentEntry};
use crate::format::names::NamesEntry;
use crate::format::rules::Rules;
use crate::format::tombstone::Tombstone;

/// One thing that an edit changes.
#[derive(Debug)]
enum Change {
    /// The whole list.
    Base(Box<Manifest>),
    /// Segments that count from now on.
    Add(Vec<SegmentEntry>),
    /// Numbers of segments that no longer count.
    Remove(Vec<u64>),
    /// New tombstones.
    Delete(Vec<Tombstone>),
    /// Tombstones that have nothing left to hide, or that a later one covers, by their order.
    Forget(Vec<Order>),
    /// First live WAL file, fixed length, which id epochs are spent, files of finished rings; only these fields of the list are
    /// used.
    Log(Box<Manifest>),
    /// All that is kept for those who follow the store.
    Keep(Box<Kept>),
    /// The retention clock.
    Reading(Clock),
    /// All retention rules.
    Rules(Box<Rules>),
    /// Numbers of names files that are no longer listed, and new ones.
    Names(Vec<u64>, Vec<NamesEntry>),
    /// All files that the next commit unlinks.
    Obsolete(Vec<String>),
    /// The ledger.
    Accounts(Box<LedgerChange>),
}

/// What one commit changes.
#[derive(Debug)]
pub(crate) struct Edit(Vec<Change>);

impl Edit {
    /// The whole list.
    pub(crate) fn base(manifest: &Manifest) -> Edit {
        Edit(vec![Change::Base(Box::new(manifest.clone()))])
    }

    /// The edit that makes `before` become `after`.
    pub(crate) fn between(before: &Manifest, after: &Manifest) -> Edit {
        let mut changes = Vec::new();
        let listed = before.segments.difference(&after.segments);
        let gone = listed.gone.iter().map(|entry| entry.number());
        push_some(&mut changes, gone.collect(), Change::Remove);
        let new = listed.new.iter().map(|entry| SegmentEntry::clone(entry));
        push_some(&mut changes, new.collect(), Change::Add);
        let (gone, new) = after.tombstones.since(&before.tombstones);
        push_some(&mut changes, gone, Change::Forget);
        push_some(&mut changes, new, Change::Delete);
        if before.kept != after.kept {
            changes.push(Change::Keep(Box::new(after.kept.clone())));
        }
        if before.clock != after.clock {
            changes.push(Change::Reading(after.clock.clone()));
        }
        if before.rules != after.rules {
            changes.push(Change::Rules(Box::new(Rules::clone(&after.rules))));
        }
        if let Some((gone, new)) = after.names_since(before) {
            changes.push(Change::Names(gone, new));
        }
        if before.obsolete != after.obsolete {
            changes.push(Change::Obsolete(after.obsolete.clone()));
        }
        if before.log() != after.log() {
            changes.push(Change::Log(Box::new(Manifest {
                wal_first: after.wal_first,
                fixed: after.fixed,
                ids_from: after.ids_from,
                ledger_files: after.ledger_files.clone(),
                ..Manifest::default()
            })));
        }
        let ledger = after.ledger.since(&before.ledger);
        if !ledger.is_empty() {
            changes.push(Change::Accounts(Box::new(ledger)));
        }
        Edit(changes)
    }

    /// Appends it.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        put_varint(out, self.0.len() as u64);
        for change in &self.0 {
            body.clear();
            let kind = change.encode(&mut body);
            out.push(kind);
            put_varint(out, body.len() as u64);
            out.extend_from_slice(&body);
        }
    }

    /// Whether it holds the whole list.
    pub(crate) fn is_base(payload: &[u8]) -> bool {
        let mut fields = Fields(payload);
        fields.varint() == Some(1) && fields.byte() == Some(BASE)
    }
}

const BASE: u8 = 0;
const ADD: u8 = 1;
const REMOVE: u8 = 2;
const DELETE: u8 = 3;
const FORGET: u8 = 4;
const LOG: u8 = 5;
const READING: u8 = 6;
const RULES: u8 = 7;
const OBSOLETE: u8 = 8;
const ACCOUNTS: u8 = 9;
const NAMES: u8 = 10;
const KEEP: u8 = 11;

fn push_some<T>(changes: &mut Vec<Change>, things: Vec<T>, change: impl Fn(Vec<T>) -> Change) {
    if !things.is_empty() {
        changes.push(change(things));
    }
}

impl Change {
    /// Appends its fields and returns its kind.
    fn encode(&self, out: &mut Vec<u8>) -> u8 {
        match self {
            Change::Base(list) => {
                list.encode(out);
                BASE
            }
            Change::Add(entries) => {
                put_varint(out, entries.len() as u64);
                entries.iter().for_each(|entry| entry.encode(out));
                ADD
            }
            Change::Remove(numbers) => {
                put_varint(out, numbers.len() as u64);
                numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
                REMOVE
            }
            Change::Delete(tombstones) => {
                put_varint(out, tombstones.len() as u64);
                tombstones.iter().for_each(|tombstone| tombstone.encode(out));
                DELETE
            }
            Change::Forget(orders) => {
                put_varint(out, orders.len() as u64);
                for order in orders {
                    put_varint(out, order.sequence);
                    put_varint(out, order.generation);
                }
                FORGET
            }
            Change::Log(list) => {
                list.encode_log(out);
                LOG
            }
            Change::Keep(kept) => {
                kept.encode(out);
                KEEP
            }
            Change::Reading(clock) => {
                clock.encode(out);
                READING
            }
            Change::Rules(rules) => {
                rules.encode(out);
                RULES
            }
            Change::Names(gone, new) => {
                encode_names(gone, new, out);
                NAMES
            }
            Change::Obsolete(files) => {
                put_files(files, out);
                OBSOLETE
            }
            Change::Accounts(change) => {
                change.encode(out);
                ACCOUNTS
            }
        }
    }
}

/// The tombstones in the payload of an edit, as far as it can be read.
pub(crate) fn deletes(payload: &[u8]) -> Vec<Tombstone> {
    let mut fields = Fields(payload);
    let count = fields.count(2).unwrap_or_default();
    let mut found = Vec::new();
    for _ in 0..count {
        let Some((kind, bytes)) = fields.byte().zip(fields.number()) else { break };
        let Some(body) = fields.bytes(bytes) else { break };
        let mut body = Fields(body);
        if kind == DELETE {
            let count = body.count(8).unwrap_or_default();
            found.extend((0..count).map_while(|_| Tombstone::decode(&mut body)));
        }
    }
    found
}

impl Manifest {
    /// Applies an edit's payload. `None` where it makes no sense or holds a kind that this build does not know; then
    /// part of it may have been applied.
    ///
    /// - `number`: the number of the edit
    pub(crate) fn apply(&mut self, number: u64, payload: &[u8]) -> Option<()> {
        let mut fields = Fields(payload);
        for _ in 0..fields.count(2)? {
            let (kind, bytes) = (fields.byte()?, fields.number()?);
            let mut body = Fields(fields.bytes(bytes)?);
            self.apply_change(kind, &mut body)?;
            if !body.0.is_empty() {
                return None;
            }
        }
        self.generation = number;
        fields.0.is_empty().then_some(())
    }

    fn apply_change(&mut self, kind: u8, fields: &mut Fields<'_>) -> Option<()> {
        match kind {
            BASE => {
                *self = Manifest { store: self.store, lineage: self.lineage, ..Manifest::default() };
                self.decode(fields)?;
            }
            ADD => {
                for _ in 0..fields.count(10)? {
                    self.segments.push(SegmentEntry::decode(fields)?);
                }
            }
            REMOVE => {
                let mut gone = BTreeSet::new();
                for _ in 0..fields.count(8)? {
                    gone.insert(u64::from_le_bytes(fields.array()?));
                }
                self.segments.retain(|entry| !gone.contains(&entry.number()));
            }
            DELETE => {
                let count = fields.count(8)?;
                self.tombstones.take(count, fields)?;
            }
            FORGET => {
                let mut gone = BTreeSet::new();
                for _ in 0..fields.count(2)? {
                    gone.insert(Order { sequence: fields.varint()?, generation: fields.varint()? });
                }
                self.tombstones.remove(&gone);
            }
            LOG => self.decode_log(fields)?,
            KEEP => self.kept = Kept::decode(fields)?,
            READING => self.clock = Clock::decode(fields)?,
            RULES => self.rules = Arc::new(Rules::decode(fields)?),
            OBSOLETE => self.obsolete = take_files(fields)?,
            ACCOUNTS => self.ledger.apply(fields)?,
            NAMES => self.apply_names(fields)?,
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dotter_dot::{Incarnation, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::format::clock::Machine;
    use crate::format::kept::KeptLog;
    use crate::format::ledger::Account;
    use crate::format::ledger::files::LedgerFile;
    use crate::format::listing::{StoreId, numbered_name};
    use crate::format::tombstone::tests::tombstone;

    fn entry(number: u64) -> SegmentEntry {
        SegmentEntry {
            name: numbered_name("L0-20261120T00", number),
            bytes: 1000 + number,
            first_time: Timestamp::from_nanos(number),
            last_time: Timestamp::from_nanos(50 + number),
            order: Order { sequence: number / 3, generation: number % 3 },
            dots: 10,
            series: 2,
            store: StoreId([9; 16]),
            ..SegmentEntry::default()
        }
    }

    /// A list that holds what these numbers stand for.
    fn list(numbers: &[u64]) -> Manifest {
        let mut list = Manifest {
            store: StoreId([9; 16]),
            lineage: StoreId([8; 16]),
            generation: 12,
            wal_first: 4,
            ..Manifest::default()
        };
        // The sum of an application stays for good.
        list.ledger.open(Incarnation([255; 16]), "app", None, Timestamp::from_nanos(1));
        list.ledger.finish(Incarnation([255; 16]), &[], Timestamp::from_nanos(2));
        for number in numbers {
            match number % 7 {
                0 => list.segments.push(entry(*number)),
                1 => {
                    let mut rules = Rules::clone(&list.rules);
                    rules.take_own(
                        std::path::Path::new("retention.toml"),
                        &format!("[[rule]]\npattern = \"{number}%\"\nkeep = \"raw:{number}h\"\n"),
                    );
                    list.rules = Arc::new(rules);
                }
                2 => {
                    let pattern = if number % 2 == 0 { "a%" } else { "ab" };
                    list.tombstones.push(tombstone(pattern, ("", None), (0, *number), *number));
                }
                3 => {
                    let account = Account { application: "app".to_owned(), ..Account::default() };
                    let ring = Incarnation([*number as u8; 16]);
                    list.ledger.accounts.insert(ring, account);
                    if number % 2 == 0 {
                        list.ledger.finish(ring, &[(1, *number)], Timestamp::from_nanos(*number));
                    }
                }
                5 => {
                    let (name, first) = (numbered_name("names", *number), *number as u32);
                    list.names.push(NamesEntry { name, epoch: number / 9, first, ..NamesEntry::default() });
                }
                4 if number % 2 == 0 => {
                    let log = KeptLog { id: *number, epoch: 3, before: 5, last: 9, bytes: *number };
                    list.kept.logs.push(log);
                    list.kept.segments.push(entry(*number));
                    list.kept.deletes.push(tombstone("a", ("", None), (0, *number), *number));
                    list.kept.forgotten = *number;
                }
                4 => list.obsolete.push(format!("wal/{number:010}.wal")),
                _ => {
                    (list.wal_first, list.ids_from) = (number / 2, *number);
                    list.fixed = Some((*number, 5000)).filter(|_| number % 4 == 1);
                    let name = numbered_name("20261120", *number);
                    let file = LedgerFile { name, bytes: 300, rings: *number, ..LedgerFile::default() };
                    list.ledger_files = Vec::from_iter(Some(file).filter(|_| number % 8 > 3));
                    list.ledger.totals.replaced = *number;
                    let wall = Timestamp::from_nanos(*number);
                    list.clock.read(&Machine { wall, boot: [*number as u8; 16], since_boot: Duration::ZERO });
                }
            }
        }
        list.names.sort_by_key(NamesEntry::place);
        list
    }

    fn encoded(edit: &Edit) -> Vec<u8> {
        let mut bytes = Vec::new();
        edit.encode(&mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn an_edit_makes_one_list_of_the_other(
            before in prop::collection::btree_set(0..200_u64, 0..40),
            after in prop::collection::btree_set(0..200_u64, 0..40),
        ) {
            let of = |numbers: &BTreeSet<u64>| list(&numbers.iter().copied().collect::<Vec<_>>());
            let (before, after) = (of(&before), Manifest { generation: 13, ..of(&after) });
            let mut found = before.clone();
            prop_assert!(found.apply(13, &encoded(&Edit::between(&before, &after))).is_some());
            prop_assert!(found.says_what(&after), "{found:?} {after:?}");
            let mut found = before.clone();
            let base = encoded(&Edit::base(&after));
            prop_assert!(Edit::is_base(&base) && found.apply(13, &base).is_some() && found.says_what(&after));
        }

        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), numbers in prop::collection::vec(0..200_u64, 0..20)) {
            let _ = list(&numbers).apply(13, &bytes);
            deletes(&bytes);
            let mut bytes = encoded(&Edit::between(&Manifest::default(), &list(&numbers)));
            if let Some(last) = bytes.last_mut() {
                *last ^= 0xFF;
                let _ = list(&[]).apply(13, &bytes);
            }
        }
    }

    #[test]
    fn an_edit_costs_its_own_size() {
        let many: Vec<u64> = (0..10_000).map(|number| number * 7).collect();
        let (before, mut after) = (list(&many), list(&many));
        after.segments.push(entry(70_001));
        assert!(encoded(&Edit::between(&before, &after)).len() < 100);
        assert!(encoded(&Edit::between(&before, &before)).len() == 1);
    }

    #[test]
    fn what_a_later_build_wrote_is_refused_and_not_passed_over() {
        assert_eq!(list(&[]).apply(13, b"\x01\x63\x00"), None);
    }

    #[test]
    fn nothing_that_lies_elsewhere_is_called_obsolete() {
        for (name, is_ours) in [
            ("seg/a", true),
            ("ledger/a", true),
            ("seg/../b", false),
            ("ledger/../b", false),
            ("MANIFEST", false),
            ("/b", false),
        ] {
            let after = Manifest { obsolete: vec![name.to_owned()], ..list(&[]) };
            let found = list(&[]).apply(13, &encoded(&Edit::between(&list(&[]), &after)));
            assert_eq!(found.is_some(), is_ours, "{name}");
        }
    }

    #[test]
    fn the_deletes_of_an_edit_can_be_had_by_themselves() {
        let after = list(&[2, 9, 6, 3]);
        let found = deletes(&encoded(&Edit::between(&list(&[]), &after)));
        assert!(found.iter().eq(after.tombstones.iter()));
    }
}

//! What a commit changes in the ledger of the list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dotter_dot::{Incarnation, put_varint};

use crate::format::bytes::Fields;
use crate::format::ledger::account::Account;
use crate::format::ledger::application::Application;
use crate::format::ledger::finished::{Sums, decode_sums};
use crate::format::ledger::lately::Lately;
use crate::format::ledger::{Ledger, Totals};

/// What a commit changes in the ledger of the list.
#[derive(Debug)]
pub(crate) struct LedgerChange {
    totals: Totals,
    /// Whether the totals differ from those before.
    is_other: bool,
    /// New or changed.
    accounts: BTreeMap<Incarnation, Account>,
    gone: BTreeSet<Incarnation>,
    /// New or changed.
    sums: Sums,
    /// Whether none of the finished rings in no file is so any more, but those of `over`.
    over_afresh: bool,
    over: BTreeSet<Incarnation>,
    /// Whether none of the whole accounts of finished rings stays, but those of `lately`.
    lately_afresh: bool,
    lately: Lately,
}

impl LedgerChange {
    /// Whether nothing changes.
    pub(crate) fn is_empty(&self) -> bool {
        let is_some = self.is_other || self.over_afresh || self.lately_afresh;
        let LedgerChange { accounts, gone, sums, over, lately, .. } = self;
        !is_some
            && accounts.is_empty()
            && gone.is_empty()
            && sums.is_empty()
            && over.is_empty()
            && lately.is_empty()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.totals.encode(out);
        put_varint(out, self.accounts.len() as u64);
        self.accounts.iter().for_each(|(of, account)| account.encode(*of, out));
        put_rings(&self.gone, out);
        put_varint(out, self.sums.len() as u64);
        self.sums.iter().for_each(|(name, application)| application.encode(name, out));
        out.push(self.over_afresh as u8);
        put_rings(&self.over, out);
        out.push(self.lately_afresh as u8);
        self.lately.encode(out);
    }
}

impl Ledger {
    /// What this ledger has that `before` has not; the files are not compared.
    pub(crate) fn since(&self, before: &Ledger) -> LedgerChange {
        let is_new = |(of, account): &(&Incarnation, &Account)| before.accounts.get(of) != Some(*account);
        let accounts = self.accounts.iter().filter(is_new).map(|(of, account)| (*of, account.clone()));
        let gone = before.accounts.keys().filter(|of| !self.accounts.contains_key(of)).copied();
        let is_other = |(name, sum): &(&String, &Arc<Application>)| {
            before.sums.get(*name).is_none_or(|known| !Arc::ptr_eq(known, sum) && known != *sum)
        };
        let sums = self.sums.iter().filter(is_other).map(|(name, sum)| (name.clone(), sum.clone()));
        let over_afresh = !before.over.is_subset(&self.over);
        let over = match over_afresh {
            true => self.over.clone(),
            false => self.over.difference(&before.over).copied().collect(),
        };
        let new = self.lately.since(&before.lately);
        let mut lately = before.lately.clone();
        lately.extend(&new);
        let lately_afresh = lately != self.lately;
        let lately = if lately_afresh { self.lately.clone() } else { new };
        LedgerChange {
            totals: self.totals,
            is_other: self.totals != before.totals,
            accounts: accounts.collect(),
            gone: gone.collect(),
            sums: sums.collect(),
            over_afresh,
            over,
            lately_afresh,
            lately,
        }
    }

    /// Applies what [`LedgerChange::encode`] wrote.
    pub(crate) fn apply(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        self.totals = Totals::decode(fields)?;
        for _ in 0..fields.count(16)? {
            let of = Incarnation(fields.array()?);
            self.accounts.insert(of, Account::decode(fields)?);
        }
        for of in take_rings(fields)? {
            self.accounts.remove(&of);
        }
        self.sums.extend(decode_sums(fields)?);
        if fields.byte()? == 1 {
            self.over.clear();
        }
        self.over.append(&mut take_rings(fields)?);
        if fields.byte()? == 1 {
            self.lately = Lately::default();
        }
        self.lately.extend(&Lately::decode(fields)?);
        Some(())
    }
}

pub(super) fn put_rings(rings: &BTreeSet<Incarnation>, out: &mut Vec<u8>) {
    put_varint(out, rings.len() as u64);
    rings.iter().for_each(|ring| out.extend_from_slice(&ring.0));
}

pub(super) fn take_rings(fields: &mut Fields<'_>) -> Option<BTreeSet<Incarnation>> {
    (0..fields.count(16)?).map(|_| Some(Incarnation(fields.array()?))).collect()
}

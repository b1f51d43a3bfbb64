//! The whole accounts of the rings that finished last, to be looked at. They count in the sums of their applications,
//! and nowhere else.

use std::collections::VecDeque;
use std::sync::Arc;

use dotter_dot::{Incarnation, put_varint};

use crate::format::bytes::Fields;
use crate::format::ledger::account::Account;

/// The most accounts.
const ACCOUNTS_MAX: usize = 1000;
/// The most lanes, reasons and spans in all of them together.
const PARTS_MAX: usize = 16_000;
/// The fewest bytes of an account.
const ACCOUNT_BYTES_MIN: usize = 16 + 11;

/// The newest accounts of finished rings, in the order in which the rings finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lately {
    /// Shared by the copies of a ledger.
    accounts: VecDeque<(Incarnation, Arc<Account>)>,
    parts: usize,
}

impl Lately {
    /// Adds an account; the oldest go where there are too many, or too much is in them.
    pub(crate) fn push(&mut self, incarnation: Incarnation, account: Arc<Account>) {
        self.parts += account.parts();
        self.accounts.push_back((incarnation, account));
        while self.accounts.len() > ACCOUNTS_MAX || self.parts > PARTS_MAX {
            let Some((_, gone)) = self.accounts.pop_front() else { break };
            self.parts -= gone.parts();
        }
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Incarnation, &Account)> {
        self.accounts.iter().map(|(incarnation, account)| (*incarnation, &**account))
    }

    pub(crate) fn get(&self, incarnation: Incarnation) -> Option<&Account> {
        self.iter().find(|(of, _)| *of == incarnation).map(|(_, account)| account)
    }

    /// The accounts that were pushed since `before` was a copy of this, and are still there.
    pub(crate) fn since(&self, before: &Lately) -> Lately {
        let last = before.accounts.back().map(|(incarnation, _)| *incarnation);
        let known = self.accounts.iter().rposition(|(of, _)| Some(*of) == last).map_or(0, |at| at + 1);
        let mut new = Lately::default();
        self.accounts.iter().skip(known).for_each(|(of, account)| new.push(*of, account.clone()));
        new
    }

    /// Pushes all of `new`.
    pub(crate) fn extend(&mut self, new: &Lately) {
        new.accounts.iter().for_each(|(of, account)| self.push(*of, account.clone()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.accounts.len() as u64);
        self.iter().for_each(|(incarnation, account)| account.encode(incarnation, out));
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Lately> {
        let mut lately = Lately::default();
        for _ in 0..fields.count(ACCOUNT_BYTES_MIN)? {
            let incarnation = Incarnation(fields.array()?);
            lately.push(incarnation, Arc::new(Account::decode(fields)?));
        }
        Some(lately)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ledger::LaneAccount;
    use crate::format::ledger::application::tests::account;

    fn ring(number: u32) -> Incarnation {
        let mut bytes = [9; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        Incarnation(bytes)
    }

    /// Shows P21.
    #[test]
    fn the_newest_accounts_stay_and_wide_ones_are_fewer() {
        let mut lately = Lately::default();
        (0..3000).for_each(|number| lately.push(ring(number), Arc::new(account(number as u8))));
        assert!(lately.iter().map(|(of, _)| of).eq((2000..3000).map(ring)));
        let wide = Account {
            lanes: (0..1999).map(|lane| (lane, LaneAccount::default())).collect(),
            ..Account::default()
        };
        (0..10).for_each(|number| lately.push(ring(number), Arc::new(wide.clone())));
        assert!(lately.iter().map(|(of, _)| of).eq((2..10).map(ring)));
        lately.push(ring(77), Arc::new(account(7)));
        assert_eq!((lately.get(ring(77)), lately.get(ring(2))), (Some(&account(7)), None));
    }

    #[test]
    fn what_was_pushed_since_makes_the_one_from_the_other() {
        let mut before = Lately::default();
        for count in [0, 3, 900, 2, 0, 1500, 7] {
            let mut after = before.clone();
            let from = before
                .iter()
                .last()
                .map_or(0, |(of, _)| u32::from_be_bytes([of.0[0], of.0[1], of.0[2], of.0[3]]) + 1);
            (from..from + count).for_each(|number| after.push(ring(number), Arc::new(account(number as u8))));
            let new = after.since(&before);
            assert_eq!(new.iter().count(), count.min(1000) as usize);
            let mut bytes = Vec::new();
            new.encode(&mut bytes);
            let mut fields = Fields(&bytes);
            before.extend(&Lately::decode(&mut fields).unwrap());
            assert!(fields.0.is_empty());
            assert_eq!(before, after);
        }
    }
}

//! `dotter-store ledger`: what became of every dot. Open rings and the sums over finished ones are all there is; the rings
//! that finished last are shown one by one too, and are part of the sums.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use dotter_dot::{Incarnation, Reason};
use dotter_store::{Account, Application, Ledger, LossSpan, Reader, Totals};
use serde_json::{Map, Value, json};

use crate::error::Error;

pub(crate) fn run(dir: &Path, as_json: bool, out: &mut impl Write) -> Result<(), Error> {
    let snapshot = Reader::open(dir)?.snapshot();
    for what in snapshot.ledger().damage() {
        eprintln!("dotter-store: a file of finished rings is damaged: {what}");
    }
    if as_json {
        writeln!(out, "{}", to_json(&snapshot.store().to_string(), snapshot.ledger()))
    } else {
        print(snapshot.ledger(), out)
    }
    .map_err(Error::Output)
}

/// Of a ring that was taken for a new one where a file of finished rings is damaged.
const UNSURE: &str = ", MAY HAVE FINISHED BEFORE and count twice";

fn print(ledger: &Ledger, out: &mut impl Write) -> io::Result<()> {
    for (incarnation, account) in ledger.iter() {
        print_account(incarnation, account, out)?;
    }
    for (name, application) in ledger.applications() {
        print_application(name, application, out)?;
    }
    let Totals { stored_other, replaced, deleted, expired, damaged, condensed, renamed } = ledger.totals;
    writeln!(
        out,
        "all: {stored_other} stored over other ways than rings, {renamed} once more under a new name; of all stored, \
         {replaced} replaced so far (by seals and merges), {deleted} deleted, {expired} expired, {damaged} damaged, {condensed} condensed into rows \
         that stand for several"
    )
}

fn print_account(incarnation: Incarnation, account: &Account, out: &mut impl Write) -> io::Result<()> {
    let end = match account.finished {
        Some(time) => format!("finished {time}"),
        None => "open".to_owned(),
    };
    let owner = account.owner.map_or(String::new(), |uid| format!(", owner uid {uid}"));
    let Account { application, first_seen, .. } = account;
    let unsure = if account.unsure { UNSURE } else { "" };
    writeln!(out, "{application} {incarnation}{owner}, first seen {first_seen}, {end}{unsure}")?;
    let balance = if account.is_balanced() { "=" } else { "IS NOT" };
    writeln!(
        out,
        "  published {} {balance} stored {} + lost {}{} + refused {}{}{}",
        account.published(),
        account.stored(),
        account.lost(),
        in_brackets(lost(account)),
        account.refused(),
        in_brackets(refused(&account.refused, &account.refused_in_ring)),
        plus_elsewhere(account.elsewhere()),
    )
}

fn print_application(name: &str, application: &Application, out: &mut impl Write) -> io::Result<()> {
    let Application { rings, unsure, first_seen, finished, .. } = application;
    let unsure = if *unsure > 0 { format!("; {unsure} of them{UNSURE}") } else { String::new() };
    writeln!(
        out,
        "{name}: all finished rings: {rings}, first seen {first_seen}, the last finished {finished}{unsure}"
    )?;
    writeln!(
        out,
        "  published {} = stored {} + lost {}{} + refused {}{}{}",
        application.published(),
        application.stored,
        application.lost(),
        in_brackets(application.lost.clone()),
        application.refused(),
        in_brackets(refused(&application.refused, &application.refused_in_ring)),
        plus_elsewhere(application.elsewhere),
    )
}

fn lost(account: &Account) -> BTreeMap<Reason, u64> {
    account.lost.iter().map(|(reason, tally)| (*reason, tally.count)).collect()
}

/// Dots refused by the ring and by the collector, by reason.
fn refused(by_collector: &BTreeMap<Reason, u64>, in_ring: &BTreeMap<Reason, u64>) -> BTreeMap<Reason, u64> {
    let mut refused = by_collector.clone();
    for (reason, count) in in_ring {
        *refused.entry(*reason).or_default() += count;
    }
    refused.retain(|_, count| *count > 0);
    refused
}

/// The text for dots that another store keeps; empty where there are none.
fn plus_elsewhere(count: u64) -> String {
    if count == 0 { String::new() } else { format!(" + elsewhere {count}") }
}

fn in_brackets(counts: BTreeMap<Reason, u64>) -> String {
    if counts.is_empty() {
        return String::new();
    }
    let parts: Vec<String> = counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    format!(" ({})", parts.join(", "))
}

fn to_json(store: &str, ledger: &Ledger) -> Value {
    let rings: Vec<Value> = ledger.iter().map(|(incarnation, account)| ring(incarnation, account)).collect();
    let applications: Vec<Value> =
        ledger.applications().map(|(name, application)| finished(name, application)).collect();
    let Totals { stored_other, replaced, deleted, expired, damaged, condensed, renamed } = ledger.totals;
    json!({
        "store": store,
        "rings": rings,
        "applications": applications,
        "totals": {
            "stored_other": stored_other, "replaced": replaced, "deleted": deleted, "expired": expired,
            "damaged": damaged, "condensed": condensed, "renamed": renamed,
        },
    })
}

fn ring(incarnation: Incarnation, account: &Account) -> Value {
    let lanes: Vec<Value> = account
        .lanes
        .iter()
        .map(|(number, lane)| {
            json!({
                "lane": number, "next": lane.next, "stored": lane.stored, "lost": lane.lost, "refused": lane.refused,
                "elsewhere": lane.elsewhere,
            })
        })
        .collect();
    json!({
        "incarnation": incarnation.to_string(),
        "application": account.application,
        "owner_uid": account.owner,
        "first_seen": account.first_seen.to_string(),
        "finished": account.finished.map(|time| time.to_string()),
        "published": account.published(),
        "stored": account.stored(),
        "lost": account.lost(),
        "lost_by_reason": counts(lost(account)),
        "refused": account.refused(),
        "refused_by_reason": counts(refused(&account.refused, &account.refused_in_ring)),
        "elsewhere": account.elsewhere(),
        "balanced": account.is_balanced(),
        "unsure": account.unsure,
        "lanes": lanes,
    })
}

/// The sum over all rings of an application that have finished, those that are in `rings` too.
fn finished(name: &str, application: &Application) -> Value {
    let losses: Vec<Value> = application
        .losses
        .iter()
        .map(|loss| {
            let LossSpan { lane, first, next, times, lost } = loss.span;
            json!({
                "incarnation": loss.incarnation.to_string(), "reason": loss.reason.to_string(), "lane": lane,
                "first": first, "next": next, "lost": lost,
                "from": times.from.to_string(), "until": times.until.to_string(),
            })
        })
        .collect();
    json!({
        "application": name,
        "rings": application.rings,
        "unsure": application.unsure,
        "first_seen": application.first_seen.to_string(),
        "finished": application.finished.to_string(),
        "published": application.published(),
        "stored": application.stored,
        "lost": application.lost(),
        "lost_by_reason": counts(application.lost.clone()),
        "refused": application.refused(),
        "refused_by_reason": counts(refused(&application.refused, &application.refused_in_ring)),
        "elsewhere": application.elsewhere,
        "losses": losses,
    })
}

fn counts(counts: BTreeMap<Reason, u64>) -> Map<String, Value> {
    counts.into_iter().map(|(reason, count)| (reason.to_string(), count.into())).collect()
}

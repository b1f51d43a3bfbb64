//! `dotter-store retain`: what is older than its rule keeps it goes, or is only told.

use std::io::Write;
use std::path::Path;

use dotter_daemon::stop_on_signals;
use dotter_store::{Going, Limits, Machine, Outlook, Reader, Retained, Taken};

use crate::args::RetainOptions;
use crate::error::Error;

pub(crate) fn run(dir: &Path, options: &RetainOptions, out: &mut impl Write) -> Result<(), Error> {
    let stop = stop_on_signals().map_err(Error::Signals)?;
    let cancel = || stop.is_set();
    if options.dry_run {
        return told(dir, &cancel, out);
    }
    take_rules(dir)?;
    let limits = Limits { max_bytes: options.max_bytes };
    let retained = dotter_store::retain(dir, &Machine::now()?, &limits, &cancel)?;
    say(&retained);
    dotter_store::tidy(dir, &Machine::now()?)?;
    Ok(())
}

/// Gives the store the rules that its files say, and names what could not be read.
pub(crate) fn take_rules(dir: &Path) -> Result<(), Error> {
    let Taken { skipped, .. } = dotter_store::take_rules(dir)?;
    for rule in skipped {
        eprintln!(
            "retention rules: {rule}; skipped: nothing is removed of series that it means, or may mean"
        );
    }
    Ok(())
}

/// Says what a pass did.
pub(crate) fn say(retained: &Retained) {
    let Retained { segments, dots, steps, for_size, waiting, held, held_dots, above_limit, .. } = *retained;
    eprintln!("{segments} segments went: {dots} dots expired, {steps} steps became coarser or went");
    if for_size > 0 {
        eprintln!("{for_size} of them went before their time: the store was above its size limit");
    }
    if above_limit > 0 {
        eprintln!(
            "the store is {above_limit} bytes above its size limit still: what is left is the newest of each tier, \
             is not compacted yet, or is damaged"
        );
    }
    if held > 0 {
        eprintln!(
            "{held} segments with {held_dots} rows stay for up to a day of running time: the rules have changed"
        );
    }
    if waiting > 0 {
        eprintln!(
            "{waiting} segments wait for an older one of their time, or are damaged; verify says which"
        );
    }
}

/// Prints the rule of each series, then what will go.
fn told(dir: &Path, cancel: &dyn Fn() -> bool, out: &mut impl Write) -> Result<(), Error> {
    let Outlook { rules, are_new, tiers, is_clock_known } =
        dotter_store::outlook(dir, &Machine::now()?, cancel)?;
    for rule in rules.skipped() {
        eprintln!("retention rules: {rule}; skipped");
    }
    for name in Reader::open(dir)?.snapshot().series() {
        writeln!(out, "{name}\t{}", rules.told(name.as_str())).map_err(Error::Output)?;
    }
    let mut line = |text: String| writeln!(out, "{text}").map_err(Error::Output);
    line(String::new())?;
    for Going { tier, dots, now, day, held } in tiers {
        let what = if tier.step.is_zero() { "dots" } else { "steps" };
        let end = match (tier.keep.is_zero(), now, held.is_zero()) {
            (true, ..) => "none of them goes".to_owned(),
            (_, now, true) => format!("{now} go now, {day} within a day"),
            (_, now, false) => {
                let hours = held.as_secs().div_ceil(3600);
                format!(
                    "the time of {now} is over, of {day} within a day; held for {hours} h, as rules have changed"
                )
            }
        };
        line(format!("{tier}: {dots} {what}; {end}"))?;
    }
    if are_new {
        line("the store takes these rules with its next pass".to_owned())?;
    }
    if !is_clock_known {
        line(
            "the retention clock has not run for a day: nothing that is kept for longer goes before"
                .to_owned(),
        )?;
    }
    Ok(())
}

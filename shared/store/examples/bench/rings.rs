//! What finished rings cost: the memory of who writes them, opens the store, and follows it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dotter_dot::{Dots, Incarnation, Reason, Timestamp};
use dotter_store::disk;
use dotter_store::{Machine, Reader, RingPart, Transaction, Writer, seal_all, tidy};

use crate::Failure;
use crate::many::Quick;
use crate::stages::memory;

/// Rings of the smaller work: one each 9 s for 30 days.
const RINGS: u64 = 300_000;
/// Rings of the larger work: one a second.
const MONTH: u64 = 2_600_000;
/// Passes over which the rings come, 18 hours apart: the first rings are not old enough to go.
const PASSES: u64 = 39;
const BETWEEN: Duration = Duration::from_secs(18 * 3600);

/// How many rings a work has.
fn rings(work: &str) -> u64 {
    if work == "month" { MONTH } else { RINGS }
}

fn ring(number: u64) -> Incarnation {
    let spread = u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    Incarnation((spread ^ (spread >> 64)).to_le_bytes())
}

fn machine(pass: u64) -> Machine {
    let since_boot = BETWEEN * pass as u32;
    let wall = Timestamp::from_nanos(1_700_000_000_000_000_000).saturating_add(since_boot);
    Machine { wall, boot: [1; 16], since_boot }
}

fn publish(writer: &mut Writer, number: u64) -> Result<(), Failure> {
    let refusals = [(Reason::TOO_BIG, 1 + number % 7)];
    let now = Timestamp::from_nanos(number);
    let part = RingPart {
        incarnation: ring(number),
        application: ["cron", "shell", "build"][number as usize % 3],
        refusals: &refusals,
        now,
        ..RingPart::default()
    };
    writer.append(&Transaction { ring: Some(part), lanes: &[], dots: &Dots::default() })?;
    Ok(writer.finish(&RingPart { refusals: &[], ..part }, &[], now)?)
}

/// Makes a store with as many finished rings as the work has.
///
/// - `say`: gets the name of a figure and its value
pub(crate) fn fill(dir: &Path, work: &str, say: &dyn Fn(&str, f64)) -> Result<(), Failure> {
    let count = rings(work);
    disk::on(Arc::new(Quick), || {
        let mut writer = Writer::open(dir)?;
        let (before, begun) = (memory("RssAnon")?, Instant::now());
        for pass in 0..PASSES {
            for number in count * pass / PASSES..count * (pass + 1) / PASSES {
                publish(&mut writer, number)?;
            }
            writer.close_file()?;
            seal_all(dir, &|| false)?;
            tidy(dir, &machine(pass))?;
            writer.unsealed();
        }
        while tidy(dir, &machine(PASSES))? {}
        writer.unsealed();
        say("made", count as f64 / begun.elapsed().as_secs_f64() / 1e3);
        say("writer", memory("RssAnon")? - before);
        let is_known = |number| writer.ledger().is_finished(ring(number));
        let known = (0..count).step_by(997).all(is_known) && !is_known(count);
        if known { Ok(()) } else { Err("a finished ring is not known".into()) }
    })
}

/// Opens the store and follows it while a ring ends.
pub(crate) fn read(dir: &Path, work: &str, say: &dyn Fn(&str, f64)) -> Result<(), Failure> {
    let count = rings(work);
    let both = || -> Result<(f64, f64), Failure> { Ok((memory("VmRSS")?, memory("RssAnon")?)) };
    disk::on(Arc::new(Quick), || {
        let (before, begun) = (both()?, Instant::now());
        let mut reader = Reader::open(dir)?;
        say("open", begun.elapsed().as_secs_f64() * 1e3);
        let opened = both()?;
        say("open-resident", opened.0 - before.0);
        say("open-own", opened.1 - before.1);
        let snapshot = reader.snapshot();
        let known: u64 = snapshot.ledger().applications().map(|(_, sum)| sum.rings).sum();
        if known != count
            || !(0..count).step_by(997).all(|number| snapshot.ledger().is_finished(ring(number)))
        {
            return Err(format!("{known} finished rings, expected {count}").into());
        }
        drop(snapshot);
        let asked = both()?;
        let mut writer = Writer::open(dir)?;
        publish(&mut writer, count)?;
        writer.close_file()?;
        seal_all(dir, &|| false)?;
        tidy(dir, &machine(PASSES))?;
        drop(writer);
        let (before, begun) = (both()?, Instant::now());
        reader.refresh(None)?;
        say("refresh", begun.elapsed().as_secs_f64() * 1e3);
        let after = both()?;
        say("refresh-own", after.1 - before.1);
        say("asked-resident", asked.0 - opened.0);
        if reader.snapshot().ledger().is_finished(ring(count)) {
            Ok(())
        } else {
            Err("it is not known".into())
        }
    })
}

//! Segments that lie in a tier by rules that are no longer in force: their names are walked once. Where all are in that
//! tier by the new rules too, and the change holds all of them or none, only the list notes the new mark and the hold; else
//! the segment is written apart. So is one of what lay far ahead, when the wall clock has come to it.

use std::collections::BTreeMap;

use crate::disk::manifest;
use crate::error::Error;
use crate::format::place::nanos;
use crate::write::compaction::Compaction;
use crate::write::compaction::plan::{Goal, Job, View};

/// The most segments that one commit marks anew.
const TAGGED_MAX: usize = 256;

/// What was found.
pub(super) enum Found {
    /// Nothing is left to do.
    Nothing,
    /// Some segments were marked anew, and there may be more.
    Tagged,
    /// A segment has to be written apart.
    Job(Job),
}

impl Compaction<'_> {
    /// Marks stale segments anew, or names the first that has to be written apart. A damaged one stays as it is.
    pub(super) fn stale(&self, view: &View<'_>) -> Result<Found, Error> {
        let mark = view.mark;
        let running = nanos(view.manifest.clock.running());
        // By number, until when they are held.
        let mut tagged = BTreeMap::new();
        let mut apart = None;
        for entry in view.stale() {
            let Some(place) = entry.place else { continue };
            let segment = match self.open(entry) {
                Err(Error::Damaged { .. }) => continue,
                other => other?,
            };
            let mut is_same = !place.is_reached(view.manifest.clock.newest());
            let mut held = None;
            for name in segment.names("") {
                if (self.cancel)() {
                    return Err(Error::GivenUp);
                }
                if !is_same {
                    break;
                }
                let (rules, name) = (&view.manifest.rules, name?);
                let of_name = rules.held(name.as_str(), running);
                is_same = rules.tier(name.as_str(), place.tier.step) == place.tier
                    && *held.get_or_insert(of_name) == of_name;
            }
            if !is_same {
                let (inputs, level) = (vec![entry.clone()], entry.level);
                apart = Some(Job { inputs, level, into: Goal::Apart });
                break;
            }
            tagged.insert(entry.number(), held.unwrap_or(0));
            if tagged.len() >= TAGGED_MAX {
                break;
            }
        }
        if tagged.is_empty() {
            return Ok(apart.map_or(Found::Nothing, Found::Job));
        }
        manifest::change(&self.layout, |manifest| {
            // The rules may have changed once more.
            if manifest.rules.mark() != mark {
                return Ok(());
            }
            manifest.segments.change(
                |entry| tagged.contains_key(&entry.number()),
                |entry| {
                    entry.held = tagged[&entry.number()];
                    entry.place.iter_mut().for_each(|place| place.rules = mark);
                },
            );
            Ok(())
        })?;
        Ok(Found::Tagged)
    }
}

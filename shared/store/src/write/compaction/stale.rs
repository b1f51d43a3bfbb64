//! Segments that lie in a tier by rules that are no longer in force: their names are walked once. Where all are in that
//! tier by the new rules too, only the list notes the new mark; else the segment is written apart. So is one of what lay
//! far ahead, when the wall clock has come to it.

use crate::disk::manifest;
use crate::error::Error;
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
        let mut tagged = Vec::new();
        let mut apart = None;
        for entry in view.stale() {
            let Some(place) = entry.place else { continue };
            let segment = match self.open(entry) {
                Err(Error::Damaged { .. }) => continue,
                other => other?,
            };
            let mut is_same = !place.is_reached(view.manifest.clock.newest());
            for name in segment.names("") {
                if (self.cancel)() {
                    return Err(Error::GivenUp);
                }
                if !is_same {
                    break;
                }
                is_same = view.manifest.rules.tier(name?.as_str(), place.tier.step) == place.tier;
            }
            if !is_same {
                let (inputs, level) = (vec![entry.clone()], entry.level);
                apart = Some(Job { inputs, level, into: Goal::Apart });
                break;
            }
            tagged.push(entry.number());
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
                |entry| tagged.contains(&entry.number()),
                |entry| entry.place.iter_mut().for_each(|place| place.rules = mark),
            );
            Ok(())
        })?;
        Ok(Found::Tagged)
    }
}

//! What is under way about a ring, and which answers to it can be believed.

use dotter_ring::RingReader;
use dotter_wire::{Answer, LossRange};

use crate::after::After;

/// What is under way.
#[derive(Debug)]
pub(crate) enum Post {
    Question,
    /// `to_heads`: with it, everything is posted that was there when the goal was set.
    Batch {
        lanes: Vec<(u32, u64)>,
        dots: u64,
        /// Lane and number of the dot, where it is one alone.
        only_dot: Option<(u32, u64)>,
        losses: Vec<LossRange>,
        to_heads: bool,
    },
    Finish {
        lanes: Vec<(u32, u64)>,
    },
}

impl Post {
    /// What the answer to a batch or a finish says of records that neither the post nor the ring has. What a collector
    /// has beyond the ring, because its pages were lost with the power, the answer to the question has said before.
    pub(crate) fn not_believed(&self, answer: &Answer, ring: &RingReader) -> Option<After> {
        let (Post::Batch { lanes, .. } | Post::Finish { lanes }) = self else { return None };
        // Refused is what was posted, or nothing.
        let is_posted = |of: u32| lanes.iter().any(|(lane, _)| *lane == of);
        if let Some(&(lane, _, found, _)) = answer.refused.iter().find(|(lane, ..)| !is_posted(*lane)) {
            return Some(After::NotBelieved { lane, found, most: 0 });
        }
        lanes.iter().find_map(|&(lane, posted)| {
            let refused = answer.refused.iter().filter(|(of, ..)| *of == lane).map(|(_, _, next, _)| *next);
            let (found, most) = match refused.max().filter(|next| *next > posted) {
                Some(refused) => (refused, posted),
                None => (answer.next(lane)?, posted.max(ring.next_record(lane))),
            };
            (found > most).then_some(After::NotBelieved { lane, found, most })
        })
    }
}

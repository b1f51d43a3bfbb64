//! Who follows which series: asked for every dot, worked out once for each viewer and name.
//!
//! Always true:
//!
//! - a viewer's patterns are compared with a name once, when the first dot of that name comes after the viewer has; what
//!   was found is a bit in the row of the name
//! - one name is compared with at most [`COMPARISONS_ALL_MAX`] patterns, over all viewers
//! - there are at most [`ROWS_MAX`] rows, and none while nobody follows anything

use std::collections::{HashMap, HashSet};
use std::fmt;

use dotter_dot::SeriesName;
use dotter_query::Pattern;

/// Comparisons that the patterns of one viewer may take for each name.
pub(crate) const COMPARISONS_MAX: usize = 32;
/// The same for all viewers together.
const COMPARISONS_ALL_MAX: usize = 256;
/// Viewers at once; the door lets fewer in.
const VIEWERS_MAX: usize = 256;
/// Names remembered, of some seventy bytes each. Beyond, all are forgotten and compared anew.
const ROWS_MAX: usize = 1 << 20;

/// What a viewer follows.
#[derive(Clone, Debug)]
pub(crate) enum Interest {
    /// These series.
    Names(HashSet<SeriesName>),
    /// Whatever matches one of these.
    Patterns(Vec<Pattern>),
}

impl Interest {
    /// How many comparisons one name takes at most.
    pub(crate) fn comparisons(&self) -> usize {
        match self {
            Interest::Names(_) => 0,
            Interest::Patterns(patterns) => patterns.iter().map(Pattern::alternatives).sum(),
        }
    }

    pub(crate) fn includes(&self, name: &SeriesName) -> bool {
        match self {
            Interest::Names(names) => names.contains(name),
            Interest::Patterns(patterns) => patterns.iter().any(|pattern| pattern.matches(name.as_str())),
        }
    }
}

/// A set of viewers, by their places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places([u64; VIEWERS_MAX / 64]);

impl Places {
    pub(crate) fn insert(&mut self, place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
    }

    pub(crate) fn contains(&self, place: usize) -> bool {
        self.0[place / 64] & (1 << (place % 64)) != 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0 == [0; VIEWERS_MAX / 64]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(index, word)| {
            let unless_empty = |word| (word != 0).then_some(word);
            // Each step takes the lowest bit away.
            let words =
                std::iter::successors(unless_empty(word), move |word| unless_empty(word & (word - 1)));
            words.map(move |word| index * 64 + word.trailing_zeros() as usize)
        })
    }

    fn remove(&mut self, others: &Places) {
        self.0.iter_mut().zip(others.0).for_each(|(word, gone)| *word &= !gone);
    }
}

/// Why nobody else can follow anything now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// There are as many viewers as there can be.
    Viewers,
    /// All viewers' patterns together take as many comparisons as they may.
    Comparisons,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Full::Viewers => write!(f, "{VIEWERS_MAX} viewers follow already, and there can be no more"),
            Full::Comparisons => write!(
                f,
                "the patterns of all viewers come to {COMPARISONS_ALL_MAX}, and there can be no more: name the series, \
                 or come again when another viewer has left"
            ),
        }
    }
}

/// Viewers, and which of them follow the names that have had dots.
#[derive(Debug, Default)]
pub(crate) struct Follows {
    /// In the order they came.
    followers: Vec<Follower>,
    places: Places,
    rows: HashMap<SeriesName, Row>,
    /// How many followers ever came.
    came: u64,
    comparisons: u64,
}

#[derive(Debug)]
struct Follower {
    number: u64,
    place: usize,
    interest: Interest,
}

/// One name.
#[derive(Debug, Default)]
struct Row {
    /// Every follower up to this number was compared.
    compared: u64,
    followed_by: Places,
}

impl Follows {
    /// Adds a viewer; its place.
    pub(crate) fn join(&mut self, interest: Interest) -> Result<usize, Full> {
        let all: usize = self.followers.iter().map(|follower| follower.interest.comparisons()).sum();
        if interest.comparisons() > COMPARISONS_ALL_MAX.saturating_sub(all) {
            return Err(Full::Comparisons);
        }
        let place = (0..VIEWERS_MAX).find(|place| !self.places.contains(*place)).ok_or(Full::Viewers)?;
        self.places.insert(place);
        self.came += 1;
        self.followers.push(Follower { number: self.came, place, interest });
        Ok(place)
    }

    /// These viewers are gone, and their places free.
    pub(crate) fn leave(&mut self, gone: &Places) {
        if gone.is_empty() {
            return;
        }
        self.followers.retain(|follower| !gone.contains(follower.place));
        self.places.remove(gone);
        if self.followers.is_empty() {
            self.rows = HashMap::new();
        }
        self.rows.values_mut().for_each(|row| row.followed_by.remove(gone));
    }

    /// Who follows this series.
    pub(crate) fn of(&mut self, name: &SeriesName) -> Places {
        if self.followers.is_empty() {
            return Places::default();
        }
        if let Some(row) = self.rows.get(name).filter(|row| row.compared == self.came) {
            return row.followed_by;
        }
        if self.rows.len() >= ROWS_MAX && !self.rows.contains_key(name) {
            self.rows.clear();
        }
        let row = self.rows.entry(name.clone()).or_default();
        let first = self.followers.partition_point(|follower| follower.number <= row.compared);
        for follower in &self.followers[first..] {
            self.comparisons += follower.interest.comparisons() as u64;
            if follower.interest.includes(name) {
                row.followed_by.insert(follower.place);
            }
        }
        row.compared = self.came;
        row.followed_by
    }

    /// Comparisons of names with patterns since the start.
    pub(crate) fn comparisons(&self) -> u64 {
        self.comparisons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SeriesName {
        SeriesName::new(text).unwrap()
    }

    fn patterns(texts: &[&str]) -> Interest {
        Interest::Patterns(texts.iter().map(|text| Pattern::new(text).unwrap()).collect())
    }

    fn names(texts: &[&str]) -> Interest {
        Interest::Names(texts.iter().map(|text| name(text)).collect())
    }

    fn followers(follows: &mut Follows, text: &str) -> Vec<usize> {
        follows.of(&name(text)).iter().collect()
    }

    #[test]
    fn a_viewer_is_compared_with_a_name_once_and_those_who_come_later_too() {
        let mut follows = Follows::default();
        assert_eq!(followers(&mut follows, "a.x"), [0; 0]);
        assert_eq!(follows.join(patterns(&["a.*", "b.*"])), Ok(0));
        assert_eq!(follows.join(names(&["b.x", "c"])), Ok(1));
        for _ in 0..3 {
            assert_eq!(followers(&mut follows, "a.x"), [0]);
            assert_eq!(followers(&mut follows, "b.x"), [0, 1]);
            assert_eq!(followers(&mut follows, "c"), [1]);
            assert_eq!(follows.comparisons(), 6);
        }
        assert_eq!(follows.join(patterns(&["*"])), Ok(2));
        for _ in 0..3 {
            assert_eq!(followers(&mut follows, "c"), [1, 2]);
            assert_eq!(follows.comparisons(), 7);
        }
    }

    #[test]
    fn a_place_that_is_taken_again_follows_nothing_of_its_former_viewer() {
        let mut follows = Follows::default();
        assert_eq!(follows.join(names(&["a"])), Ok(0));
        assert_eq!(follows.join(names(&["a", "b"])), Ok(1));
        assert_eq!(followers(&mut follows, "a"), [0, 1]);
        let mut gone = Places::default();
        gone.insert(0);
        follows.leave(&gone);
        assert_eq!(followers(&mut follows, "a"), [1]);
        assert_eq!(follows.join(names(&["b"])), Ok(0));
        assert_eq!(followers(&mut follows, "a"), [1]);
        assert_eq!(followers(&mut follows, "b"), [0, 1]);
        gone.insert(1);
        follows.leave(&gone);
        assert!(follows.rows.is_empty());
    }

    #[test]
    fn all_patterns_together_have_a_limit_and_names_do_not_count() {
        let mut follows = Follows::default();
        let most = vec!["a*"; COMPARISONS_MAX];
        for place in 0..COMPARISONS_ALL_MAX / COMPARISONS_MAX {
            assert_eq!(follows.join(patterns(&most)), Ok(place));
        }
        assert_eq!(follows.join(patterns(&["a*"])), Err(Full::Comparisons));
        for _ in COMPARISONS_ALL_MAX / COMPARISONS_MAX..VIEWERS_MAX {
            follows.join(names(&["a"])).unwrap();
        }
        assert_eq!(follows.join(names(&["a"])), Err(Full::Viewers));
        let all: Vec<usize> = (0..VIEWERS_MAX).collect();
        assert_eq!(followers(&mut follows, "a"), all);
        let mut gone = Places::default();
        gone.insert(0);
        follows.leave(&gone);
        assert_eq!(follows.join(patterns(&["a*"])), Ok(0));
    }
}

//! Every name there is, sorted, and the tree their dots make.
//!
//! Always sorted by bytes and without repeats, so that all names under a prefix are neighbours: a walk
//! jumps over whole branches instead of looking at each name in them.

use std::sync::Arc;

use dotter_dot::SeriesName;

use crate::pattern::NodePattern;
use crate::{Budget, Error, Node, Pattern};

/// Names sorted by bytes. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    names: Arc<Vec<SeriesName>>,
}

/// Looks at the clock once in so many steps.
const STEPS_PER_LOOK: usize = 1024;

impl Catalogue {
    /// From names in any order.
    pub fn new(mut names: Vec<SeriesName>) -> Catalogue {
        names.sort_unstable();
        names.dedup();
        Catalogue { names: Arc::new(names) }
    }

    /// The names.
    pub fn names(&self) -> &[SeriesName] {
        &self.names
    }

    /// Whether `name` is one of them.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Adds names; copies the list where a clone of it is held elsewhere.
    pub fn add(&mut self, more: impl IntoIterator<Item = SeriesName>) {
        let mut more = more.into_iter().peekable();
        if more.peek().is_none() {
            return;
        }
        let names = Arc::make_mut(&mut self.names);
        names.extend(more);
        // A stable sort takes two sorted runs, which these nearly are, in one pass.
        names.sort();
        names.dedup();
    }

    /// Shows the nodes that `pattern` means, as [`crate::Source::find`] says; a pattern without wildcards means the
    /// series of that name in whatever order its tags stand.
    ///
    /// - `shows`: whether a series is to be found; branches above none that is are not
    ///
    /// # Errors
    ///
    /// That of `visit`, and where the walk takes longer than the budget allows.
    pub fn find(
        &self,
        pattern: &Pattern,
        budget: &Budget,
        shows: &dyn Fn(&SeriesName) -> bool,
        visit: &mut dyn FnMut(Node) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(exact) = pattern.exact() else {
            let mut walk = Walk { names: &self.names, pattern, budget, steps: 0, shows, visit };
            return walk.level(0, self.names.len(), 0, 0);
        };
        if let Ok(name) = SeriesName::new(&exact)
            && self.contains(name.as_str())
            && shows(&name)
        {
            visit(Node::Series(name))?;
        }
        if self.is_branch(&exact, shows) { visit(Node::Branch(exact)) } else { Ok(()) }
    }

    /// Whether there is a series to be found below `path`.
    fn is_branch(&self, path: &str, shows: &dyn Fn(&SeriesName) -> bool) -> bool {
        let prefix = format!("{path}.");
        let at = self.names.partition_point(|name| name.as_str() < prefix.as_str());
        let mut below = self.names[at..].iter().take_while(|name| name.as_str().starts_with(&prefix));
        below.any(|name| is_in_tree(name) && shows(name))
    }

    fn get(&self, name: &str) -> Option<usize> {
        self.names.binary_search_by(|probe| probe.as_str().cmp(name)).ok()
    }
}

/// Series with tags stand outside of the tree and make no branches in it.
fn is_in_tree(name: &SeriesName) -> bool {
    !name.as_str().contains(';')
}

struct Walk<'a> {
    names: &'a [SeriesName],
    pattern: &'a Pattern,
    budget: &'a Budget,
    steps: usize,
    shows: &'a dyn Fn(&SeriesName) -> bool,
    visit: &'a mut dyn FnMut(Node) -> Result<(), Error>,
}

impl Walk<'_> {
    /// Goes through the names `low..high`, which share their first `prefix` bytes, at one level of the tree.
    fn level(&mut self, low: usize, high: usize, prefix: usize, depth: usize) -> Result<(), Error> {
        let nodes = self.pattern.nodes();
        let Some(node) = nodes.get(depth) else { return Ok(()) };
        let last = depth + 1 == nodes.len();
        if let Some(texts) = node.list()
            && texts.len() < high - low
        {
            for text in texts {
                self.named(low, high, prefix, depth, text)?;
            }
            return Ok(());
        }
        let mut at = low;
        while at < high {
            self.look()?;
            let name = self.names[at].as_str();
            let rest = &name[prefix..];
            let end = rest.find(['.', ';']).unwrap_or(rest.len());
            let text = &rest[..end];
            match rest.as_bytes().get(end) {
                Some(b'.') => {
                    let branch = prefix + end + 1;
                    let next = self.past(at, high, &name[..branch]);
                    if node.matches(text) {
                        self.branch(at, next, branch, depth, last)?;
                    }
                    at = next;
                }
                tagged => {
                    if last && node.matches(text) {
                        self.leaf(at, tagged.is_some().then(|| &rest[end + 1..]))?;
                    }
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// One text at one level: found, not looked for.
    fn named(
        &mut self,
        low: usize,
        high: usize,
        prefix: usize,
        depth: usize,
        text: &str,
    ) -> Result<(), Error> {
        self.look()?;
        let last = depth + 1 == self.pattern.nodes().len();
        let Some(first) = self.names[low..high].first() else { return Ok(()) };
        let mut path = first.as_str()[..prefix].to_owned();
        path.push_str(text);
        let lower = |text: &str| low + self.names[low..high].partition_point(|name| name.as_str() < text);
        let at = lower(&path);
        if last && self.names[at..high].first().is_some_and(|name| name.as_str() == path) {
            self.leaf(at, None)?;
        }
        let below = format!("{path}.");
        let at = lower(&below);
        let next = self.past(at, high, &below);
        if next > at {
            self.branch(at, next, below.len(), depth, last)?;
        }
        if last && self.pattern.tags().is_some() {
            let tagged = format!("{path};");
            let at = lower(&tagged);
            for at in at..self.past(at, high, &tagged) {
                self.look()?;
                self.leaf(at, Some(&self.names[at].as_str()[tagged.len()..]))?;
            }
        }
        Ok(())
    }

    fn branch(
        &mut self,
        low: usize,
        high: usize,
        prefix: usize,
        depth: usize,
        last: bool,
    ) -> Result<(), Error> {
        if !last {
            return self.level(low, high, prefix, depth + 1);
        }
        if self.pattern.tags().is_some() {
            return Ok(());
        }
        let mut below = self.names[low..high].iter();
        let Some(inside) = below.find(|name| is_in_tree(name) && (self.shows)(name)) else {
            return Ok(());
        };
        (self.visit)(Node::Branch(inside.as_str()[..prefix - 1].to_owned()))
    }

    fn leaf(&mut self, at: usize, tags: Option<&str>) -> Result<(), Error> {
        let matches = match (self.pattern.tags(), tags) {
            (None, None) => true,
            (Some(pattern), Some(tags)) => NodePattern::matches(pattern, tags),
            _ => false,
        };
        let name = &self.names[at];
        if matches && (self.shows)(name) { (self.visit)(Node::Series(name.clone())) } else { Ok(()) }
    }

    /// The first place after `at` whose name does not begin with `prefix`; looks near first, branches being
    /// mostly small.
    fn past(&self, at: usize, high: usize, prefix: &str) -> usize {
        let mut width = 1;
        while at + width < high && self.names[at + width].as_str().starts_with(prefix) {
            width *= 2;
        }
        let high = high.min(at + width);
        at + self.names[at..high].partition_point(|name| name.as_str().starts_with(prefix))
    }

    fn look(&mut self) -> Result<(), Error> {
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS_PER_LOOK) { self.budget.time() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Random;

    fn catalogue(names: &[&str]) -> Catalogue {
        Catalogue::new(names.iter().map(|name| SeriesName::new(name).unwrap()).collect())
    }

    /// What `pattern` means, sorted: series and branches.
    fn found(names: &Catalogue, pattern: &str, shows: &dyn Fn(&SeriesName) -> bool) -> [Vec<String>; 2] {
        let (mut series, mut branches) = (Vec::new(), Vec::new());
        let pattern = Pattern::new(pattern).unwrap();
        names
            .find(&pattern, &Budget::start(), shows, &mut |node| {
                let of = if node.is_series() { &mut series } else { &mut branches };
                of.push(node.path().to_owned());
                Ok(())
            })
            .unwrap();
        series.sort_unstable();
        branches.sort_unstable();
        [series, branches]
    }

    #[test]
    fn names_are_found_in_order_and_the_tree_has_leaves_and_branches() {
        let names =
            catalogue(&["a", "a-b.x", "a.b", "a.b.c", "a.d", "b;host=x.y", "b;host=z", "c.d.e", "t.u;v=w"]);
        let check = |pattern: &str, series: &[&str], branches: &[&str]| {
            assert_eq!(found(&names, pattern, &|_| true), [series, branches], "{pattern}");
        };
        check("*", &["a"], &["a", "a-b", "c"]);
        check("a.*", &["a.b", "a.d"], &["a.b"]);
        check("{a,c}.*", &["a.b", "a.d"], &["a.b", "c.d"]);
        check("*.?.*", &["a.b.c", "c.d.e"], &[]);
        check("a.b", &["a.b"], &["a.b"]);
        check("b;host=*", &["b;host=x.y", "b;host=z"], &[]);
        check("?;host=z", &["b;host=z"], &[]);
        check("b;host=z", &["b;host=z"], &[]);
        check("b", &[], &[]);
        check("x.*", &[], &[]);
        check("t", &[], &[]);
        check("t.*", &[], &[]);
        check("t.*;v=*", &["t.u;v=w"], &[]);
    }

    #[test]
    fn what_is_not_to_be_found_makes_no_branch() {
        let names = catalogue(&["a", "a.b.c", "a.b.d", "e.f", "g;h=i"]);
        let check = |pattern: &str, shown: &str, series: &[&str], branches: &[&str]| {
            assert_eq!(
                found(&names, pattern, &|name| name.as_str() == shown),
                [series, branches],
                "{pattern}"
            );
        };
        check("*", "a", &["a"], &[]);
        check("a", "a", &["a"], &[]);
        check("*", "a.b.d", &[], &["a"]);
        check("a", "a.b.d", &[], &["a"]);
        check("a.b.*", "a.b.d", &["a.b.d"], &[]);
        check("*;h=*", "a", &[], &[]);
    }

    #[test]
    fn the_walk_finds_what_looking_at_every_name_finds() {
        let mut random = Random::seeded();
        for _ in 0..2_000 {
            let names: Vec<_> = (0..random.below(30))
                .filter_map(|_| SeriesName::new(&random.text("ab-.;=", 8)).ok())
                .collect();
            let names = Catalogue::new(names);
            let text = random.text("ab*?.-{},", 8);
            let Ok(pattern) = Pattern::new(&text) else { continue };
            let [found, _] = found(&names, &text, &|_| true);
            let all = names.names().iter().map(SeriesName::as_str).filter(|name| pattern.matches(name));
            assert_eq!(found, all.collect::<Vec<_>>(), "{text:?} in {names:?}, {random}");
        }
    }
}

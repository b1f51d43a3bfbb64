//! Every name there is, sorted, and the tree their dots make.
//!
//! Always sorted by bytes and without repeats, so that all names under a prefix are neighbours: a walk
//! jumps over whole branches instead of looking at each name in them.

use std::sync::Arc;

use dotter_dot::SeriesName;

use crate::pattern::NodePattern;
use crate::{Budget, Error, Pattern};

/// Names sorted by bytes. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    names: Arc<Vec<SeriesName>>,
}

/// One node of the tree of names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TreeNode {
    /// The whole path down to it.
    pub path: String,
    /// Whether it is a series rather than a branch; a name may be both, and is then two nodes.
    pub leaf: bool,
}

impl TreeNode {
    /// The last part of the path.
    pub fn text(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }
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

    /// The series that `pattern` means, sorted; without wildcards the one name, in whatever order its tags
    /// stand in the pattern.
    ///
    /// # Errors
    ///
    /// Where there are more than the budget allows, or the walk takes too long.
    pub fn find(&self, pattern: &Pattern, budget: &Budget) -> Result<Vec<SeriesName>, Error> {
        if let Some(exact) = pattern.exact() {
            let name = SeriesName::new(&exact).ok();
            return Ok(name.filter(|name| self.contains(name.as_str())).into_iter().collect());
        }
        let mut found = Vec::new();
        self.walk(pattern, budget, &mut |node, index| {
            if node.leaf {
                found.push(self.names[index].clone());
            }
            budget.series(found.len())
        })?;
        found.sort_unstable();
        Ok(found)
    }

    /// The nodes of the tree that `pattern` means, sorted; series with tags stand outside the tree.
    ///
    /// # Errors
    ///
    /// Where the walk takes too long.
    pub fn nodes(&self, pattern: &Pattern, budget: &Budget) -> Result<Vec<TreeNode>, Error> {
        let mut found = Vec::new();
        if pattern.tags().is_none() {
            self.walk(pattern, budget, &mut |node, _| {
                found.push(node);
                Ok(())
            })?;
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Whether there is a series below `path`.
    pub fn is_branch(&self, path: &str) -> bool {
        let prefix = format!("{path}.");
        let at = self.names.partition_point(|name| name.as_str() < prefix.as_str());
        let mut below = self.names[at..].iter().take_while(|name| name.as_str().starts_with(&prefix));
        below.any(|name| !name.as_str().contains(';'))
    }

    fn get(&self, name: &str) -> Option<usize> {
        self.names.binary_search_by(|probe| probe.as_str().cmp(name)).ok()
    }

    /// Calls `visit` with each node that matches and, for a leaf, its place among the names.
    fn walk(
        &self,
        pattern: &Pattern,
        budget: &Budget,
        visit: &mut dyn FnMut(TreeNode, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut walk = Walk { names: &self.names, pattern, budget, steps: 0, visit };
        walk.level(0, self.names.len(), 0, 0)
    }
}

struct Walk<'a> {
    names: &'a [SeriesName],
    pattern: &'a Pattern,
    budget: &'a Budget,
    steps: usize,
    visit: &'a mut dyn FnMut(TreeNode, usize) -> Result<(), Error>,
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
        // Series with tags stand outside the tree and make no branches in it.
        let Some(inside) = self.names[low..high].iter().position(|name| !name.as_str().contains(';')) else {
            return Ok(());
        };
        let path = self.names[low + inside].as_str()[..prefix - 1].to_owned();
        (self.visit)(TreeNode { path, leaf: false }, low)
    }

    fn leaf(&mut self, at: usize, tags: Option<&str>) -> Result<(), Error> {
        let matches = match (self.pattern.tags(), tags) {
            (None, None) => true,
            (Some(pattern), Some(tags)) => NodePattern::matches(pattern, tags),
            _ => false,
        };
        if !matches {
            return Ok(());
        }
        (self.visit)(TreeNode { path: self.names[at].as_str().to_owned(), leaf: true }, at)
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

    #[test]
    fn names_are_found_in_order_and_the_tree_has_leaves_and_branches() {
        let names =
            catalogue(&["a", "a-b.x", "a.b", "a.b.c", "a.d", "b;host=x.y", "b;host=z", "c.d.e", "t.u;v=w"]);
        let check = |pattern: &str, series: &[&str], nodes: &[(&str, bool)]| {
            let pattern = Pattern::new(pattern).unwrap();
            let budget = Budget::start();
            let found = names.find(&pattern, &budget).unwrap();
            assert_eq!(found.iter().map(SeriesName::as_str).collect::<Vec<_>>(), series);
            let found = names.nodes(&pattern, &budget).unwrap();
            let found: Vec<_> = found.iter().map(|n| (n.path.as_str(), n.leaf)).collect();
            assert_eq!(found, nodes);
        };
        check("*", &["a"], &[("a", false), ("a", true), ("a-b", false), ("c", false)]);
        check("a.*", &["a.b", "a.d"], &[("a.b", false), ("a.b", true), ("a.d", true)]);
        check("{a,c}.*", &["a.b", "a.d"], &[("a.b", false), ("a.b", true), ("a.d", true), ("c.d", false)]);
        check("*.?.*", &["a.b.c", "c.d.e"], &[("a.b.c", true), ("c.d.e", true)]);
        check("a.b", &["a.b"], &[("a.b", false), ("a.b", true)]);
        check("b;host=*", &["b;host=x.y", "b;host=z"], &[]);
        check("?;host=z", &["b;host=z"], &[]);
        check("b;host=z", &["b;host=z"], &[]);
        check("b", &[], &[]);
        check("x.*", &[], &[]);
        check("t.*", &[], &[]);
        check("t.*;v=*", &["t.u;v=w"], &[]);
        assert!(names.is_branch("a.b"));
        assert!(!names.is_branch("b") && !names.is_branch("t"));
    }

    #[test]
    fn the_walk_finds_what_looking_at_every_name_finds() {
        let mut random = Random::seeded();
        for _ in 0..2_000 {
            let names: Vec<_> = (0..random.below(30))
                .filter_map(|_| SeriesName::new(&random.text("ab-.;=", 8)).ok())
                .collect();
            let names = Catalogue::new(names);
            let Ok(pattern) = Pattern::new(&random.text("ab*?.-{},", 8)) else { continue };
            let found = names.find(&pattern, &Budget::start()).unwrap();
            let all: Vec<_> = names.names().iter().filter(|n| pattern.matches(n.as_str())).cloned().collect();
            assert_eq!(found, all, "{pattern:?} in {names:?}, {random}");
        }
    }

    #[test]
    fn too_many_series_name_the_budget() {
        let names = catalogue(&["a.a", "a.b", "a.c"]);
        let budget = Budget { series_max: 2, ..Budget::start() };
        let error = names.find(&Pattern::new("a.*").unwrap(), &budget).unwrap_err();
        assert!(matches!(error, Error::OverBudget { what: "series", found: 3, limit: 2 }), "{error}");
    }
}

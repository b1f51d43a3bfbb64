//! `/metrics/find`: the tree of names, as Graphite's clients browse it.
//!
//! Source: `graphite.metrics.views.find_view` of graphite-web 1.1.8.

use serde_json::{Value, json};

use crate::{Budget, Error, Node, Pattern, Source};

/// The shape of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindFormat {
    /// Nodes below a pattern, each name once: what Grafana reads.
    TreeJson,
    /// What could follow a text that is being typed.
    Completer,
}

/// What `/metrics/find` was asked for.
#[derive(Clone, Debug)]
pub struct Find {
    /// The pattern.
    pub query: String,
    /// How to answer.
    pub format: FindFormat,
    /// Where several nodes are found, one more that stands for all of them.
    pub wildcards: bool,
    /// Only series, no branches.
    pub leaves_only: bool,
}

impl Find {
    /// Reads the parameters of a request.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] without a query or with a format that is not served.
    pub fn parse<'a>(parameter: impl Fn(&str) -> Option<&'a str>) -> Result<Find, Error> {
        let query = parameter("query").unwrap_or_default().trim();
        if query.is_empty() {
            let expected = "a path pattern such as servers.*";
            return Err(Error::Parameter { name: "query", found: String::new(), expected });
        }
        let format = match parameter("format").unwrap_or("treejson") {
            "treejson" => FindFormat::TreeJson,
            "completer" => FindFormat::Completer,
            other => {
                let found = crate::error::clip(other);
                return Err(Error::Parameter { name: "format", found, expected: "treejson or completer" });
            }
        };
        let flag = |name: &'static str| match parameter(name).unwrap_or("0") {
            "1" => Ok(true),
            "0" | "" => Ok(false),
            other => Err(Error::Parameter { name, found: crate::error::clip(other), expected: "0 or 1" }),
        };
        Ok(Find {
            query: query.to_owned(),
            format,
            wildcards: flag("wildcards")?,
            leaves_only: flag("leavesOnly")?,
        })
    }
}

/// The answer to `request`. A query that is no pattern finds nothing.
///
/// # Errors
///
/// Where the walk takes too long or finds more than can be answered.
pub fn find(source: &dyn Source, request: &Find, budget: &Budget) -> Result<Value, Error> {
    let mut query = request.query.clone();
    if request.format == FindFormat::Completer {
        query = query.replace("..", "*.");
        if !query.ends_with('*') {
            query.push('*');
        }
    }
    let mut nodes = match Pattern::new(&query) {
        // Series with tags stand outside of the tree.
        Ok(pattern) if pattern.tags().is_some() => Vec::new(),
        Ok(pattern) => nodes(source, &pattern, budget)?,
        Err(_) => ends_in_a_branch(source, &query, budget)?,
    };
    budget.points(nodes.len() as u64)?;
    nodes.retain(|node| node.is_series() || !request.leaves_only);
    match request.format {
        FindFormat::TreeJson => Ok(tree(&query, &nodes, request.wildcards)),
        FindFormat::Completer => Ok(completer(&nodes)),
    }
}

/// A query that ends in a dot finds a branch whose name is empty, a habit of the reference's file storage
/// that its tree widget has come to lean on.
fn ends_in_a_branch(source: &dyn Source, query: &str, budget: &Budget) -> Result<Vec<Node>, Error> {
    let above = query.trim_end_matches('.');
    let found = query.ends_with('.')
        && (above.is_empty()
            || nodes(source, &Pattern::literal(above), budget)?.iter().any(|node| !node.is_series()));
    Ok(if found { vec![Node::Branch(query.to_owned())] } else { Vec::new() })
}

/// The nodes that `pattern` means, sorted, a branch before the series of the same name.
fn nodes(source: &dyn Source, pattern: &Pattern, budget: &Budget) -> Result<Vec<Node>, Error> {
    let mut found = Vec::new();
    source.find(pattern, None, budget, &mut |node| {
        found.push(node);
        Ok(())
    })?;
    found.sort_unstable_by(|a, b| (a.path(), a.is_series()).cmp(&(b.path(), b.is_series())));
    Ok(found)
}

/// Branches first, each name once, under the query's own path: `a.*.c` answers `a.*.cpu`.
fn tree(query: &str, nodes: &[Node], wildcards: bool) -> Value {
    let base = query.rfind('.').map_or("", |at| &query[..=at]);
    let entry = |text: &str, leaf: bool| {
        let branch = u8::from(!leaf);
        json!({
            "text": text, "id": format!("{base}{text}"), "context": {},
            "allowChildren": branch, "expandable": branch, "leaf": u8::from(leaf),
        })
    };
    let mut entries = Vec::new();
    if wildcards && nodes.len() > 1 {
        entries.push(entry("*", nodes.iter().all(Node::is_series)));
    }
    for leaf in [false, true] {
        let mut texts: Vec<&str> =
            nodes.iter().filter(|node| node.is_series() == leaf).map(Node::text).collect();
        texts.sort_unstable();
        texts.dedup();
        entries.extend(texts.into_iter().map(|text| entry(text, leaf)));
    }
    Value::Array(entries)
}

fn completer(nodes: &[Node]) -> Value {
    let entries = nodes.iter().map(|node| {
        let (end, is_leaf) = if node.is_series() { ("", "1") } else { (".", "0") };
        json!({"path": format!("{}{end}", node.path()), "name": node.text(), "is_leaf": is_leaf})
    });
    json!({"metrics": entries.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Memory;

    fn answer(query: &[(&str, &str)]) -> Result<Value, Error> {
        let names = ["app.hits", "app.web.hits", "app.web.time", "app.db.time", "disk;host=a", "app.web"];
        let source = names.iter().fold(Memory::default(), |source, name| source.with(name, &[]));
        let parameter = |name: &str| query.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        find(&source, &Find::parse(parameter)?, &Budget::start())
    }

    fn tree_of(query: &[(&str, &str)]) -> Vec<(String, String, bool)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        answer(query)
            .unwrap()
            .as_array()
            .unwrap()
            .iter()
            .map(|node| {
                assert_eq!(node["expandable"], node["allowChildren"]);
                assert_ne!(node["expandable"], node["leaf"]);
                (text(&node["text"]), text(&node["id"]), node["leaf"] == 1)
            })
            .collect()
    }

    #[test]
    fn the_tree_lists_branches_and_then_leaves_under_the_query_s_own_path() {
        let check = |query: &[(&str, &str)], expected: &[(&str, &str, bool)]| {
            let found = tree_of(query);
            let found: Vec<_> =
                found.iter().map(|(text, id, leaf)| (text.as_str(), id.as_str(), *leaf)).collect();
            assert_eq!(found, expected, "{query:?}");
        };
        check(&[("query", "*")], &[("app", "app", false)]);
        check(
            &[("query", "app.*")],
            &[
                ("db", "app.db", false),
                ("web", "app.web", false),
                ("hits", "app.hits", true),
                ("web", "app.web", true),
            ],
        );
        check(&[("query", "app.*.time")], &[("time", "app.*.time", true)]);
        check(
            &[("query", "app.*.time"), ("wildcards", "1")],
            &[("*", "app.*.*", true), ("time", "app.*.time", true)],
        );
        check(
            &[("query", "app.*"), ("leavesOnly", "1")],
            &[("hits", "app.hits", true), ("web", "app.web", true)],
        );
        check(&[("query", "app.")], &[("", "app.", false)]);
        check(&[("query", "app.web.")], &[("", "app.web.", false)]);
        check(&[("query", "nosuch.")], &[]);
        check(&[("query", "app.*.")], &[]);
        check(&[("query", "disk;host=a")], &[]);
        check(&[("query", "app..web")], &[]);
        check(&[("query", "app.{web")], &[]);
        check(&[("query", "disk*")], &[]);
    }

    #[test]
    fn the_completer_lists_what_could_follow() {
        let check = |query: &str, expected: Value| {
            assert_eq!(answer(&[("query", query), ("format", "completer")]).unwrap(), expected);
        };
        check("a", json!({"metrics": [{"path": "app.", "name": "app", "is_leaf": "0"}]}));
        check("app.h", json!({"metrics": [{"path": "app.hits", "name": "hits", "is_leaf": "1"}]}));
        check("x", json!({"metrics": []}));
    }

    #[test]
    fn a_request_that_cannot_be_answered_says_why() {
        let check = |query: &[(&str, &str)], expected: &str| {
            assert_eq!(answer(query).unwrap_err().to_string(), expected);
        };
        check(&[], "cannot use query='': expected a path pattern such as servers.*");
        check(&[("query", "*"), ("format", "x")], "cannot use format='x': expected treejson or completer");
        check(&[("query", "*"), ("wildcards", "x")], "cannot use wildcards='x': expected 0 or 1");
    }
}

//! The page: bundled at build time, or pictures drawn by the server.

use std::fmt::Write as _;

use dotter_dot::SeriesName;
use dotter_http::{Request, Response};

use crate::feed::View;
use crate::form::Form;

/// Which page is inside: `bundled` or `prebuilt` live plots, or `pictures` drawn by the server.
pub const PAGE_KIND: &str = env!("DOTTER_PAGE_KIND");

struct File {
    path: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
    zipped: &'static [u8],
}

macro_rules! file {
    ($path:literal, $name:literal, $content_type:literal) => {
        File {
            path: $path,
            content_type: $content_type,
            bytes: include_bytes!(concat!(env!("OUT_DIR"), "/page/", $name)),
            zipped: include_bytes!(concat!(env!("OUT_DIR"), "/page/", $name, ".gz")),
        }
    };
}

const INDEX: File = file!("/", "index.html", "text/html; charset=utf-8");

const FILES: [File; 4] = [
    file!("/main.js", "main.js", "text/javascript; charset=utf-8"),
    file!("/static.js", "static.js", "text/javascript; charset=utf-8"),
    file!("/page.css", "page.css", "text/css; charset=utf-8"),
    file!("/icon.svg", "icon.svg", "image/svg+xml"),
];

/// Series drawn on the page of pictures.
const PICTURED_SERIES_MAX: usize = 48;
const LINES_PER_PICTURE: usize = 8;
/// Windows of the page of pictures.
const WINDOWS: [&str; 5] = ["1min", "5min", "15min", "1h", "6h"];

/// A file of the page, where `path` is one.
pub(crate) fn file(request: &Request) -> Option<Response> {
    let file = FILES.iter().find(|file| file.path == request.path)?;
    Some(file.answer(request))
}

/// Whether `/` is answered with pictures.
pub(crate) fn is_pictures(form: &Form) -> bool {
    cfg!(dotter_pictures) || form.get("static").is_some_and(|text| text != "0")
}

/// The page of live plots.
pub(crate) fn index(request: &Request) -> Response {
    INDEX.answer(request)
}

impl File {
    fn answer(&self, request: &Request) -> Response {
        let tag = format!("\"{:016x}\"", hash(self.bytes));
        let fresh = |response: Response| {
            // A browser asks each time and mostly hears that nothing has changed.
            response
                .header("ETag", &tag)
                .header("Cache-Control", "no-cache")
                .header("Vary", "Accept-Encoding")
        };
        if request.headers.get("If-None-Match").is_some_and(|known| known.contains(&tag)) {
            return fresh(Response::new(304, self.content_type, Vec::new()));
        }
        let takes_gzip = request.headers.get("Accept-Encoding").is_some_and(|text| text.contains("gzip"));
        if takes_gzip {
            fresh(Response::new(200, self.content_type, self.zipped).header("Content-Encoding", "gzip"))
        } else {
            fresh(Response::new(200, self.content_type, self.bytes))
        }
    }
}

/// Source: Fowler, Noll, Vo, FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The page of pictures: one for the series under each parent, the busiest first.
///
/// - `view`: what there is, or why there is nothing
pub(crate) fn pictures(view: Result<&View, &str>, busiest: &[SeriesName], form: &Form) -> Response {
    let window = WINDOWS.into_iter().find(|window| form.get("w") == Some(window)).unwrap_or(WINDOWS[0]);
    let mut html = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Dotter</title>\n\
         <link rel=\"icon\" href=\"/icon.svg\" type=\"image/svg+xml\">\n\
         <link rel=\"stylesheet\" href=\"/page.css\">\n<script type=\"module\" src=\"/static.js\"></script>\n",
    );
    match view {
        Ok(_) => html.push_str("<noscript><meta http-equiv=\"refresh\" content=\"2\"></noscript>\n"),
        Err(_) => html.push_str("<meta http-equiv=\"refresh\" content=\"1\">\n"),
    }
    html.push_str(
        "</head>\n<body class=\"pictures\">\n<header id=\"bar\">\n<a id=\"brand\" href=\"/\">\
         <img src=\"/icon.svg\" width=\"22\" height=\"22\" alt=\"\">Dotter</a>\n\
         <span class=\"space\"></span>\n<nav id=\"ranges\" aria-label=\"Time window\">\n",
    );
    for choice in WINDOWS {
        let chosen = if choice == window { " aria-current=\"true\"" } else { "" };
        let _ = writeln!(html, "<a href=\"/?static=1&amp;w={choice}\"{chosen}>{choice}</a>");
    }
    html.push_str("</nav>\n</header>\n<main>\n");
    let footer = match view {
        Ok(view) if view.catalogue.names().is_empty() => "No dots yet.".to_owned(),
        Ok(view) => {
            let groups = group(view, busiest);
            for (title, names) in &groups {
                picture(title, names, window, &mut html);
            }
            let (shown, all) =
                (groups.iter().map(|(_, names)| names.len()).sum::<usize>(), view.catalogue.names());
            format!("{shown} of {} series, the busiest first.", all.len())
        }
        Err(reason) => format!("Waiting for a store: {reason}"),
    };
    html.push_str("</main>\n<footer>");
    escape(&footer, &mut html);
    html.push_str("</footer>\n</body>\n</html>\n");
    Response::new(200, "text/html; charset=utf-8", html).header("Cache-Control", "no-store")
}

/// Series by their parent, in the order the parents first appear.
fn group(view: &View, busiest: &[SeriesName]) -> Vec<(String, Vec<SeriesName>)> {
    let quiet = view.catalogue.names().iter().filter(|name| !busiest.contains(name));
    let mut groups: Vec<(String, Vec<SeriesName>)> = Vec::new();
    for name in busiest.iter().chain(quiet).take(PICTURED_SERIES_MAX) {
        let parent = name.path().rsplit_once('.').map_or("", |(parent, _)| parent);
        let room = |(title, names): &&mut (String, Vec<SeriesName>)| {
            title == parent && names.len() < LINES_PER_PICTURE
        };
        match groups.iter_mut().find(room) {
            Some((_, names)) => names.push(name.clone()),
            None => groups.push((parent.to_owned(), vec![name.clone()])),
        }
    }
    groups
}

fn picture(title: &str, names: &[SeriesName], window: &str, html: &mut String) {
    let title = match names {
        [name] => name.as_str(),
        _ if title.is_empty() => "series",
        _ => title,
    };
    let mut query = format!("/render?format=svg&width=600&height=300&from=-{window}&title={}", encode(title));
    for name in names {
        // Every character of a name stands for itself.
        let target: String = name.as_str().chars().flat_map(escaped).collect();
        let _ = write!(query, "&target={}", encode(&target));
    }
    html.push_str(
        "<section class=\"plot\"><picture><source media=\"(prefers-color-scheme: dark)\" srcset=\"",
    );
    escape(&format!("{query}&theme=dark"), html);
    html.push_str("\"><img width=\"600\" height=\"300\" alt=\"");
    escape(title, html);
    html.push_str("\" src=\"");
    escape(&query, html);
    html.push_str("\"></picture></section>\n");
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let plain = c.is_alphanumeric() || "._-;=:/".contains(c);
    (!plain).then_some('\\').into_iter().chain([c])
}

fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            c => html.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dotter_http::{Headers, Method};
    use dotter_query::Target;

    #[test]
    fn files_are_sent_zipped_where_they_may_be_and_not_twice() {
        let mut request = Request::new(Method::Get, "/page.css");
        let plain = file(&request).unwrap();
        assert!(plain.body().starts_with(b"") && plain.headers().all(|(name, _)| name != "Content-Encoding"));
        request.headers = Headers::from_iter([("Accept-Encoding", "gzip, br")]);
        let zipped = file(&request).unwrap();
        assert_eq!(&zipped.body()[..2], [0x1f, 0x8b]);
        let tag = zipped.headers().find(|(name, _)| *name == "ETag").unwrap().1.to_owned();
        request.headers = Headers::from_iter([("If-None-Match", tag)]);
        assert_eq!(file(&request).unwrap().status(), 304);
        assert!(file(&Request::new(Method::Get, "/nosuch.js")).is_none());
    }

    #[test]
    fn the_script_is_small_enough() {
        assert!(FILES[0].zipped.len() <= 90 << 10, "{} bytes", FILES[0].zipped.len());
    }

    /// Shows P20.
    #[test]
    fn a_name_stands_for_itself_and_stays_in_its_attribute() {
        let name = SeriesName::new("a b.{*}\"<script>(x)").unwrap();
        let target: String = name.as_str().chars().flat_map(escaped).collect();
        assert_eq!(Target::new(&target).unwrap().pattern.exact().as_deref(), Some(name.as_str()));
        let mut html = String::new();
        picture("", std::slice::from_ref(&name), "1h", &mut html);
        assert!(!html.contains("<script"), "{html}");
    }
}

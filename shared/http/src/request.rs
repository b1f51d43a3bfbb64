//! A request as a handler sees it: complete, checked, decoded.

use std::net::{IpAddr, Ipv4Addr};

use crate::Query;
use crate::query::decode_path;

/// The methods that pass the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Read.
    Get,
    /// Read, answered without the body.
    Head,
    /// Write, or on a path declared so, read.
    Post,
    /// Write.
    Put,
    /// Write.
    Delete,
    /// Ask what is possible.
    Options,
}

impl Method {
    /// The method spelled as in a request line.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Method> {
        const ALL: [Method; 6] =
            [Method::Get, Method::Head, Method::Post, Method::Put, Method::Delete, Method::Options];
        ALL.into_iter().find(|method| method.as_str() == name)
    }

    /// Whether a request of this method may carry a body.
    pub(crate) fn takes_body(self) -> bool {
        matches!(self, Method::Post | Method::Put | Method::Delete)
    }
}

/// Header lines in the order they were sent. What belongs to the connection (`Connection`, `Upgrade`,
/// ...) and the token are not among them.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    lines: Vec<(String, String)>,
}

impl Headers {
    /// The first value under a name, which is compared without regard to case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Every line, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Headers {
        let lines = lines.into_iter().map(|(name, value)| {
            let (name, mut value) = (name.into(), value.into());
            if name.eq_ignore_ascii_case("Content-Type") {
                // Media types are compared without regard to case; parameters are not.
                let media_type_bytes = value.find(';').unwrap_or(value.len());
                value[..media_type_bytes].make_ascii_lowercase();
            }
            (name, value)
        });
        Headers { lines: lines.collect() }
    }
}

/// One complete request.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is to be done.
    pub method: Method,
    /// Percent-decoded path; escapes that are invalid stay as they are.
    pub path: String,
    /// What followed `?`, decoded.
    pub query: Query,
    /// Header lines.
    pub headers: Headers,
    /// The whole body, at most [`Config::body_bytes_max`](crate::Config::body_bytes_max).
    pub body: Vec<u8>,
    /// Who sent it.
    pub peer: IpAddr,
}

impl Request {
    /// A request without headers or body from this machine, for calling a handler directly.
    ///
    /// - `target`: as in a request line, `/path?query`
    pub fn new(method: Method, target: &str) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Request {
            method,
            path: decode_path(path),
            query: Query::parse(query),
            headers: Headers::default(),
            body: Vec::new(),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    /// The body's media type, lower case, without parameters such as `charset`.
    pub fn content_type(&self) -> Option<&str> {
        let value = self.headers.get("Content-Type")?;
        let media_type = value.split(';').next().unwrap_or_default().trim();
        (!media_type.is_empty()).then_some(media_type)
    }

    /// The query, followed by the pairs of the body where that is `application/x-www-form-urlencoded`.
    pub fn form(&self) -> Query {
        let mut form = self.query.clone();
        if self.content_type() == Some("application/x-www-form-urlencoded") {
            form.append(Query::parse(&String::from_utf8_lossy(&self.body)));
        }
        form
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_the_query_and_then_the_body() {
        let mut request = Request::new(Method::Post, "/render?target=a&from=-1h");
        request.headers =
            [("content-type", "Application/X-WWW-Form-URLEncoded; Charset=UTF-8")].into_iter().collect();
        request.body = b"target=b&until=now".to_vec();
        let form = request.form();
        assert_eq!(form.all("target").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(form.get("until"), Some("now"));

        request.headers = [("Content-Type", "application/json")].into_iter().collect();
        assert_eq!(request.form(), request.query);
        assert_eq!(request.content_type(), Some("application/json"));
        request.headers = Headers::default();
        assert_eq!(request.content_type(), None);
    }
}

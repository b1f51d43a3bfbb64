//! What a handler answers.

use crate::stream::Stream;

/// Names the door decides about; a handler that sets one is ignored.
const DOOR_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "content-type",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    HANDOVER_HEADER,
];

/// On the private connection only: the body of this answer was handed over beside it, under this number.
pub(crate) const HANDOVER_HEADER: &str = "x-dotter-handover";

/// Status, headers and body, or the receiving end of an [`event_stream`](crate::event_stream) or a
/// [`byte_stream`](crate::byte_stream).
#[derive(Debug)]
pub struct Response {
    status: u16,
    content_type: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    Whole(Vec<u8>),
    Stream(Stream),
}

impl Response {
    /// A whole answer.
    ///
    /// # Panics
    ///
    /// When `status` is not from 200 to 599: an interim or unknown status is a bug in the handler.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
        Response::with_body(status, content_type, Body::Whole(body.into()))
    }

    /// Plain text in UTF-8.
    pub fn text(status: u16, body: impl Into<String>) -> Response {
        Response::new(status, "text/plain; charset=utf-8", body.into())
    }

    /// JSON that is already written.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Response {
        Response::new(status, "application/json", body)
    }

    pub(crate) fn with_body(status: u16, content_type: &str, body: Body) -> Response {
        assert!((200..=599).contains(&status), "status {status} cannot end a request");
        Response { status, content_type: sendable(content_type), headers: Vec::new(), body }
    }

    /// Adds a header line. What a value cannot carry (line ends, other control characters, anything but
    /// ASCII) is percent-escaped, so no value can start a line of its own. Framing (`Content-Length`,
    /// `Connection`, ...) is the door's and `Content-Type` is set by [`new`](Self::new): those names are
    /// ignored here.
    ///
    /// # Panics
    ///
    /// When `name` is no header name; names come from code, not from requests.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Response {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        assert!(!name.is_empty(), "a header has a name");
        assert!(name.bytes().all(token), "{name:?} is not a header name");
        if !DOOR_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            self.headers.push((name.to_owned(), sendable(value)));
        }
        self
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The whole body; empty for a stream.
    pub fn body(&self) -> &[u8] {
        match &self.body {
            Body::Whole(bytes) => bytes,
            Body::Stream(_) => &[],
        }
    }

    /// The media type with its parameters.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Header lines added so far, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn sendable(value: &str) -> String {
    let mut sent = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'\t' | b' '..=b'~' => sent.push(char::from(byte)),
            _ => sent.push_str(&format!("%{byte:02X}")),
        }
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_value_cannot_start_a_line() {
        let response = Response::text(200, "")
            .header("X-Name", "a\r\nSet-Cookie: b\0é")
            .header("Content-Length", "7")
            .header("X-Dotter-Handover", "1");
        let lines: Vec<_> = response.headers().collect();
        assert_eq!(lines, [("X-Name", "a%0D%0ASet-Cookie: b%00%C3%A9")]);
    }
}
